"""A Docker engine is started where none runs, outlives its starter, and is ended alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hubdeploy.sandbox import engine

pytestmark = pytest.mark.docker

# a host without Docker: own mounts, own network, own process table
ISOLATED = (
    "mount -t tmpfs none /run && mkdir -p /var/lib/docker && mount -t tmpfs none /var/lib/docker "
    "&& ip link set lo up && exec "
)
START = """
import sys
from pathlib import Path
from hubdeploy.sandbox import engine
found = engine.connect(state=Path(sys.argv[1]))
print(found.started, found.client.info()["Driver"], found.cgroups)
"""
STOP = """
import sys, os
from pathlib import Path
from hubdeploy.sandbox import engine
again = engine.connect(state=Path(sys.argv[1]))
again.client.close()
print(again.started, engine.stop_started(state=Path(sys.argv[1])))
print(engine.stop_started(state=Path(sys.argv[1])))
"""


def isolated(tmp_path: Path, *programs: str) -> list[str]:
    """Output lines of Python programs run one after the other on such a host."""
    runs = " && ".join(f'"$0" -c "$P{n}" {tmp_path}' for n, _ in enumerate(programs))
    script = f"{ISOLATED} sh -c '{runs}' {sys.executable}"
    ran = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "sh", "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={
            **{k: v for k, v in os.environ.items() if k != "DOCKER_HOST"},
            **{f"P{n}": text for n, text in enumerate(programs)},
        },
    )
    log = tmp_path / "dockerd.log"
    assert ran.returncode == 0, ran.stderr + (log.read_text() if log.exists() else "")
    return ran.stdout.splitlines()


@pytest.mark.skipif(os.geteuid() != 0, reason="starting an engine takes root")
def test_an_engine_is_started_found_again_and_ended(tmp_path: Path) -> None:
    started, again, twice = isolated(tmp_path, START, STOP)
    assert started.startswith("True ")
    assert again == "True True"
    assert twice == "False"
    assert not (tmp_path / "dockerd.json").exists()


def test_an_engine_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    assert not engine.stop_started(state=tmp_path)


def test_a_pid_that_was_given_to_another_process_is_not_ended(tmp_path: Path) -> None:
    record = {"pid": os.getpid(), "start": "1"}
    (tmp_path / "dockerd.json").write_text(json.dumps(record))
    assert not engine.stop_started(state=tmp_path)


def test_an_engine_that_is_named_and_silent_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(engine.NoEngine, match="DOCKER_HOST"):
        engine.connect(state=tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a host of its own")
def test_a_dockerd_that_dies_is_quoted(tmp_path: Path) -> None:
    broken = """
import os, sys
from pathlib import Path
from hubdeploy.errors import SandboxError
from hubdeploy.sandbox import engine
Path("/run/bin").mkdir()
Path("/run/bin/dockerd").write_text("#!/bin/sh\\necho no space left >&2\\nexit 3\\n")
Path("/run/bin/dockerd").chmod(0o755)
os.environ["PATH"] = "/run/bin:" + os.environ["PATH"]
try:
    engine.connect(state=Path(sys.argv[1]))
except SandboxError as error:
    print(error.message)
"""
    (said,) = isolated(tmp_path, broken)
    assert said == "dockerd ended with code 3: no space left"
