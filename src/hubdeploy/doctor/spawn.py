"""``doctor --spawn``: a real server for a check user, a cell, a file, each phase timed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar
from urllib.parse import urlsplit

from hubdeploy.doctor.check import Check, Stage
from hubdeploy.pipeline.step import Finding, Severity

SPARE = 60.0
"""Seconds of the check's time that are kept for the steps after the start."""


class Spawn(Check):
    """The whole way of a user: start, open, run, write, read, stop."""

    name = "spawn"
    title = "A server starts and a notebook runs"
    stage: ClassVar[Stage] = Stage.AFTER
    deadline = 900.0
    """A start may have to wait for a machine's boot."""

    def find(self) -> Iterable[Finding]:
        from hubdeploy.hub.client import DOCTOR_USER, HubClient
        from hubdeploy.hub.walk import walk

        url = self.ctx.status.url
        token = self._token()
        if not url or not token:
            yield self.error(
                "there is no hub, or no token for the doctor", hint="run `hubdeploy up`"
            )
            return
        parts = urlsplit(url)
        with HubClient(
            url=f"{parts.scheme}://{parts.netloc}",
            user=DOCTOR_USER,
            token=token,
            verify=self.ctx.has_trusted_certificate,
        ) as client:
            found = walk(client, seconds=self.deadline - SPARE)
        took = ", ".join(f"{step} {seconds:.1f} s" for step, seconds in found.steps.items())
        if found.ok:
            yield Finding(severity=Severity.OK, subject=self.name, message=took)
            return
        last = f"; last it said: {found.told}" if found.told else ""
        yield self.error(
            f"{found.error} (after {took or 'nothing'}{last})",
            hint=found.hint or "hubdeploy logs hub",
        )

    def _token(self) -> str:
        found = self.ctx.aws.call(
            "ssm",
            "get_parameters",
            Names=[self.ctx.names.parameters.hub_secret("doctor-token")],
            WithDecryption=True,
        )["Parameters"]
        return str(found[0]["Value"]) if found else ""


CHECKS: tuple[type[Check], ...] = (Spawn,)
