"""Names that the shell offers, asked for as the shells do."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import typer
from tests.plugins.standing import Standing

from hubdeploy.cli import completing
from hubdeploy.cli.deployment import Opened
from hubdeploy.doctor import all_checks
from hubdeploy.operate.logs import UNITS

HUBDEPLOY = Path(sys.executable).with_name("hubdeploy")
CONFIG = (
    'name = "demo"\nregion = "eu-central-1"\n[hub]\nadmins = ["ada"]\n'
    '[hub.authenticator]\nallowed_users = ["bob"]\n'
)


def offered(folder: Path, line: str, shell: str = "bash", **env: str) -> list[str]:
    """What the completion of ``hubdeploy LINE`` says; nothing may come beside it."""
    words = ["hubdeploy", *line.split(" ")]
    asked = {
        "bash": {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)},
        "fish": {
            "_TYPER_COMPLETE_ARGS": " ".join(words),
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        },
        "zsh": {"_TYPER_COMPLETE_ARGS": " ".join(words)},
    }[shell]
    run = subprocess.run(
        [HUBDEPLOY],
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "AWS_EC2_METADATA_DISABLED": "true",
            "_HUBDEPLOY_COMPLETE": f"complete_{shell}",
            **asked,
            **env,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stderr == ""
    return [name for name in run.stdout.splitlines() if name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "hubdeploy.toml").write_text(CONFIG)
    return tmp_path


def test_commands_options_and_fixed_names_are_offered(folder: Path) -> None:
    assert {"up", "down", "doctor"} <= set(offered(folder, ""))
    assert offered(folder, "config ch") == ["check"]
    assert "--sandbox" in offered(folder, "up --sa")
    assert offered(folder, "run --via s") == ["ssm", "ssh"]
    assert offered(folder, "secret set tls/k") == ["tls/key"]
    assert offered(folder, "logs user/") == ["user/ada", "user/bob"]
    assert offered(folder, "logs hub --from c") == ["cloudwatch"]


@pytest.mark.parametrize("shell", ["fish", "zsh"])
def test_other_shells_are_offered_the_same(folder: Path, shell: str) -> None:
    said = "\n".join(offered(folder, "secret show hub/", shell))
    assert "hub/admin-password" in said


def test_all_checks_and_logs_are_offered(folder: Path) -> None:
    assert set(offered(folder, "doctor --only ")) == {check.name for check in all_checks()}
    assert set(UNITS) <= set(offered(folder, "logs "))


def test_without_an_account_the_roles_are_offered_silently(folder: Path) -> None:
    assert offered(folder, "run --on w") == ["workstation", "worker"]
    assert offered(folder, "ssh ") == []
    (folder / "hubdeploy.toml").write_text("no such = [")
    assert offered(folder, "ssh ") == []
    assert not list(folder.rglob("*.log"))


def test_machines_are_offered_as_they_are_and_remembered(
    standing: Standing, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    opened = Opened(
        path=folder / "hubdeploy.toml",
        config=standing.config,
        configured=standing.config,
        aws=standing.aws,
        names=standing.names,
        sandbox=None,
        log_file=folder / "log",
    )
    monkeypatch.setattr("hubdeploy.cli.deployment.open_deployment", lambda **_: opened)
    monkeypatch.setattr(completing, "PATIENCE", 30.0)
    context = typer.Context(typer.main.get_command(typer.Typer(callback=lambda: None)))
    context.params = {"config": folder / "hubdeploy.toml", "sandbox": False}
    assert completing.single(context, "w") == ["workstation", "worker/1", "worker/2"]
    assert all(name.startswith("i-") for name in completing.single(context, "i-"))
    assert completing.several(context, "a") == ["all"]
    standing.cloud.calls.clear()
    assert completing.single(context, "lead") == ["leader"]
    assert not standing.cloud.calls.counts(), "the next key asks nobody"


def test_an_account_that_does_not_answer_holds_nobody_up() -> None:
    released = threading.Event()

    def never() -> list[str]:
        released.wait(60)
        return ["late"]

    began = time.monotonic()
    assert completing._within(0.05, never) is None
    assert time.monotonic() - began < 30
    released.set()
