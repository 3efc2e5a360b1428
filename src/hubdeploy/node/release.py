"""The release: which wheel, cookbooks and settings this deployment runs, and getting them."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from hubdeploy.config.names import MACHINE_HOME
from hubdeploy.config.settings import Settings
from hubdeploy.errors import AwsError, HubdeployError
from hubdeploy.node import system
from hubdeploy.node.aws import Cloud
from hubdeploy.node.waiting import patiently, wait_for

log = logging.getLogger(__name__)

RESTARTED = (
    "hubdeploy-logs",
    "hubdeploy-swarm",
    "hubdeploy-spot",
    "hubdeploy-use",
    "hubdeploy-workstation",
)
"""Long-running units of the agent's: restarted when it was updated."""


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """An object in the bucket and its SHA-256 (hex)."""

    key: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Release:
    """The parameter ``release``."""

    wheel: Artifact
    cookbooks: Artifact
    settings: Artifact
    version: str


def parse(data: dict[str, Any]) -> Release:
    """Raises HubdeployError if it is not as :class:`~hubdeploy.config.names.Parameters` says."""
    try:
        parts = {
            name: Artifact(key=str(data[name]["key"]), sha256=str(data[name]["sha256"]))
            for name in ("wheel", "cookbooks", "settings")
        }
        return Release(**parts, version=str(data.get("version", "")))
    except (KeyError, TypeError) as error:
        raise HubdeployError(
            f"The parameter 'release' lacks {error}", hint="run hubdeploy up again"
        ) from error


def read(cloud: Cloud, *, wait: float = 600) -> Release:
    """The current release; waits up to ``wait`` seconds for the first one.

    Raises:
        WaitTimeout: there is none yet.
    """
    name = cloud.machine.names.parameters.release
    data = wait_for(f"the parameter {name}", lambda: cloud.parameter_json(name), seconds=wait)
    return parse(data)


def settings(cloud: Cloud, release: Release | None = None) -> Settings:
    """The release's settings, kept on the machine by their digest.

    Raises:
        AwsError: they cannot be had.
    """
    wanted = (release or read(cloud)).settings
    kept = cloud.machine.state("settings.json")
    if kept.is_file():
        body = kept.read_bytes()
        if hashlib.sha256(body).hexdigest() == wanted.sha256:
            return cast("Settings", json.loads(body))
    body = patiently(
        lambda: cloud.artifact(wanted.key, sha256=wanted.sha256), on=(AwsError,), seconds=120
    )
    system.write(kept, body)
    return cast("Settings", json.loads(body))


def patience(cloud: Cloud, *names: str) -> float:
    """Seconds to wait for what comes one after the other, by names of ``[waits]``.

    An hour more than ``up`` waits: it may be interrupted and called again, and a machine that has
    given up by then would have to be replaced.
    """
    waits = settings(cloud)["waits"]
    return 3600.0 + sum(waits[name] for name in names)


# ------------------------------------------------------------------ the agent itself


def _home(cloud: Cloud) -> Path:
    return cloud.machine.path(MACHINE_HOME)


def is_current(cloud: Cloud, release: Release) -> bool:
    """Whether the agent's virtual environment is the release's."""
    link = _home(cloud) / "venv"
    return link.is_symlink() and link.readlink().name == release.wheel.sha256[:12]


def update(cloud: Cloud, release: Release) -> bool:
    """Install the release's wheel beside the running one, then move the link; whether it was new.

    What runs goes on with the old environment, which stays until the update after the next.

    Raises:
        HubdeployError: download or installation failed; the old one is still in place.
    """
    if is_current(cloud, release):
        return False
    home = _home(cloud)
    wheel = home / "wheels" / Path(release.wheel.key).name
    system.write(wheel, cloud.artifact(release.wheel.key, sha256=release.wheel.sha256))
    target = home / "venvs" / release.wheel.sha256[:12]
    shutil.rmtree(target, ignore_errors=True)
    base = getattr(sys, "_base_executable", sys.executable)
    system.run([base, "-m", "venv", str(target)])
    pip = [str(target / "bin/pip"), "install", "--quiet", "--no-input"]
    patiently(
        lambda: system.run([*pip, "--disable-pip-version-check", f"{wheel}[node]"], timeout=900),
        on=(system.CommandError,),
        seconds=600,
    )
    link = home / "venv"
    before = link.readlink() if link.is_symlink() else None
    fresh = home / ".venv.new"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)
    for old in (home / "venvs").iterdir():
        if old not in (target, before):
            shutil.rmtree(old, ignore_errors=True)
    log.info("agent is now %s (%s)", release.version, target.name)
    for name in RESTARTED:
        system.systemctl(
            cloud.machine.root, "try-restart", "--no-block", f"{name}.service", check=False
        )
    return True
