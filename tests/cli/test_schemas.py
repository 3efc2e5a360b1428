"""No ``--json`` without a schema, and no schema without a command."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer.main
from tests.cli.schemas import COMMANDS, SCHEMAS
from typer.testing import CliRunner

import hubdeploy.cli
from hubdeploy.cli.main import app

WATCH = {"watch"}
"""What `status --watch --json` prints, a line a look."""


def with_json(command: Any, words: str = "") -> Iterator[str]:
    """The commands that take ``--json``, by their words."""
    if any("--json" in parameter.opts for parameter in command.params):
        yield words
    for name, inner in getattr(command, "commands", {}).items():
        yield from with_json(inner, f"{words} {name}".strip())


def test_every_command_with_json_has_a_schema() -> None:
    assert set(with_json(typer.main.get_command(app))) == set(COMMANDS)
    assert set(COMMANDS.values()) | WATCH == set(SCHEMAS)


def test_what_is_printed_as_json_is_named_after_its_schema() -> None:
    folder = Path(str(hubdeploy.cli.__file__)).parent
    source = "".join(path.read_text() for path in folder.rglob("*.py"))
    printed = set(re.findall(r"\bemit\(\s*\"([a-z-]+)\"", source))
    assert printed <= set(SCHEMAS)
    assert set(SCHEMAS) - printed <= WATCH


def test_every_schema_is_one_and_leaves_no_table_untyped() -> None:
    def untyped(part: object, place: str) -> Iterator[str]:
        if isinstance(part, dict):
            keys = {"properties", "additionalProperties", "$ref", "anyOf"}
            if part.get("type") == "object" and not keys & part.keys():
                yield place
            for key, value in part.items():
                yield from untyped(value, f"{place}/{key}")
        elif isinstance(part, list):
            for number, value in enumerate(part):
                yield from untyped(value, f"{place}/{number}")

    for kind, schema in SCHEMAS.items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert list(untyped(schema, kind)) == []


@pytest.mark.parametrize("words", ["config check", "config show"])
def test_the_configuration_is_printed_as_its_schema_says(words: str, tmp_path: Path) -> None:
    file = tmp_path / "hubdeploy.toml"
    file.write_text(
        'name = "demo"\nregion = "eu-central-1"\ntags = { team = "science" }\n'
        '[[hub.profiles]]\nname = "big"\ntitle = "Big"\nmemory = "8G"\n'
    )
    ran = CliRunner().invoke(app, [*words.split(), "-c", str(file), "--json"])
    assert ran.exit_code == 0, ran.output
    jsonschema.validate(json.loads(ran.stdout), SCHEMAS[COMMANDS[words]])
