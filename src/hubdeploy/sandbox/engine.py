"""The Docker engine that the sandbox's machines live in: found running, or started.

Where an init system manages Docker, it is asked; where there is none (a container, a bare
virtual machine) ``dockerd`` is started as a process of its own that outlives the command, and
its pid is written down so that whoever shuts the sandbox down can end just this one.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import docker
import requests
from docker.errors import DockerException

from hubdeploy.errors import SandboxError

log = logging.getLogger(__name__)

START_DEADLINE = 60.0
"""Seconds a fresh ``dockerd`` may take to answer; it takes one to two."""
STOP_DEADLINE = 30.0
SANDBOX_LABEL = "hubdeploy.sandbox"
"""On everything that the sandbox makes in the engine; the value is the sandbox's name."""


class NoEngine(SandboxError):
    """Machines cannot be containers here; the message says why. Simulated machines can be had."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A Docker engine that answers and can hold machines."""

    client: docker.DockerClient
    started: bool
    """By us, with its pid in the record."""

    @property
    def cgroups(self) -> int:
        """Version of the control groups: 1 or 2."""
        return int(self.client.info().get("CgroupVersion") or 1)


def connect(*, state: Path, progress: Callable[[str], object] = log.info) -> Engine:
    """Find a running engine, or start one.

    ``state`` is a directory of the sandbox's; the record of a started engine and its log go
    there. Raises :class:`NoEngine` with the reason and what to do about it.
    """
    client = _answering()
    if client is None:
        progress("starting the Docker engine")
        _start(state)
        client = _answering()
        if client is None:
            raise NoEngine(
                "the Docker engine was started and does not answer",
                hint=f"its log is {state / 'dockerd.log'}",
            )
    reason = unfit(client.info())
    if reason:
        raise NoEngine(
            f"this Docker engine cannot hold machines: {reason}",
            hint="use a local Docker engine that runs as root on Linux",
        )
    return Engine(client=client, started=_recorded(state) is not None)


def running() -> docker.DockerClient | None:
    """A client of the engine if one runs; none is started."""
    return _answering()


def system_path() -> str:
    """PATH with the administrator's folders, which a plain ``su`` or a user's shell lacks."""
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def unfit(info: dict[str, object]) -> str:
    """Why an engine (``docker info`` as a dict) cannot hold machines, or an empty string."""
    if info.get("OSType") != "linux":
        return f"it runs {info.get('OSType')} containers"
    options = info.get("SecurityOptions") or []
    if isinstance(options, list) and any("rootless" in str(option) for option in options):
        return "it runs without root, and a machine needs its own Docker engine and mounts"
    if isinstance(options, list) and any("userns" in str(option) for option in options):
        return "it maps user ids, and files shared between machines would lose their owners"
    if "Docker Desktop" in str(info.get("OperatingSystem")):
        return "it is Docker Desktop's virtual machine, whose networks this host cannot reach"
    return ""


def stop_started(*, state: Path) -> bool:
    """End the engine that :func:`connect` started with this record, unless others use it.

    Returns whether an engine was ended. Containers that are not the sandbox's keep it alive.
    """
    pid = _recorded(state)
    if pid is None:
        return False
    client = _answering()
    if client is not None and client.containers.list():
        log.info("the Docker engine (pid %d) has containers in it and is left running", pid)
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_DEADLINE
    while _start_time(pid) is not None and time.monotonic() < deadline:
        _reap(pid)
        time.sleep(0.05)
    _record_path(state).unlink(missing_ok=True)
    return True


def _answering() -> docker.DockerClient | None:
    """A client of the engine that ``DOCKER_HOST`` or the default socket names, if it answers."""
    try:
        client = docker.from_env(timeout=600)
        client.ping()
    except (DockerException, requests.exceptions.RequestException, OSError) as error:
        log.debug("no Docker engine answers: %s", error)
        return None
    return client


def _start(state: Path) -> None:
    """Start the engine by the init system where there is one, else as our own process."""
    if os.environ.get("DOCKER_HOST"):
        raise NoEngine(
            f"no Docker engine answers at DOCKER_HOST={os.environ['DOCKER_HOST']}",
            hint="unset DOCKER_HOST to use the local engine",
        )
    if shutil.which("dockerd", path=system_path()) is None:
        raise NoEngine("Docker is not installed", hint="sudo apt-get install docker.io")
    if Path("/var/run/docker.sock").exists() and not os.access("/var/run/docker.sock", os.W_OK):
        raise NoEngine(
            "the Docker engine's socket is closed to this user",
            hint="sudo usermod -aG docker $USER, then log in again; or run as root",
        )
    if os.geteuid() != 0:
        raise NoEngine(
            "the Docker engine is not running, and starting it takes root",
            hint="sudo systemctl start docker",
        )
    if Path("/run/systemd/system").is_dir():
        done = subprocess.run(
            ["systemctl", "start", "docker"], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise NoEngine(
                f"systemctl start docker: {done.stderr.strip() or 'failed'}",
                hint="journalctl -u docker says more",
            )
        return
    _start_process(state)


def _start_process(state: Path) -> None:
    state.mkdir(parents=True, exist_ok=True)
    log_path = state / "dockerd.log"
    with log_path.open("ab") as output:
        process = subprocess.Popen(
            ["dockerd"],
            env={**os.environ, "PATH": system_path()},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
        )
    record = {"pid": process.pid, "start": _start_time(process.pid)}
    _record_path(state).write_text(json.dumps(record))
    deadline = time.monotonic() + START_DEADLINE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            _record_path(state).unlink(missing_ok=True)
            raise NoEngine(
                f"dockerd ended with code {process.returncode}: {_last_words(log_path)}",
                hint=f"its log is {log_path}",
            )
        if _answering() is not None:
            return
        time.sleep(0.1)


def _last_words(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines()
    return lines[-1][-300:] if lines else "it said nothing"


def _record_path(state: Path) -> Path:
    return state / "dockerd.json"


def _recorded(state: Path) -> int | None:
    """Pid of the engine we started, if that very process still lives (pids are used again)."""
    try:
        record = json.loads(_record_path(state).read_text())
    except (OSError, ValueError):
        return None
    pid = int(record["pid"])
    return pid if _start_time(pid) == record["start"] else None


def _start_time(pid: int) -> str | None:
    """Kernel's start time of a live process (field 22 of its stat), None for a dead one."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def _reap(pid: int) -> None:
    """Collect the process if it is our child; an adopted one is init's."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
