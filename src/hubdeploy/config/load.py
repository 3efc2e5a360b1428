"""Reads ``hubdeploy.toml`` and says exactly what is wrong with it, where, and what to write."""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from hubdeploy.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

    from hubdeploy.config.model import Config

DEFAULT_PATH = Path("hubdeploy.toml")

Path_ = tuple[int | str, ...]
"""Where a value stands: ``("hub", "profiles", 0, "name")``."""


def load(path: Path = DEFAULT_PATH) -> Config:
    """The configuration at ``path``; :class:`ConfigError` has one line for each fault."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such file",
            hint="`hubdeploy init` writes one; --config names another; --sandbox needs none",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    return parse(text, source=str(path))


def parse(text: str, *, source: str = "hubdeploy.toml") -> Config:
    """The configuration that ``text`` holds; ``source`` names it in errors."""
    from pydantic import ValidationError

    from hubdeploy.config.model import Config

    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        place = f"{source}:{where[1]}" if where else source
        reason = str(error).partition(" (at")[0]
        raise ConfigError(
            f"{place}: not valid TOML: {reason}", hint="strings need quotes"
        ) from None
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(
            "\n".join(_lines(error, text=text, source=source, model=Config)),
            hint="`hubdeploy config reference` explains every setting",
        ) from None


def line_of(text: str, path: Path_) -> int | None:
    """The line (from 1) on which the value at ``path``, or the nearest table around it, is set.

    A scan for headers and keys, since no TOML library tells positions; dotted keys count as the
    tables they stand for. A value inside an inline table or array has its key's line.
    """
    best: tuple[int, int] | None = None
    prefix: Path_ = ()
    counts: dict[Path_, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?$", line):
            prefix = _keys(header[2])
            if header[1] == "[[":
                index = counts[prefix] = counts.get(prefix, -1) + 1
                prefix = (*prefix, index)
            here = prefix
        elif key := re.match(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*[\w"'-]+)*)\s*=""", line):
            here = (*prefix, *_keys(key[1]))
        else:
            continue
        if here == path[: len(here)] and (best is None or len(here) > best[0]):
            best = (len(here), number)
    return best[1] if best else None


def _keys(dotted: str) -> Path_:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


def dotted(path: Path_) -> str:
    """``hub.profiles[0].name``."""
    out = ""
    for part in path:
        out += f"[{part}]" if isinstance(part, int) else f".{part}"
    return out.lstrip(".")


def key_paths(model: type[BaseModel], prefix: str = "") -> list[str]:
    """All keys that a model knows, dotted; tables in lists as ``hub.profiles[].name``."""
    found: list[str] = []
    for name, field in model.model_fields.items():
        nested = _nested(field.annotation)
        path = f"{prefix}{name}"
        if nested is None:
            found.append(path)
        else:
            mark = "[]" if _is_list(field.annotation) else ""
            found.extend(key_paths(nested, f"{path}{mark}."))
    return found


def _is_list(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", None) is list


def _nested(annotation: Any) -> type[BaseModel] | None:
    from pydantic import BaseModel

    candidates = [annotation, *get_args(annotation)]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _lines(error: ValidationError, *, text: str, source: str, model: type[BaseModel]) -> list[str]:
    known = key_paths(model)
    by_place: dict[str, str] = {}
    for fault in error.errors():
        line = _line(fault, text=text, source=source, known=known)
        # of a union's several complaints about one value, the first says enough
        by_place.setdefault(line.split(": ")[0] + line.split(": ")[1], line)
    return list(by_place.values())


_EXPECTED = {
    "int_parsing": "expected a whole number",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_parsing": "expected a number",
    "float_type": "expected a number",
    "string_type": "expected text in quotes",
    "bool_parsing": "expected true or false",
    "bool_type": "expected true or false",
    "list_type": 'expected a list such as ["a", "b"]',
    "dict_type": "expected a table",
    "model_type": "expected a table",
}


def _line(fault: ErrorDetails, *, text: str, source: str, known: list[str]) -> str:
    # union members add their type's name to the location; keys are all that a reader knows
    path = tuple(p for p in fault["loc"] if isinstance(p, int) or re.fullmatch(r"[\w@.-]+", p))
    while path and not isinstance(path[-1], int) and path[-1] in {"int", "str", "list"}:
        path = path[:-1]
    line = line_of(text, path)
    place = f"{source}:{line}" if line else source
    name = dotted(path)
    plain = re.sub(r"\[\d+\]", "[]", name)
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(plain, known, n=1, cutoff=0.6) or [
            candidate
            for candidate in known
            if candidate.rpartition(".")[2] == plain.rpartition(".")[2]
        ]
        advice = f"did you mean {near[0]}?" if near else "`hubdeploy config reference` lists all"
        return f"{place}: {name}: unknown setting; {advice}"
    if fault["type"] == "missing":
        return f"{source}: {name}: missing, and it has no default"
    message = _EXPECTED.get(fault["type"], fault["msg"].removeprefix("Value error, ").strip())
    message = message.replace("input should", "must").replace("Input should", "must")
    message = message[:1].lower() + message[1:]
    got = "" if isinstance(fault["input"], dict) else f", got {fault['input']!r}"
    if fault["type"] == "value_error":
        got = ""
    return f"{place}: {name + ': ' if name else ''}{message}{got}"
