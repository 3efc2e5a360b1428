"""One archive for a bug report: logs, status, doctor's findings, versions, configuration."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hubdeploy.aws.masking import masked
from hubdeploy.cli.deployment import Opened, last_run
from hubdeploy.config.build import build_info
from hubdeploy.errors import AwsError, HubdeployError
from hubdeploy.operate import cleaning, status
from hubdeploy.operate.reading import Reader

LINES = 5000
"""Of each log."""
EXAMINED = 180.0
"""Seconds that doctor may take; each of its checks has a deadline of its own."""
LIBRARIES = ("boto3", "botocore", "paramiko", "pydantic", "PyChef", "rich", "typer")


def write(output: Path, opened: Opened, reader: Reader, *, on: str | None, since: str) -> str:
    """Write the archive (0600) and say in a few words what is in it.

    What cannot be had is a text that says why: a report about a broken deployment is when some of
    it cannot.
    """
    texts = {
        "status.json": _json(lambda: status.read(aws=opened.aws, names=opened.names).as_dict()),
        "doctor.json": _json(lambda: _doctor(opened)),
        "versions.json": _json(lambda: _versions(opened)),
        "configuration.json": _json(lambda: opened.config.model_dump(mode="json")),
        "last-up.log": last_run(opened.names.deployment, "up")
        or "(no `up` of this deployment was run from this machine)\n",
    }
    found = reader.everything(on, lines=LINES, since=since)
    for name, each in found.items():
        label, _, unit = name.rpartition(" ")
        folder = label.replace(" (ended)", "-ended")
        texts[f"logs/{folder}/{unit}.log"] = f"({each.problem})\n" if each.problem else each.text
    try:
        known = cleaning.secrets_of(aws=opened.aws, names=opened.names)
    except AwsError:  # who may not read them cannot give them away by value either
        known = set()
    body = cleaning.archive(texts, known=known)
    with os.fdopen(os.open(output, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as out:
        out.write(body)
    return f"{len(found)} logs and {', '.join(sorted(n for n in texts if '/' not in n))}"


def _json(ask: Callable[[], dict[str, Any]]) -> str:
    try:
        found: dict[str, Any] = masked(ask())
    except HubdeployError as error:
        found = {"problem": error.message, "hint": error.hint}
    return json.dumps(found, indent=2, default=str) + "\n"


def _doctor(opened: Opened) -> dict[str, Any]:
    """In a process of its own: a check that is left behind ends with it."""
    argv = [sys.executable, "-m", "hubdeploy.cli.main", "doctor", "--json"]
    argv += ["--config", os.fspath(opened.path), *(["--sandbox"] if opened.sandbox else [])]
    argv += ["--profile", opened.aws.profile] if opened.aws.profile else []
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=EXAMINED, check=False)
        found: dict[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return {"problem": f"not done after {EXAMINED:.0f} s"}
    except ValueError:
        return {"problem": done.stderr.strip()}
    return found


def _versions(opened: Opened) -> dict[str, Any]:
    """Of this program and what it uses, and of what the machines are to run."""
    release = status.parameter(opened.names.parameters.release, aws=opened.aws)
    return {
        "hubdeploy": build_info(),
        "system": platform.platform(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "release": release,
        "sandbox": opened.sandbox.kind if opened.sandbox else None,
    }
