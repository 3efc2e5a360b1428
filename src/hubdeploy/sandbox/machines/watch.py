"""Which of a sandbox's containers went down by themselves, as the engine tells it.

The engine's stream of events ends when the engine restarts or the connection breaks. It is opened
again then, and what died in between is found by looking.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import docker
import requests
from docker.errors import DockerException

from hubdeploy.sandbox.engine import SANDBOX_LABEL
from hubdeploy.sandbox.machines import container

log = logging.getLogger(__name__)

AGAIN = 1.0
"""Seconds between attempts to reach an engine that does not answer."""

Died = Callable[[str, int], None]
"""Given the instance and its container's exit code. May be told of the same death twice."""


class Watch:
    """Calls *died* from a thread of its own, until closed."""

    def __init__(self, client: docker.DockerClient, *, sandbox: str, died: Died) -> None:
        self._client = client
        self._label = f"{SANDBOX_LABEL}={sandbox}"
        self._died = died
        self._closed = threading.Event()
        self._events: Any = self._open()
        threading.Thread(target=self._run, name="machines-watch", daemon=True).start()

    def close(self) -> None:
        self._closed.set()
        self._events.close()

    def _open(self) -> Any:
        return self._client.events(
            decode=True, filters={"label": self._label, "event": "die", "type": "container"}
        )

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                for event in self._events:
                    attributes = event["Actor"]["Attributes"]
                    self._tell(attributes, int(attributes["exitCode"]))
                self._again()
            except (DockerException, requests.RequestException, OSError, ValueError) as error:
                log.info("the Docker engine's events broke off: %s", error)

    def _again(self) -> None:
        """Follow anew; only then look, so that no death falls between the two."""
        if self._closed.wait(AGAIN):
            return
        self._events = self._open()
        for found in self._client.containers.list(
            all=True, filters={"label": self._label, "status": "exited"}
        ):
            self._tell(found.labels, int(found.attrs["State"]["ExitCode"]))

    def _tell(self, labels: dict[str, str], exit_code: int) -> None:
        instance = labels.get(container.INSTANCE_LABEL)
        if instance:
            self._died(instance, exit_code)
