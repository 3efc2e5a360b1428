"""A cookbook's ``metadata.rb``, read without running it.

Only literal arguments are understood: quoted strings, ``%w()`` lists, heredocs, ``true``/``false``.
That is how practically every cookbook is written; whatever else needs Ruby is refused with the
line's number instead of being guessed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hubdeploy.errors import ChefError

_PAIRS = ("depends", "supports", "provides")
_TEXTS = (
    "name",
    "version",
    "description",
    "long_description",
    "maintainer",
    "maintainer_email",
    "license",
    "source_url",
    "issues_url",
)
_LISTS = ("chef_version", "ohai_version")
_FLAGS = ("privacy", "eager_load_libraries")
_IGNORED = ("gem", "recipe", "grouping", "attribute")

_CALL = re.compile(r"\s*([a-z_]+)\s*\(?\s*(.*?)\s*\)?\s*\Z", re.S)
_VERSION = re.compile(r"\d+\.\d+(\.\d+)?\Z")
_CONSTRAINT = re.compile(r"(?:(=|!=|>=|<=|>|<|~>)\s*)?(\d+(?:\.\d+){0,2})\Z")


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a cookbook says of itself. Constraints are Chef's: ``>= 1.0``, ``~> 2.1``."""

    name: str
    version: str = "0.0.0"
    description: str = ""
    long_description: str = ""
    maintainer: str = ""
    maintainer_email: str = ""
    license: str = "All rights reserved"
    source_url: str = ""
    issues_url: str = ""
    dependencies: dict[str, str] = field(default_factory=dict)
    platforms: dict[str, str] = field(default_factory=dict)
    providing: dict[str, str] = field(default_factory=dict)
    chef_versions: list[list[str]] = field(default_factory=list)
    ohai_versions: list[list[str]] = field(default_factory=list)
    privacy: bool = False
    eager_load_libraries: bool = True

    def as_json(self) -> dict[str, Any]:
        """The form of ``metadata.json`` and of the server's manifests."""
        return {
            **{key: getattr(self, key) for key in self.__dataclass_fields__},
            "recipes": {},
            "gems": [],
        }


def read_metadata(cookbook: Path) -> Metadata:
    """From ``metadata.json`` if it is there, else ``metadata.rb``; the folder's name if unnamed.

    Raises:
        ChefError: neither file, no version that Chef takes, or more Ruby than literals.
    """
    compiled, source = cookbook / "metadata.json", cookbook / "metadata.rb"
    if compiled.is_file():
        return _from_json(compiled, default_name=cookbook.name)
    if source.is_file():
        return parse_metadata(
            source.read_text(encoding="utf-8"), where=str(source), default_name=cookbook.name
        )
    raise ChefError(
        f"{cookbook} is not a cookbook: no metadata.rb", hint="every cookbook needs one"
    )


def parse_metadata(text: str, *, where: str = "metadata.rb", default_name: str = "") -> Metadata:
    """See :func:`read_metadata`; ``where`` is named in errors."""
    values: dict[str, Any] = {"name": default_name}
    pairs: dict[str, dict[str, str]] = {kind: {} for kind in _PAIRS}
    lists: dict[str, list[list[str]]] = {kind: [] for kind in _LISTS}
    for number, call in _calls(text):
        match = _CALL.match(call)
        verb = match[1] if match else ""
        if not match or verb not in (*_PAIRS, *_TEXTS, *_LISTS, *_FLAGS, *_IGNORED):
            raise _refuse(where, number, f"not understood: {call.strip()[:60]}")
        if verb in _IGNORED:
            continue
        try:
            arguments = _literals(match[2])
        except ValueError as error:
            raise _refuse(where, number, str(error)) from None
        if verb in _PAIRS:
            name, *constraint = [str(argument) for argument in arguments]
            pairs[verb][name] = (
                _constraint(constraint[0], where, number) if constraint else ">= 0.0.0"
            )
        elif verb in _LISTS:
            lists[verb].append([str(argument) for argument in arguments])
        elif len(arguments) == 1 and isinstance(arguments[0], bool if verb in _FLAGS else str):
            values[verb] = arguments[0]
        else:
            raise _refuse(where, number, f"{verb} takes one value")
    return _checked(
        Metadata(
            **values,
            dependencies=pairs["depends"],
            platforms=pairs["supports"],
            providing=pairs["provides"],
            chef_versions=lists["chef_version"],
            ohai_versions=lists["ohai_version"],
        ),
        where,
    )


