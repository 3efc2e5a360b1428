"""The configuration reference and the commented example, both made from the model alone."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hubdeploy.config.fields import Change
from hubdeploy.config.load import _is_list, _nested
from hubdeploy.config.model import Config

_MEANING = {
    Change.LIVE: "in place",
    Change.CONVERGE: "in place, at the next converge",
    Change.WORKERS: "new workers replace the old as these empty",
    Change.INSTANCE: "replaces the instance (asked for first)",
    Change.NEVER: "fixed; needs a new deployment",
}


def markdown() -> str:
    """The whole reference as Markdown: one table for each section of the file."""
    intro = (
        "# Configuration reference\n\n"
        "Every setting of `hubdeploy.toml`. This page is `hubdeploy config reference`; it is made "
        "from\nthe model that checks the file. *Changing it* says what a new value means for a "
        "deployment\nthat stands. Sizes are written `512M` or `2G`, times `90s`, `10m`, `2h`.\n"
    )
    return intro + "\n" + "\n".join(_section(Config, ""))


def _section(model: type[BaseModel], path: str) -> list[str]:
    title = f"`[{path}]`" if path and not path.endswith("]") else f"`{path}`" if path else "Top"
    lines = [f"## {title}", ""]
    plain = [(n, f) for n, f in model.model_fields.items() if _nested(f.annotation) is None]
    lines += ["| setting | type | default | what it is | changing it |", "|---|---|---|---|---|"]
    for name, field in plain:
        lines.append(
            f"| `{name}` | {_type(field)} | {_default(field)} | {field.description} "
            f"| {_MEANING[change_of(field)]} |"
        )
    lines.append("")
    for name, field in model.model_fields.items():
        nested = _nested(field.annotation)
        if nested is not None:
            inner = f"{path}.{name}" if path else name
            lines += _section(nested, f"[[{inner}]]" if _is_list(field.annotation) else inner)
    return lines


def change_of(field: FieldInfo) -> Change:
    """What changing this field's value takes."""
    extra = field.json_schema_extra
    assert isinstance(extra, dict), "made by fields.setting"
    return Change(str(extra["change"]))


def changes_by_key(model: type[BaseModel] = Config, prefix: str = "") -> dict[str, Change]:
    """``{"workers.max_nodes": Change.LIVE, …}`` for every setting; lists of tables as a whole."""
    found: dict[str, Change] = {}
    for name, field in model.model_fields.items():
        nested = _nested(field.annotation)
        if nested is None:
            found[f"{prefix}{name}"] = change_of(field)
        elif _is_list(field.annotation):
            found[f"{prefix}{name}"] = Change.CONVERGE
        else:
            found |= changes_by_key(nested, f"{prefix}{name}.")
    return found


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "*required*"
    value = field.get_default(call_default_factory=True)
    return f"`{_toml(_json(field, value))}`" if value not in (None, "", [], {}) else "none"


def _json(field: FieldInfo, value: Any) -> Any:
    from pydantic import TypeAdapter

    annotation: Any = field.annotation
    for mark in field.metadata:
        annotation = Annotated[annotation, mark]
    return TypeAdapter(annotation).dump_python(value, mode="json")


def _toml(value: Any) -> str:
    return json.dumps(value)


def _type(field: FieldInfo) -> str:
    return _type_name(field.annotation, field.metadata)


def _type_name(annotation: Any, marks: Sequence[Any]) -> str:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{_toml(v)}`" for v in args)
    if origin is Annotated:
        return _type_name(args[0], (*marks, *args[1:]))
    if origin is list:
        return "list of text"
    if origin is dict:
        return "table"
    some = [arg for arg in args if arg is not type(None)]
    if some:
        return " or ".join(dict.fromkeys(_type_name(arg, marks) for arg in some))
    text = "".join(str(mark) for mark in marks)
    if "parse_size" in text:
        return "size"
    if "parse_span" in text:
        return "time"
    return {str: "text", int: "whole number", float: "number", bool: "true or false"}.get(
        annotation, "text"
    )


def example(values: dict[str, Any]) -> str:
    """A commented ``hubdeploy.toml``: ``values`` (nested, as the file) set, defaults commented out.

    Every setting appears with its description, so that the file explains itself.
    """
    lines = ["# hubdeploy.toml: one deployment of JupyterHub. Lines that begin with '# ' and a"]
    lines += ["# setting show its default; take the '# ' away to change it.", ""]
    lines += _example_section(Config, values, "")
    return "\n".join(lines).rstrip() + "\n"


def _example_section(model: type[BaseModel], values: dict[str, Any], path: str) -> list[str]:
    lines = [f"[{path}]"] if path else []
    for name, field in model.model_fields.items():
        if _nested(field.annotation) is not None:
            continue
        lines += textwrap.wrap(
            field.description or "", 96, initial_indent="## ", subsequent_indent="## "
        )
        if name in values:
            lines.append(f"{name} = {_inline(values[name])}")
        else:
            default = field.get_default(call_default_factory=True)
            shown = "" if default is None else _inline(_json(field, default))
            lines.append(f"# {name} = {shown}".rstrip() + ("" if shown else " (none)"))
    lines.append("")
    for name, field in model.model_fields.items():
        nested = _nested(field.annotation)
        if nested is None:
            continue
        inner = f"{path}.{name}" if path else name
        if not _is_list(field.annotation):
            lines += _example_section(nested, values.get(name, {}), inner)
        for item in values.get(name, []) if _is_list(field.annotation) else []:
            lines += [f"[[{inner}]]", *(f"{k} = {_inline(v)}" for k, v in item.items()), ""]
    return lines


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_inline(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_inline(v) for v in value) + "]"
    return _toml(value)
