"""Session Manager's port forwarding: a tunnel through AWS, with no open port anywhere.

The session is begun by AWS's API; its data is spoken by AWS's own ``session-manager-plugin``. The
session's token reaches the plugin in its environment, never on its command line, which other users
of the machine can read; plugins too old for that are refused.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from hubdeploy.aws.session import Aws
from hubdeploy.errors import AwsError, RemoteError
from hubdeploy.remote.channel import Target

PLUGIN = "session-manager-plugin"
DOCUMENT = "AWS-StartPortForwardingSession"
LAST_WITHOUT_ENVIRONMENT = (1, 2, 497, 0)
"""Up to this version the plugin takes the token as an argument only (aws-cli does likewise)."""
READY = 30.0
"""Seconds until the plugin must listen."""
_VARIABLE = "AWS_SSM_START_SESSION_RESPONSE"
_OPENED = re.compile(r"Port (\d+) opened for session")


def installed() -> bool:
    """Whether AWS's plugin is on this machine."""
    return shutil.which(PLUGIN) is not None


@dataclass(kw_only=True)
class SsmTunnel:
    """A :class:`~hubdeploy.remote.tunnel.Tunnel` to machines whose SSM agent answers."""

    aws: Aws
    ready: float = READY
    name: str = field(default="ssm", init=False)

    @contextmanager
    def open(self, target: Target, *, port: int) -> Iterator[str]:
        """See :class:`~hubdeploy.remote.tunnel.Tunnel`."""
        plugin = _plugin()
        wanted = {
            "Target": target.instance_id,
            "DocumentName": DOCUMENT,
            # without a local port the plugin takes a free one and says which
            "Parameters": {"portNumber": [str(port)]},
        }
        try:
            session = self.aws.call("ssm", "start_session", **wanted)
        except AwsError as error:
            if error.code != "TargetNotConnected":
                raise
            raise RemoteError(
                f"{target.label}: Session Manager does not reach it",
                hint="its agent is not online: `hubdeploy status`; or use --via ssh",
            ) from None
        try:
            with self._plugin(plugin, session, wanted, label=target.label) as local:
                yield f"127.0.0.1:{local}"
        finally:
            self.aws.call("ssm", "terminate_session", SessionId=session["SessionId"])

    @contextmanager
    def _plugin(
        self, plugin: str, session: dict[str, str], wanted: Mapping[str, object], *, label: str
    ) -> Iterator[int]:
        token = {key: session[key] for key in ("SessionId", "TokenValue", "StreamUrl")}
        endpoint = str(self.aws.client("ssm").meta.endpoint_url)
        process = subprocess.Popen(
            [
                *(plugin, _VARIABLE, self.aws.region, "StartSession"),
                *(self.aws.profile or "", json.dumps(wanted), endpoint),
            ],
            env={**os.environ, _VARIABLE: json.dumps(token)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # Ctrl-C is ours: the plugin ends when the block does
            start_new_session=True,
        )
        said = _Words(process)
        try:
            yield said.port(label=label, seconds=self.ready)
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            said.close()


class _Words:
    """Reads what the plugin says, all of it, so that it never waits for a full pipe."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: list[str] = []
        self._port = 0
        self._heard = threading.Event()
        self._thread = threading.Thread(target=self._read, name="session-manager", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines = [*self._lines[-9:], line.strip()]
            if found := _OPENED.search(line):
                self._port = int(found[1])
                self._heard.set()
        self._heard.set()

    def port(self, *, label: str, seconds: float) -> int:
        """The local port, once it is open."""
        began = time.monotonic()
        self._heard.wait(seconds)
        if self._port:
            return self._port
        words = " ".join(line for line in self._lines if line)
        waited = f"nothing within {time.monotonic() - began:.0f} s"
        raise RemoteError(
            f"{label}: Session Manager opened no port: {words or waited}",
            hint="--via ssh goes another way",
        )

    def close(self) -> None:
        self._thread.join(5)
        if self._process.stdout is not None:
            self._process.stdout.close()


def _plugin() -> str:
    found = shutil.which(PLUGIN)
    if found is None:
        raise RemoteError(
            f"{PLUGIN} is not installed here",
            hint="install AWS's Session Manager plugin, or use --via ssh",
        )
    try:
        said = subprocess.run(
            [found, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RemoteError(f"{PLUGIN} cannot be run: {error}", hint="or use --via ssh") from None
    parts = tuple(int(part) for part in said.split(".")) if re.fullmatch(r"[\d.]*\d", said) else ()
    if parts <= LAST_WITHOUT_ENVIRONMENT:
        raise RemoteError(
            f"{PLUGIN} {said or '(no version)'} would show the session's token to other users here",
            hint="install a newer one (after 1.2.497.0), or use --via ssh",
        )
    return found