def _from_json(file: Path, *, default_name: str) -> Metadata:
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        known = {key: raw[key] for key in Metadata.__dataclass_fields__ if key in raw}
        return _checked(Metadata(**{"name": default_name, **known}), str(file))
    except (ValueError, TypeError) as error:
        raise ChefError(f"{file} is not a cookbook's metadata: {error}") from None


def _checked(found: Metadata, where: str) -> Metadata:
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", found.name):
        raise ChefError(f"{where}: not a cookbook's name: {found.name!r}")
    if not _VERSION.match(found.version):
        raise ChefError(
            f"{where}: not a version that Chef takes: {found.version!r}", hint="as 1.2.3 or 1.2"
        )
    return found


def _refuse(where: str, line: int, why: str) -> ChefError:
    return ChefError(
        f"{where}, line {line}: {why}",
        hint="only literal values are read from metadata.rb; or give a metadata.json",
    )


def _constraint(text: str, where: str, line: int) -> str:
    match = _CONSTRAINT.match(text.strip())
    if not match:
        raise _refuse(where, line, f"not a version constraint: {text!r}")
    return f"{match[1] or '='} {match[2]}"


def _calls(text: str) -> list[tuple[int, str]]:
    """``(line number, call)``, comments dropped, continued lines and heredocs joined."""
    calls: list[tuple[int, str]] = []
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        number, line = at + 1, _without_comment(lines[at])
        at += 1
        while line.rstrip().endswith((",", "\\", "(")) and at < len(lines):
            line = line.rstrip().rstrip("\\") + " " + _without_comment(lines[at]).strip()
            at += 1
        heredoc = re.search(r"<<[~-]?(['\"]?)([A-Z_]+)\1\s*\Z", line)
        if heredoc:
            body: list[str] = []
            while at < len(lines) and lines[at].strip() != heredoc[2]:
                body.append(lines[at].strip())
                at += 1
            at += 1
            joined = " ".join(body).replace("\\", "\\\\").replace("'", "\\'")
            line = f"{line[: heredoc.start()]}'{joined}'"
        if line.strip():
            calls.append((number, line))
    return calls


def _without_comment(line: str) -> str:
    quote = ""
    for position, letter in enumerate(line):
        if quote:
            if letter == quote and line[position - 1] != "\\":
                quote = ""
        elif letter in "'\"":
            quote = letter
        elif letter == "#":
            return line[:position]
    return line


_LITERAL = re.compile(
    r"""\s*(?:
        '(?P<single>(?:[^'\\]|\\.)*)'
      | "(?P<double>(?:[^"\\\#]|\\.|\#(?!\{))*)"
      | %w[\[(](?P<words>[^\])]*)[\])]
      | (?P<flag>true|false)
    )\s*(?:,|\Z)""",
    re.X | re.S,
)


def _literals(text: str) -> list[str | bool]:
    """Raises ValueError for anything that is not a literal."""
    found: list[str | bool] = []
    at = 0
    while at < len(text):
        match = _LITERAL.match(text, at)
        if not match:
            raise ValueError(f"not a literal: {text[at:].strip()[:60]}")
        if match["flag"]:
            found.append(match["flag"] == "true")
        elif match["words"] is not None:
            found += match["words"].split()
        else:
            quoted = match["single"] if match["single"] is not None else match["double"]
            found.append(re.sub(r"\\(.)", r"\1", quoted))
        at = match.end()
    if not found:
        raise ValueError("a value is missing")
    return found
