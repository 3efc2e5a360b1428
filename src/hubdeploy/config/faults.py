"""One line for each fault of a configuration: file, line, key, what was expected, what stands."""

from __future__ import annotations

import difflib
import json
import re
from typing import TYPE_CHECKING, Annotated, Any

from hubdeploy.config import expected
from hubdeploy.config.fields import RULE
from hubdeploy.config.load import Path_, dotted, key_paths, line_of

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

LONGEST = 60
"""Characters of a wrong value that are shown."""
UNTOLD = frozenset({"licence_id"})
"""Settings whose value is nobody's business."""
NEAR = 0.6
"""How much alike (0 to 1) a wrong key and the one that was meant are."""


def lines(error: ValidationError, *, text: str, source: str, model: type[BaseModel]) -> list[str]:
    """In the order of the file's lines; several complaints about one value are one."""
    found: dict[Path_, tuple[int, str]] = {}
    for fault in error.errors():
        path = _path(fault)
        if path in found:
            continue
        number = line_of(text, path)
        # a setting that the whole file lacks is missing on no line
        lacking = fault["type"] == "missing" and len(path) == 1
        place = f"{source}:{number}" if number and not lacking else source
        name = f"{dotted(path)}: " if path else ""
        found[path] = (number or 0, f"{place}: {name}{_said(fault, path, model)}")
    return [line for _, line in sorted(found.values(), key=lambda item: item[0])]


def of_value(path: Path_, value: Any, *, model: type[BaseModel]) -> str:
    """What is wrong with this value of the setting at ``path``; empty if nothing is by itself."""
    from pydantic import TypeAdapter, ValidationError

    typed = expected.find(model, path)
    if typed is None:
        raise KeyError(dotted(path))
    annotation, marks = typed
    try:
        TypeAdapter(Annotated[(annotation, *marks)] if marks else annotation).validate_python(value)
    except ValidationError:
        return f"expected {expected.words(typed)}, got {shown(value)}"
    return ""


def _path(fault: ErrorDetails) -> Path_:
    # a key of a free table that is wrong itself is marked so; its path is the value's
    path = tuple(part for part in fault["loc"] if part != "[key]")
    more = (fault.get("ctx") or {}).get("key", ()) if fault["type"] == RULE else ()
    return (*path, *(int(p) if str(p).isdecimal() else p for p in more))


def _said(fault: ErrorDetails, path: Path_, model: type[BaseModel]) -> str:
    if fault["type"] == RULE:
        return fault["msg"]
    if fault["type"] == "extra_forbidden":
        return f"unknown setting; {_advice(fault, path, model)}"
    typed = expected.find(model, path)
    if "[key]" in fault["loc"]:
        typed = expected.key(model, path[:-1])
    words = expected.words(typed) if typed else "another value"
    if fault["type"] == "missing":
        return f"missing; expected {words}"
    value = path[-1] if "[key]" in fault["loc"] else fault["input"]
    text = (expected.shown_as(typed, value) if typed else None) or shown(value)
    return f"expected {words}" + ("" if path[-1] in UNTOLD else f", got {text}")


def shown(value: Any) -> str:
    """A wrong value as the file has it, on one line."""
    if isinstance(value, dict):
        return "a table"
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = f"{value}"
    text = re.sub(r"\s+", " ", text)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _advice(fault: ErrorDetails, path: Path_, model: type[BaseModel]) -> str:
    value = fault["input"]
    table = isinstance(value[0] if isinstance(value, list) and value else value, dict)
    near = nearest(path, model, table=table)
    return f"did you mean {near}?" if near else "`hubdeploy config reference` lists all"


def nearest(path: Path_, model: type[BaseModel], *, table: bool) -> str:
    """The key that was probably meant by the unknown one at ``path``, or an empty string.

    For ``table`` the tables are looked at first (``[workers]`` for ``[worker]``); then the keys
    that stand beside it, then those of the same name elsewhere, then all.
    """
    plain = re.sub(r"\[\d+\]", "[]", dotted(path))
    parent, _, last = plain.rpartition(".")
    known = key_paths(model)
    if table:
        tables = {k.rpartition(".")[0] for k in known if "." in k}
        close = difflib.get_close_matches(plain, sorted(tables), n=1, cutoff=NEAR)
        if close:
            return f"[[{close[0][:-2]}]]" if close[0].endswith("[]") else f"[{close[0]}]"
    beside = {key.rpartition(".")[2]: key for key in known if key.rpartition(".")[0] == parent}
    close = difflib.get_close_matches(last, sorted(beside), n=1, cutoff=NEAR)
    if close:
        return beside[close[0]]
    same = [key for key in known if key.rpartition(".")[2] == last]
    return (same or difflib.get_close_matches(plain, known, n=1, cutoff=NEAR) or [""])[0]
