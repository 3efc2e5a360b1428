"""What a setting's value has to be, in words, made from the model: ``a whole number, 1 to 500``.

Error messages are written with it, so that they say what to write instead of a pattern.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hubdeploy.config.fields import Expected

Typed = tuple[Any, tuple[Any, ...]]
"""A type, and what ``Annotated`` and ``Field`` say of it besides."""

_PLAIN = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text in quotes",
}


def find(model: type[BaseModel], path: Sequence[int | str]) -> Typed | None:
    """The type of the value at ``path``, or None where the model knows no such key."""
    here: Typed = model, ()
    for part in path:
        step = _step(here, part)
        if step is None:
            return None
        here = step
    return here


def key(model: type[BaseModel], path: Sequence[int | str]) -> Typed | None:
    """The type of the keys of the free table at ``path``."""
    found = find(model, path)
    args = get_args(_bare(found)[0]) if found else ()
    return (args[0], ()) if args else None


def _step(here: Typed, part: int | str) -> Typed | None:
    annotation, _ = _bare(here)
    origin: Any = get_origin(annotation)
    args = get_args(annotation)
    if origin is list and isinstance(part, int):
        return args[0], ()
    if origin is dict:
        return args[1], ()
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field: FieldInfo | None = annotation.model_fields.get(str(part))
        return (field.annotation, tuple(field.metadata)) if field else None
    return None


def _bare(typed: Typed) -> Typed:
    """Without ``Annotated`` and ``| None``."""
    annotation, marks = typed
    origin: Any = get_origin(annotation)
    args = get_args(annotation)
    if origin is Annotated:
        return _bare((args[0], (*marks, *args[1:])))
    if origin in (Union, UnionType):
        some = [arg for arg in args if arg is not NoneType]
        if len(some) == 1:
            return _bare((some[0], marks))
    return annotation, marks


def words(typed: Typed) -> str:
    """``a list, each an instance type such as m6i.xlarge``."""
    annotation, marks = _bare(typed)
    said = next((mark for mark in marks if isinstance(mark, Expected)), None)
    bounds = _bounds(marks, said.show if said else str)
    if said is not None:
        return said.words + bounds
    origin: Any = get_origin(annotation)
    args = get_args(annotation)
    if origin is Literal:
        return "one of " + ", ".join(_quoted(value) for value in args)
    if origin is list:
        return f"a list{_length(marks)}, each {words((args[0], ()))}"
    if origin is dict:
        return f"a table, each value {words((args[1], ()))}"
    return _PLAIN.get(annotation, "a table") + bounds


def _quoted(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _bounds(marks: Sequence[Any], show: Any) -> str:
    # a setting narrows what its type allows
    low, above = max(_marks(marks, "ge"), default=None), max(_marks(marks, "gt"), default=None)
    high = min(_marks(marks, "le"), default=None)
    if low is not None and high is not None:
        return f", {show(low)} to {show(high)}"
    if above is not None:
        return f", above {show(above)}" + (f", {show(high)} at most" if high is not None else "")
    return f", {show(low)} or more" if low is not None else ""


def shown_as(typed: Typed, value: Any) -> str | None:
    """A number in the form in which the setting is written (``"1K"``), or None for any other."""
    marks = _bare(typed)[1]
    said = next((mark for mark in marks if isinstance(mark, Expected)), None)
    if said is None or said.show is str or type(value) is not int or value < 0:
        return None
    return f'"{said.show(value)}"'


def _length(marks: Sequence[Any]) -> str:
    least, most = (
        max(_marks(marks, "min_length"), default=0),
        max(_marks(marks, "max_length"), default=0),
    )
    return f" of {least} to {most}" if most else ""


def _marks(marks: Sequence[Any], name: str) -> list[Any]:
    found = (getattr(mark, name, None) for mark in marks)
    return [value for value in found if value is not None]
