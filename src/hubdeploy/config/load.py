"""Reads ``hubdeploy.toml`` and says exactly what is wrong with it, where, and what to write."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from hubdeploy.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel

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
        where = re.search(r"\(at line (\d+), column \d+\)", str(error))
        # what is open at the end of the file has no line of its own
        line = int(where[1]) if where else max(1, len(text.splitlines()))
        reason = str(error).partition(" (at")[0]
        hint = _toml_hint(reason if where else reason.replace("Invalid value", OPEN))
        raise ConfigError(f"{source}:{line}: not valid TOML: {reason}", hint=hint) from None
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        from hubdeploy.config.faults import lines

        raise ConfigError(
            "\n".join(lines(error, text=text, source=source, model=Config)),
            hint="`hubdeploy config reference` explains every setting",
        ) from None


OPEN = "open at the end"
_TOML_HINTS = {
    "Invalid value": 'text needs quotes: key = "value"',
    "Unterminated": "close the text with the quotes that it began with",
    "Illegal character": "close the text with the quotes that it began with, on its line",
    "Cannot overwrite": "every setting stands only once",
    "Cannot declare": "every table stands only once; join the two",
    "Cannot mutate": "every table stands only once; join the two",
    "Expected '='": "a setting is written key = value, a table [name]",
    "Expected newline": "one setting a line; a comment begins with #",
    "Unclosed array": "close the list with ]",
    "Unclosed inline": "close the table with }",
    OPEN: "it ends within a list or a table: close it with ] or }",
    "Expected ']'": "close the table's name with ]",
    "Invalid statement": "a setting is written key = value, a table [name]",
    "Invalid initial character": "a setting is written key = value, a table [name]",
}


def _toml_hint(reason: str) -> str:
    found = (hint for begin, hint in _TOML_HINTS.items() if reason.startswith(begin))
    return next(found, "`hubdeploy config reference --example` shows a whole file")


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
        # a table within the one that is looked for tells where that begins
        fits = here == path[: len(here)] or here[: len(path)] == path
        depth = min(len(here), len(path))
        if fits and (best is None or depth > best[0]):
            best = (depth, number)
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
