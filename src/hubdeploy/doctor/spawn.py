"""``doctor --spawn``: a real server for a check user, a cell, a file, each phase timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import ClassVar
from urllib.parse import urlsplit

from hubdeploy.doctor.check import Check, Stage
from hubdeploy.errors import HubdeployError
from hubdeploy.pipeline.step import Finding, Severity


class Spawn(Check):
    """The whole way of a user: start, open, run, write, read, stop."""

    name = "spawn"
    title = "A server starts and a notebook runs"
    stage: ClassVar[Stage] = Stage.AFTER
    deadline = 900.0
    """A start may have to wait for a machine's boot."""

    def find(self) -> Iterable[Finding]:
        from hubdeploy.hub.client import DOCTOR_USER, HubClient

        url = self.ctx.status.url
        token = self._token()
        if not url or not token:
            yield self.error(
                "there is no hub, or no token for the doctor", hint="run `hubdeploy up`"
            )
            return
        parts = urlsplit(url)
        took: list[str] = []

        def timed(what: str, act: Callable[[], object]) -> None:
            began = time.monotonic()
            try:
                act()
            except HubdeployError as error:
                raise HubdeployError(
                    f"{what}: {error.message}", hint="hubdeploy logs hub"
                ) from None
            took.append(f"{what} {time.monotonic() - began:.1f} s")

        trusted = self.ctx.config.domain is not None and self.ctx.config.tls.kind != "self-signed"
        with HubClient(
            url=f"{parts.scheme}://{parts.netloc}",
            user=DOCTOR_USER,
            token=token,
            verify=trusted and not self.ctx.config.tls.staging,
        ) as client:
            timed("user", client.ensure_user)
            if client.server() is not None:
                client.stop()
            try:
                timed("start", client.start)
                timed("cell", lambda: _runs(client.run("print(6 * 7)").stdout))
                timed("write", lambda: client.write("doctor.txt", b"well"))
                timed("read", lambda: _same(client.read("doctor.txt")))
            finally:
                if client.server() is not None:
                    timed("stop", client.stop)
        yield Finding(severity=Severity.OK, subject=self.name, message=", ".join(took))

    def _token(self) -> str:
        found = self.ctx.aws.call(
            "ssm",
            "get_parameters",
            Names=[self.ctx.names.parameters.hub_secret("doctor-token")],
            WithDecryption=True,
        )["Parameters"]
        return str(found[0]["Value"]) if found else ""


def _runs(printed: str) -> None:
    if printed.strip() != "42":
        raise HubdeployError(f"the cell printed {printed.strip()!r} instead of 42")


def _same(read: bytes) -> None:
    if read != b"well":
        raise HubdeployError("the file does not hold what was written")


CHECKS: tuple[type[Check], ...] = (Spawn,)
