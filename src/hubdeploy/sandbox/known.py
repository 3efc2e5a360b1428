"""Which sandboxes run, and where.

What is known of a running sandbox stands in ``$XDG_STATE_HOME/hubdeploy/sandbox/NAME`` (mode
0700): ``state.json`` with the endpoint, the pid and a token, ``server.log``, and what outlives the
server (the record of what `down` kept).
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import ipaddress
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hubdeploy.errors import SandboxError

MODULE = "hubdeploy.sandbox.server"
"""What the server's process runs."""


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """A running sandbox."""

    name: str
    kind: str
    """``docker`` or ``simulated``: what its machines are."""
    endpoint_url: str
    directory: Path
    pid: int
    why: str = ""
    """Why the machines are only simulated, if they are and nobody asked for that."""
    access_key: str
    token: str = field(repr=False)

    @property
    def credentials(self) -> tuple[str, str, str | None]:
        """For :class:`hubdeploy.aws.session.Aws`; they open nothing but this sandbox."""
        return self.access_key, "rehearsal", None

    @property
    def log(self) -> Path:
        return self.directory / "server.log"

    def request(
        self, path: str, body: dict[str, Any] | None = None, *, timeout: float = 30.0
    ) -> dict[str, Any]:
        """One of the server's own requests (``/describe``, ``/stop``)."""
        refuse_real_aws(self.endpoint_url)
        parts = urlsplit(self.endpoint_url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
        try:
            connection.request(
                "POST",
                f"/_sandbox{path}",
                body=json.dumps(body or {}),
                headers={"X-Sandbox-Token": self.token},
            )
            response = connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise SandboxError(
                f"the sandbox {self.name} does not answer: {error}", hint=f"its log is {self.log}"
            ) from error
        finally:
            connection.close()
        if response.status != 200:
            raise SandboxError(f"the sandbox {self.name} refused {path}: {answer.get('error')}")
        return answer

    def shell(self, instance_id: str) -> list[str]:
        """The program that opens a shell in a machine."""
        if self.kind == "simulated":
            raise SandboxError(
                "simulated machines have no shell",
                hint="hubdeploy run --sandbox tries the few commands that they know",
            )
        return ["docker", "exec", "-it", f"{self.name}-{instance_id}", "bash", "-l"]

    def directions(self) -> list[str]:
        """Where to go once the deployment is up, one line each."""
        if self.kind == "simulated":
            why = self.why or "as asked for"
            return [
                f"The machines are simulated ({why}): no hub answers.",
                "Everything else is real: try hubdeploy status, scale and down with --sandbox.",
            ]
        lines: list[str] = list(self.request("/directions")["lines"])
        return lines


def refuse_real_aws(endpoint_url: str) -> None:
    """Raise unless the endpoint is on this machine."""
    host = urlsplit(endpoint_url).hostname or ""
    try:
        inside = ipaddress.ip_address(host).is_loopback
    except ValueError:
        inside = False
    if not inside:
        raise SandboxError(
            f"the sandbox does not use the endpoint {endpoint_url}",
            hint="it runs on loopback only; unset AWS_ENDPOINT_URL",
        )


def root() -> Path:
    """Where sandboxes keep what is known of them."""
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "hubdeploy" / "sandbox"


def directory_of(name: str) -> Path:
    return root() / name


def find(name: str) -> Sandbox | None:
    """The running sandbox of that name; what a crashed one left of its state is passed over."""
    directory = directory_of(name)
    try:
        state = json.loads((directory / "state.json").read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise SandboxError(f"the state of sandbox {name} cannot be read: {error}") from error
    if not _is_server(int(state["pid"]), name):
        return None
    refuse_real_aws(state["endpoint_url"])
    return Sandbox(
        name=name,
        kind=state["kind"],
        endpoint_url=state["endpoint_url"],
        directory=directory,
        pid=int(state["pid"]),
        why=state.get("why", ""),
        access_key=state["access_key"],
        token=state["token"],
    )


def _is_server(pid: int, name: str) -> bool:
    """Whether that process is the sandbox's server, and not one that got its number later."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    return MODULE in words and name in words


def lives(name: str) -> bool:
    """Whether a server of that name runs, wherever its state is kept."""
    return any(
        _is_server(int(entry.name), name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit()
    )


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Two commands that start a sandbox at the same time get the same one."""
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
