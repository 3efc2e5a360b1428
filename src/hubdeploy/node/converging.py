"""A converge: the client's run, and what came of it in a file."""

from __future__ import annotations

import fcntl
import json
import logging
import re
import time
from dataclasses import asdict, dataclass
from typing import Any

from hubdeploy.errors import HubdeployError
from hubdeploy.node import client, phases, release, system
from hubdeploy.node.aws import Cloud

log = logging.getLogger(__name__)

RESULT = "converge.json"
_MOST = 5400
_COUNTS = re.compile(r"(\d+)/(\d+) resources? updated")
_TAIL = 6000


class ConvergeError(HubdeployError):
    """The client's run failed; ``output`` is the end of what it said."""

    def __init__(self, message: str, *, hint: str = "", output: str = "") -> None:
        super().__init__(message, hint=hint)
        self.output = output


@dataclass(frozen=True, kw_only=True)
class Result:
    """``converge.json``. ``error`` is empty when ``ok``; times as ISO 8601 and seconds."""

    ok: bool
    updated: int
    total: int
    seconds: float
    at: str
    client: str
    release: dict[str, str]
    error: str = ""


def counts(output: str) -> tuple[int, int]:
    """Updated and all resources, from the client's last words; zeros if it did not get there."""
    found = _COUNTS.findall(output)
    return (int(found[-1][0]), int(found[-1][1])) if found else (0, 0)


def reason(output: str) -> str:
    """The line that says why a run failed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for pattern in (r"FATAL:\s*(.+)", r"((?:\w+::)*\w*(?:Error|Exception|Failed)\w*:.+)"):
        for line in reversed(lines):
            if match := re.search(pattern, line):
                return match[1][:400]
    return lines[-1][:400] if lines else "the client said nothing"


def last(cloud: Cloud) -> dict[str, Any] | None:
    """The last run's result; None before the first."""
    try:
        data = json.loads(cloud.machine.state(RESULT).read_text())
    except (FileNotFoundError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def converge(cloud: Cloud) -> Result:
    """Refresh trust and registration, run the client once, write the result.

    Only one at a time; a second caller waits for the first.

    Raises:
        ConvergeError: the run failed (the result is written).
        ChefError: the server is not there.
    """
    lock = cloud.machine.state("converge.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        return _converge(cloud)


def _converge(cloud: Cloud) -> Result:
    wanted = release.read(cloud)
    release.settings(cloud, wanted)
    client.register(cloud)
    converger = client.found()
    if converger is None:
        raise HubdeployError("There is no Chef client", hint="hubdeploy-node boot installs it")
    began = time.monotonic()
    done = system.run(converger.command, timeout=_MOST, check=False, cwd="/")
    for line in done.stdout.splitlines():
        log.info("%s", line)
    updated, total = counts(done.stdout)
    ok = done.returncode == 0
    result = Result(
        ok=ok,
        updated=updated,
        total=total,
        seconds=round(time.monotonic() - began, 1),
        at=phases.now(),
        client=converger.name,
        release={"cookbooks": wanted.cookbooks.sha256, "settings": wanted.settings.sha256},
        error="" if ok else reason(done.stdout),
    )
    system.write(cloud.machine.state(RESULT), json.dumps(asdict(result), indent=1))
    if not ok:
        raise ConvergeError(
            f"{converger.name} ended with {done.returncode}: {result.error}",
            hint="journalctl -u hubdeploy-converge -u hubdeploy-boot on the machine",
            output=done.stdout[-_TAIL:],
        )
    log.info("converged: %d of %d resources updated in %.1f s", updated, total, result.seconds)
    return result
