"""The hub from inside, and its certificate."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from hubdeploy.config.names import Role
from hubdeploy.doctor.check import Check, Stage
from hubdeploy.doctor.inside import moment
from hubdeploy.pipeline.step import Finding

CERTIFICATE_WARNING, CERTIFICATE_ERROR = timedelta(days=20), timedelta(days=5)
"""Let's Encrypt renews at 30 days before the end: at 20 something is wrong."""
RENEW = "/opt/hubdeploy/venv/bin/hubdeploy-node tls ensure --renew"


class Hub(Check):
    """Hub and proxy, as asked on the leader itself."""

    name = "hub.health"
    title = "Hub and proxy answer"
    stage: ClassVar[Stage] = Stage.AFTER

    def find(self) -> Iterable[Finding]:
        leader = self.ctx.facts.get(Role.LEADER)
        if leader is None:
            yield self.error(
                "the leader does not tell how it is", hint="hubdeploy doctor --only machines"
            )
            return
        for part in ("hub", "proxy"):
            state = leader.get(part)
            if state is not None and not state.get("ok"):
                yield self.error(
                    f"the {part} does not answer: {state.get('status', '')}",
                    hint=f"hubdeploy logs {part}",
                )


class Certificate(Check):
    """The hub's certificate is of the configured kind and does not end soon."""

    name = "hub.certificate"
    title = "The hub's certificate is good"
    stage: ClassVar[Stage] = Stage.AFTER
    mending = 240.0
    """The certificate authority looks at DNS first."""

    def find(self) -> Iterable[Finding]:
        certificate = self.ctx.facts.get(Role.LEADER, {}).get("certificate")
        if not certificate:
            return
        ends = moment(certificate.get("not_after"))
        if ends is not None:
            left = ends - datetime.now(UTC)
            if left < CERTIFICATE_WARNING:
                make = self.error if left < CERTIFICATE_ERROR else self.warning
                yield make(
                    f"the certificate ends on {ends:%Y-%m-%d}",
                    hint="hubdeploy run --on leader 'hubdeploy-node tls ensure --renew'",
                )
        wanted = self.ctx.config.tls.kind if self.ctx.config.domain else "self-signed"
        if certificate.get("kind") not in (None, wanted):
            yield self.warning(
                f"the certificate is {certificate.get('kind')}, configured is {wanted}"
                + (f": {certificate['why']}" if certificate.get("why") else "")
                + (f" (issuer: {certificate['issuer']})" if certificate.get("issuer") else ""),
                hint="hubdeploy logs converge --on leader",
            )

    def repair(self) -> str:
        """Ask for the certificate now, also where that was put off after a refusal."""
        self.ctx.on_leader(RENEW, deadline=self.mending - 60)
        self.ctx.forget_facts()
        return "asked for anew"


CHECKS: tuple[type[Check], ...] = (Hub, Certificate)
