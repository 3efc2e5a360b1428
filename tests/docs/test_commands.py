"""Every command that the documentation shows works as it is shown."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.test_simulated import Terminal

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
pytestmark = pytest.mark.timeout(300)


def shown() -> list[tuple[str, str]]:
    """(page, command) of every ``$ hubdeploy …`` line, what ends the deployment last."""
    found = [
        (page.name, match[1].split("  #")[0].strip())
        for page in PAGES
        for match in re.finditer(r"^\$ (hubdeploy .*)$", page.read_text(), re.MULTILINE)
    ]
    return sorted(dict.fromkeys(found), key=lambda entry: " down" in entry[1])


def mentioned() -> list[tuple[str, str]]:
    """(page, command) of every `hubdeploy …` in running text and tables."""
    return sorted(
        {
            (page.name, match[1])
            for page in PAGES
            for match in re.finditer(r"`(hubdeploy [a-z][^`\n]*)`", page.read_text())
        }
    )


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    made = Terminal(tmp_path_factory.mktemp("docs"), f"doc{os.getpid()}")
    try:
        assert made("up", "--machines", "simulated", "--yes").returncode == 0
        yield made
    finally:
        made("down", "--yes", "--delete-files", made.name)


@pytest.mark.parametrize(("page", "command"), shown())
def test_a_command_that_is_shown_works(terminal: Terminal, page: str, command: str) -> None:
    words = shlex.split(command)[1:]
    if words == ["init"]:
        # a dialogue: here there is no terminal to answer at, and it says what to give instead
        ran = terminal("init", "--config", "fresh.toml")
        assert "--name" in ran.stderr
        return
    if words[0] in ("up", "down"):
        words = [*words, *(["--yes"] if "--yes" not in words else [])]
    ran = terminal(*words)
    # the doctor's findings are for the reader; simulated machines have no hub to tell about
    allowed = (0, 1) if words[0] == "doctor" else (0,)
    assert ran.returncode in allowed, (page, ran.stdout, ran.stderr)
    assert "Traceback" not in ran.stderr


def test_every_command_that_is_mentioned_exists() -> None:
    import typer

    from hubdeploy.cli.main import app

    group = typer.main.get_command(app)
    commands = group.commands  # type: ignore[attr-defined]
    for page, command in mentioned():
        words = command.split()[1:]
        if words[0].startswith("-") or words[0] == "…":
            continue
        assert words[0] in commands, (page, command)
        known = {option for p in commands[words[0]].params for option in p.opts}
        inner = getattr(commands[words[0]], "commands", {})
        if inner:
            assert words[1] in inner, (page, command)
            known = {option for p in inner[words[1]].params for option in p.opts}
        for option in re.findall(r"(?<= )--[a-z-]+", command.split("'")[0]):
            assert option in known | {"--help"}, (page, command)
