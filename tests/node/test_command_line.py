"""``hubdeploy-node`` as units and recipes call it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hubdeploy.config.names import Role
from tests.plugins.deployment import Site

AGENT = Path(sys.executable).with_name("hubdeploy-node")
VERBS = [
    "phase set",
    "identity",
    "boot",
    "update",
    "leave",
    "doctor",
    "register",
    "converge",
    "ssh publish-host-key",
    "logs ship",
    *(f"chef-server {verb}" for verb in ("install", "configure", "publish", "backup", "restore")),
    *(f"workstation {verb}" for verb in ("publish", "watch", "knife")),
    *(f"swarm {verb}" for verb in ("lead", "join", "watch", "leave", "drain")),
    "images pull",
    "spot watch",
    "use watch",
    *(f"hub {verb}" for verb in ("secrets", "backup", "restore")),
    "tls ensure",
    "state mount",
]


def agent(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(AGENT), *arguments],
        env={"PATH": os.environ["PATH"], "COLUMNS": "100", **more},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_every_verb_that_others_rely_on_explains_itself() -> None:
    from typer.main import get_command
    from typer.testing import CliRunner

    from hubdeploy.node.main import app

    assert get_command(app)
    for verb in VERBS:
        shown = CliRunner().invoke(app, [*verb.split(), "--help"])
        assert shown.exit_code == 0, verb
        assert re.search(r"Usage:.*", shown.output), verb


def test_a_phase_is_set_as_the_machine(site: Site, tmp_path: Path) -> None:
    site.metadata.instance("i-0abc")
    given = site.environment(Role.WORKER, "i-0abc")
    machine = str(site.machine_json(Role.WORKER, tmp_path / "m"))
    (tmp_path / "log").write_text("the end of the log\n")
    done = agent(
        *("phase", "set", "failed", "no luck", "--log", str(tmp_path / "log")),
        HUBDEPLOY_MACHINE=machine,
        **given,
    )
    assert done.returncode == 0, done.stderr
    said = site.get_json(site.names.parameters.phase(Role.WORKER, "i-0abc"))
    assert (said["phase"], said["detail"], said["log"]) == (
        "failed",
        "no luck",
        "the end of the log\n",
    )
    shown = agent("identity", "--json", HUBDEPLOY_MACHINE=machine, **given)
    assert json.loads(shown.stdout)["node"] == "demo-worker-i-0abc"


def test_guards_answer_by_their_exit_code(site: Site, tmp_path: Path) -> None:
    site.metadata.instance("i-0abc")
    given = site.environment(Role.LEADER, "i-0abc")
    given["HUBDEPLOY_MACHINE"] = str(site.machine_json(Role.LEADER, tmp_path / "m"))
    assert agent("tls", "ensure", "--check", **given).returncode == 1
    assert agent("tls", "ensure", **given).returncode == 0
    assert agent("tls", "ensure", "--check", **given).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["boot", "worker"], 1, "This machine is a leader, not a worker"),
        (["boot", "king"], 2, "king"),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_mistakes_are_one_line_and_a_code(
    site: Site, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    machine = str(site.machine_json(Role.LEADER, tmp_path / "m"))
    done = agent(*arguments, HUBDEPLOY_MACHINE=machine)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_brings_its_hint(tmp_path: Path) -> None:
    done = agent("doctor", HUBDEPLOY_MACHINE=str(tmp_path / "missing"))
    assert done.returncode == 1
    assert "error: This is no machine of a deployment" in done.stderr
    assert "hint: user data writes it" in done.stderr
