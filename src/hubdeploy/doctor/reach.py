"""Checks from where the operator sits: name, page, and whether this address is let in."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import ClassVar
from urllib.parse import urlsplit

import requests
import urllib3

from hubdeploy.aws.inventory import tags_of
from hubdeploy.config.names import TAG_DEPLOYMENT, TAG_RESOURCE, Port, Role
from hubdeploy.doctor.check import Check, Stage
from hubdeploy.pipeline.step import Finding, Severity

TIMEOUT = 8.0
"""Seconds."""


class Access(Check):
    """Whether the rules let this machine in, by the address that the world sees.

    A hint and no fault: Run Command needs no open port, and people travel.
    """

    name = "access.address"
    title = "This address is let in"
    stage: ClassVar[Stage] = Stage.AFTER

    def find(self) -> Iterable[Finding]:
        access = self.ctx.config.access
        if self.ctx.sandbox or not (access.operator_cidrs or self._web_is_bounded()):
            return
        mine = self._address()
        if mine is None:
            return
        for port, setting, what in (
            (Port.SSH, "operator_cidrs", "SSH"),
            (Port.HTTPS, "web_cidrs", "the hub's page"),
        ):
            if port == Port.SSH and not access.operator_cidrs:
                continue
            if not any(mine in network for network in self._admitted(port)):
                yield Finding(
                    severity=Severity.OK,
                    subject=self.name,
                    message=f"{what} is closed to this machine's address {mine}",
                    hint=f'add "{mine}/32" to access.{setting}, then `hubdeploy up`',
                )

    def _web_is_bounded(self) -> bool:
        return "0.0.0.0/0" not in self.ctx.config.access.web_cidrs

    def _address(self) -> IPv4Address | None:
        try:
            answer = requests.get(self.ctx.address_service, timeout=TIMEOUT)
            found = ip_address(answer.text.strip()) if answer.ok else None
        except (requests.RequestException, ValueError):
            return None
        return found if isinstance(found, IPv4Address) else None

    def _admitted(self, port: int) -> list[IPv4Network]:
        """As the leader's security group is now, whatever the configuration says."""
        from hubdeploy.steps import rules
        from hubdeploy.steps.firewall import resource

        groups = self.ctx.aws.pages("ec2", "describe_security_groups", "SecurityGroups")
        wanted = (self.ctx.names.deployment, resource(Role.LEADER))
        return [
            IPv4Network(rule.peer)
            for group in groups
            if (tags_of(group).get(TAG_DEPLOYMENT), tags_of(group).get(TAG_RESOURCE)) == wanted
            for rule in rules.read(group)
            if rule.direction == "in" and rule.first <= port <= rule.last and "." in rule.peer
        ]


class Answer(Check):
    """The world's DNS answers with the leader's address."""

    name = "domain.answer"
    title = "DNS answers with the hub's address"
    stage: ClassVar[Stage] = Stage.AFTER

    def find(self) -> Iterable[Finding]:
        host = self.ctx.config.hub_host
        leader = next(iter(self.ctx.machines(Role.LEADER)), None)
        if host is None or leader is None or not leader.public_ip:
            return
        found = self.ctx.addresses(host)
        if not found:
            yield self.error(
                f"DNS knows no address of {host}",
                hint="hubdeploy doctor --only domain.zone; a new record takes a minute",
            )
        elif found != {leader.public_ip}:
            yield self.error(
                f"DNS answers {', '.join(sorted(found))} for {host}, the leader is "
                f"{leader.public_ip}",
                hint="`hubdeploy up` sets the record; old answers are kept for a minute",
            )


class Page(Check):
    """The hub's page can be opened from here, with a certificate that browsers trust."""

    name = "hub.url"
    title = "The hub answers from here"
    stage: ClassVar[Stage] = Stage.AFTER

    def find(self) -> Iterable[Finding]:
        url = self.ctx.status.url
        leader = self.ctx.facts.get(Role.LEADER, {})
        if leader.get("simulated"):
            return  # no hub runs there
        if not url:
            yield self.error("no hub has answered yet", hint="hubdeploy status; hubdeploy logs hub")
            return
        parts = urlsplit(url)
        page = f"{parts.scheme}://{parts.netloc}"
        trusted = self.ctx.has_trusted_certificate
        if not trusted:
            # one of its own that nobody vouches for is as configured
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        try:
            answer = requests.get(f"{page}/hub/health", timeout=TIMEOUT, verify=trusted)
        except requests.exceptions.SSLError as error:
            yield self.error(
                f"{page} has a certificate that is not trusted: {_reason(error)}",
                hint="hubdeploy doctor --only hub.certificate",
            )
        except requests.RequestException as error:
            yield self.error(
                f"{page} does not answer from here ({type(error).__name__})",
                hint="access.web_cidrs says who may open it; hubdeploy doctor --only access "
                "--only domain",
            )
        else:
            if not answer.ok:
                yield self.error(
                    f"{page} answers {answer.status_code}",
                    hint="hubdeploy logs nginx; hubdeploy logs hub",
                )


def _reason(error: Exception) -> str:
    """The innermost words: those around it repeat the address."""
    text = str(error)
    return text.rpartition("certificate verify failed: ")[2].partition(" (_ssl")[0][:120] or text


CHECKS: tuple[type[Check], ...] = (Access, Answer, Page)
