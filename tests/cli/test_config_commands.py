"""init, config check, show and reference."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hubdeploy.cli.main import app
from hubdeploy.config.load import load
from hubdeploy.errors import ConfigError

ROOT = Path(__file__).parents[2]


def run(*words: str, text: str = "") -> Result:
    return CliRunner().invoke(app, list(words), input=text)


def test_init_writes_a_valid_commented_file(tmp_path: Path) -> None:
    path = tmp_path / "hubdeploy.toml"
    result = run("init", "-c", str(path), "--name", "physics", "--region", "eu-west-1",
                 "--admin", "ada", "--admin", "bob", "--domain", "example.org",
                 "--email", "ada@example.org")  # fmt: skip
    assert result.exit_code == 0, result.output
    config = load(path)
    assert (config.name, config.hub.admins, config.hub_host) == (
        "physics",
        ["ada", "bob"],
        "notebooks.example.org",
    )
    assert "## Workers that always run." in path.read_text()


def test_init_with_a_domain_wants_an_address_for_the_certificates_notices(tmp_path: Path) -> None:
    path = tmp_path / "hubdeploy.toml"
    words = ("init", "-c", str(path), "--name", "physics", "--region", "eu-west-1")
    refused = run(*words, "--domain", "example.org")
    assert isinstance(refused.exception, ConfigError)
    assert "--domain needs --email" in refused.exception.message
    assert not path.exists()


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("name", "Physics!", "a name of 2 to 24 lower-case letters"),
        ("region", "moon-1", "a region such as"),
        ("domain", "no domain", "a domain"),
        ("admin", "", "a user"),
        ("email", "ada", "an e-mail address"),
    ],
)
def test_init_says_which_option_is_wrong_and_what_it_has_to_be(
    tmp_path: Path, option: str, value: str, expected: str
) -> None:
    given = {"name": "physics", "region": "eu-west-1", option: value}
    options = [f"--{name}={text}" for name, text in given.items()]
    refused = run("init", "-c", str(tmp_path / "hubdeploy.toml"), *options)
    assert isinstance(refused.exception, ConfigError)
    message = refused.exception.message
    assert message.startswith(f"--{option}: expected {expected}")
    assert message.endswith(f'got "{value}"')
    assert list(tmp_path.iterdir()) == []


def test_init_at_a_terminal_asks_and_asks_again_after_a_wrong_answer(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    answers = ["Physics!", "physics", "moon-1", "eu-west-1", "example.org", "ada@", "ada@x.org", ""]
    os.write(ours, "".join(f"{answer}\n" for answer in answers).encode())
    path = tmp_path / "hubdeploy.toml"
    words = [sys.executable, "-m", "hubdeploy.cli.main", "init", "-c", str(path)]
    done = subprocess.run(
        words, stdin=theirs, capture_output=True, text=True, timeout=60, check=False
    )
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 0, done.stderr
    for told in ("a name of 2 to 24", "a region such as", "an e-mail address"):
        assert f"expected {told}" in done.stderr
    config = load(path)
    assert (config.name, config.region, config.domain) == ("physics", "eu-west-1", "example.org")
    assert (config.tls.email, config.hub.admins) == ("ada@x.org", ["admin"])


def test_init_does_not_overwrite_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "hubdeploy.toml"
    path.write_text("mine")
    assert run("init", "-c", str(path), "--name", "a1", "--region", "eu-west-1").exit_code != 0
    assert path.read_text() == "mine"


def test_show_prints_every_setting_with_its_value(tmp_path: Path) -> None:
    path = tmp_path / "hubdeploy.toml"
    path.write_text('name = "demo"\nregion = "eu-central-1"\n[hub]\nmemory = "3G"\n')
    shown = json.loads(run("config", "show", "-c", str(path), "--json").output)
    assert shown["schema"] == "hubdeploy/config/1"
    assert shown["config"]["hub"]["memory"] == "3G"
    again = tmp_path / "again.toml"
    again.write_text(run("config", "show", "-c", str(path)).output)
    assert load(again) == load(path)


def test_the_reference_in_the_docs_is_the_models() -> None:
    current = run("config", "reference").output
    assert (ROOT / "docs/configuration.md").read_text() == current, "run `make docs`"


def test_the_shipped_configuration_is_the_example() -> None:
    assert (ROOT / "hubdeploy.toml").read_text() == run("config", "reference", "--example").output
    assert run("config", "check", "-c", str(ROOT / "hubdeploy.toml")).exit_code == 0


@pytest.mark.parametrize("words", [("config",), ("secret",)])
def test_a_group_without_a_command_shows_its_help(words: tuple[str, ...]) -> None:
    assert "Usage" in run(*words).output
