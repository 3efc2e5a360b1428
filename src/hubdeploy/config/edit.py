"""Changes single settings in ``hubdeploy.toml`` and keeps its comments and order."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from hubdeploy.config.load import parse
from hubdeploy.config.model import Config
from hubdeploy.errors import ConfigError

Scalar = str | int | float | bool


def updated(text: str, changes: Mapping[str, Scalar], *, source: str) -> tuple[str, Config]:
    """The text with ``{"workers.max_nodes": 20}`` set, and the configuration it then holds.

    A result that is not valid is refused (:class:`ConfigError`); the text is then unchanged.
    """
    import tomlkit
    from tomlkit.items import InlineTable, Table

    document = tomlkit.parse(text)
    for path, value in changes.items():
        *tables, key = path.split(".")
        place: tomlkit.TOMLDocument | Table | InlineTable = document
        for name in tables:
            if name not in place:
                place[name] = tomlkit.table()
            inner = place[name]
            if not isinstance(inner, (Table, InlineTable)):
                raise ConfigError(f"{source}: {name} is not a table")
            place = inner
        place[key] = value
    new = tomlkit.dumps(document)
    return new, parse(new, source=source)


def write(path: Path, text: str) -> None:
    """Replace the file in one step, so that an interrupt leaves the old or the new one."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    handle, temporary = tempfile.mkstemp(dir=path.parent or Path(), prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
