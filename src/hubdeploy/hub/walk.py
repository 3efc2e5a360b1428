"""Does the hub do what it is for? A server of its own for the health check, from start to stop."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from hubdeploy.errors import HubdeployError
from hubdeploy.hub.client import HubClient, HubClientError

FILE = "hubdeploy-doctor.txt"


@dataclass
class Walk:
    """How far it went and how long each step took, in seconds; ``told``: the last progress
    message."""

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
