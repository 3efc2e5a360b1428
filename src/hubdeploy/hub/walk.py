"""Does the hub do what it is for? A server of its own for the health check, from start to stop.

``python -m hubdeploy.hub.walk`` runs on the leader, where the token is, and goes through nginx and
the proxy like any user. It prints one JSON object: ``ok``, ``error``, ``hint``, ``told`` (the last
progress message), ``steps`` (name to seconds).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from hubdeploy.config.names import STATE_DIR, Port
from hubdeploy.errors import HubdeployError
from hubdeploy.hub.client import DOCTOR_USER, HubClient, HubClientError

SETTINGS = "/etc/hubdeploy/hub.json"
TOKEN = f"{STATE_DIR}/secrets/doctor-token"
FILE = "hubdeploy-doctor.txt"


@dataclass
class Walk:
    """How far it went and how long each step took, in seconds."""

    ok: bool = False
    error: str = ""
    hint: str = ""
    told: str = ""
    steps: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        finally:
            self.steps[name] = round(time.monotonic() - begun, 2)


def walk(client: HubClient, *, seconds: float = 900.0) -> Walk:
    """Start *client*'s server, run a cell, keep a file, stop. Never raises what the hub does wrong.

    A server that is left from an earlier walk is stopped first, and none is left behind.
    """
    found = Walk()
    try:
        _steps(client, found, seconds)
        found.ok = True
    except HubdeployError as error:
        found.error, found.hint = error.message, error.hint
        with suppress(HubdeployError):
            if client.server() is not None:
                client.stop()
    return found


def _steps(client: HubClient, found: Walk, seconds: float) -> None:
    def told(message: str, _percent: int) -> None:
        found.told = message

    with found.step("hub"):
        client.health()
        if client.token:
            client.ensure_user()
        if client.server() is not None:
            client.stop()
    with found.step("start"):
        client.start(seconds=seconds, told=told)
    with found.step("lab"):
        client.open_lab()
    with found.step("cell"):
        cell = client.run("print(6 * 7)")
        if cell.error or cell.stdout.strip() != "42":
            raise HubClientError(f"a cell went wrong: {cell.error or repr(cell.stdout)}")
    with found.step("file"):
        content = uuid.uuid4().hex.encode()
        client.write(FILE, content)
        if client.read(FILE) != content:
            raise HubClientError("a file did not come back as it was written")
    with found.step("stop"):
        client.stop()


def local_client(settings: Path, token: Path) -> HubClient:
    """The health check's user, through this machine's own nginx.

    The certificate is not checked here: a check of its own looks at it.
    """
    try:
        told = json.loads(settings.read_text())
        secret = token.read_text().strip()
    except (OSError, ValueError) as error:
        raise HubdeployError(
            f"this machine is no leader of a hub, or not yet: {error}",
            hint="hubdeploy doctor --only converge",
        ) from error
    parts = urlsplit(told.get("hub_url") or f"https://{told['hub_host']}")
    return HubClient(
        f"{parts.scheme}://{parts.netloc}",
        DOCTOR_USER,
        verify=False,
        connect=("127.0.0.1", Port.HTTPS if parts.scheme == "https" else Port.HTTP),
        token=secret,
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m hubdeploy.hub.walk", description=__doc__)
    parser.add_argument("--settings", type=Path, default=Path(SETTINGS))
    parser.add_argument("--token", type=Path, default=Path(TOKEN), help="file with the token")
    parser.add_argument("--seconds", type=float, default=900.0, help="most that a start may take")
    chosen = parser.parse_args(argv)
    import urllib3

    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    try:
        found = walk(local_client(chosen.settings, chosen.token), seconds=chosen.seconds)
    except HubdeployError as error:
        found = Walk(error=error.message, hint=error.hint)
    sys.stdout.write(json.dumps(asdict(found)) + "\n")
    return 0 if found.ok else 1


if __name__ == "__main__":
    sys.exit(main())
