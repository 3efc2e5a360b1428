"""A Chef server under test: goiardi, started by the very command line of the agent's unit."""

from __future__ import annotations

import shlex
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from hubdeploy.node import chefgoiardi, chefserver
from hubdeploy.node.aws import Cloud
from tests.plugins.goiardi import free_port


class Host(chefgoiardi.Goiardi):
    """Goiardi on another port; systemd's part, starting the unit's command, is done here."""

    def __init__(self, cloud: Cloud, port: int) -> None:
        super().__init__(cloud.machine, port=port)
        self._files = cloud.machine
        self._process: subprocess.Popen[bytes] | None = None

    def _systemctl(self, *arguments: str, check: bool = True) -> None:  # noqa: ARG002
        if arguments[0] in ("stop", "restart"):
            self.stop()
        if arguments[0] in ("start", "restart"):
            self.start()

    def start(self) -> None:
        """Run ``ExecStart`` of the unit file as it was written."""
        if self._process is not None:
            return
        text = self._files.path(f"/etc/systemd/system/{chefgoiardi.UNIT}").read_text()
        line = next(x for x in text.replace("\\\n", "").splitlines() if x.startswith("ExecStart="))
        home = str(self._files.path(chefgoiardi.HOME))
        command = shlex.split(line.removeprefix("ExecStart=").replace(chefgoiardi.HOME, home))
        log = self._files.path("/goiardi.log").open("ab")
        self._process = subprocess.Popen(
            [*command, "--ipaddress=127.0.0.1"], stdout=log, stderr=log, cwd=home
        )

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None


@contextmanager
def chef_names_lead_here(*hosts: str) -> Iterator[None]:
    """What Cloud Map's DNS does in a deployment: these names are this machine."""
    real = socket.getaddrinfo

    def look_up(host: Any, *arguments: Any, **named: Any) -> Any:
        return real("127.0.0.1" if host in hosts else host, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", look_up)
        yield


@contextmanager
def running(cloud: Cloud) -> Iterator[Host]:
    """Installed, configured and published, on a free port."""
    host = Host(cloud, free_port())
    try:
        chefserver.restore(cloud, host)
        chefserver.configure(cloud, host)
        chefserver.publish(cloud, host)
        yield host
    finally:
        host.stop()
