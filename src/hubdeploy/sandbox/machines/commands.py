"""Run Command on a container: a script with its exit code, output, deadline and cancel."""

from __future__ import annotations

import logging
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import docker
from docker.errors import APIError, NotFound

from hubdeploy.errors import SandboxError
from hubdeploy.sandbox.machines.interface import CommandResult

log = logging.getLogger(__name__)

_RUN = "/usr/local/sbin/sandbox-run"
_GRACE = 15.0
"""Seconds beyond the deadline for the machine's own timer to act and the output to arrive."""


def run(
    client: docker.DockerClient,
    container: str,
    script: str,
    *,
    timeout: float,
    cancelled: threading.Event,
) -> CommandResult:
    """Run *script* as root in *container* and wait; see ``sandbox-run`` in the machine image."""
    identity = secrets.token_hex(8)
    outcome: dict[str, Any] = {}
    done = threading.Event()
    started = time.monotonic()

    def work() -> None:
        try:
            outcome["result"] = execute(
                client, container, [_RUN, identity, f"{timeout:g}"], script.encode()
            )
        except (APIError, NotFound, OSError) as error:
            outcome["error"] = error
        finally:
            done.set()

    threading.Thread(target=work, name=f"command-{identity}", daemon=True).start()
    stopped = ""
    while not done.wait(0.1):
        if cancelled.is_set():
            stopped = "cancelled"
        elif time.monotonic() - started > timeout + _GRACE:
            stopped = "timed out"
        if stopped:
            _kill(client, container, identity)
            done.wait(_GRACE)
            break
    if "result" not in outcome:
        if stopped:
            return CommandResult(
                code=-1,
                stdout="",
                stderr="",
                timed_out=stopped == "timed out",
                cancelled=stopped == "cancelled",
            )
        raise SandboxError(f"the machine {container} took no command: {outcome.get('error')}")
    code, stdout, stderr = outcome["result"]
    late = code in (124, 137) and time.monotonic() - started >= timeout
    ended = late or stopped == "cancelled"
    return CommandResult(
        code=-1 if ended else code,
        stdout=stdout.decode(errors="replace"),
        stderr=stderr.decode(errors="replace"),
        timed_out=late and stopped != "cancelled",
        cancelled=stopped == "cancelled",
    )


def journal(client: docker.DockerClient, container: str, *, lines: int) -> str:
    """The end of the system's journal; empty where the machine is gone or off."""
    try:
        found = client.containers.get(container)
        _, output = found.exec_run(["journalctl", "--no-pager", "-o", "short", "-n", str(lines)])
    except (APIError, NotFound) as error:
        log.debug("no journal of %s: %s", container, error)
        return ""
    return output.decode(errors="replace") if isinstance(output, bytes) else ""


def _kill(client: docker.DockerClient, container: str, identity: str) -> None:
    try:
        client.containers.get(container).exec_run([_RUN, "--kill", identity])
    except (APIError, NotFound) as error:
        log.info("could not end a command on %s: %s", container, error)


def execute(
    client: docker.DockerClient, container: str, command: list[str], stdin: bytes
) -> tuple[int, bytes, bytes]:
    """Exit code, output and errors of a command that reads *stdin* to its end before it writes.

    Docker multiplexes the two outputs on the same connection.
    """
    api = client.api
    handle = api.exec_create(container, command, stdin=True, stdout=True, stderr=True)
    stream: Any = api.exec_start(handle["Id"], socket=True)
    raw = getattr(stream, "_sock", stream)
    try:
        raw.settimeout(None)
        raw.sendall(stdin)
        raw.shutdown(socket.SHUT_WR)
        outputs = {1: bytearray(), 2: bytearray()}
        for kind, data in _frames(stream):
            outputs.setdefault(kind, bytearray()).extend(data)
    finally:
        stream.close()
    code = api.exec_inspect(handle["Id"])["ExitCode"]
    return int(code if code is not None else -1), bytes(outputs[1]), bytes(outputs[2])


def _frames(stream: Any) -> Iterator[tuple[int, bytes]]:
    """Docker's multiplexed stream: a header of kind and length before each piece."""
    while header := _exactly(stream, 8):
        length = int.from_bytes(header[4:8], "big")
        yield header[0], _exactly(stream, length)


def _exactly(stream: Any, length: int) -> bytes:
    data = b""
    while len(data) < length:
        part = stream.read(length - len(data))
        if not part:
            return b""
        data += part
    return data
