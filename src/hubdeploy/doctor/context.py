"""What checks look at: the configuration, the account, what stands, facts from the machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hubdeploy.aws.inventory import Inventory
from hubdeploy.aws.session import Aws
from hubdeploy.aws.types import InstanceSize, sizes
from hubdeploy.config.model import Config
from hubdeploy.config.names import Names, Role
from hubdeploy.errors import RemoteError
from hubdeploy.operate.status import Machine, Status, read
from hubdeploy.remote.channel import Channel

if TYPE_CHECKING:
    from hubdeploy.pipeline.step import Context, Finding

FACTS = "/opt/hubdeploy/venv/bin/hubdeploy-node doctor"
"""Prints one JSON object of facts about the machine, see :mod:`hubdeploy.node`."""


@dataclass(kw_only=True)
class DoctorContext:
    """Shared by all checks of one run; what is read once is kept."""

    config: Config
    names: Names
    aws: Aws
    channel: Channel
    sandbox: bool = False
    offline: bool = False
    """AWS takes no credentials of ours: what it would tell is not known."""
    resolver: tuple[str, int] | None = None
    """Address and port of the DNS server to ask, if not the system's."""
    publisher: str = ""
    """Where Chef's packages are asked for, if not at their publisher's."""
    address_service: str = "https://checkip.amazonaws.com"
    """Answers with the caller's public address, as text."""

    @cached_property
    def inventory(self) -> Inventory:
        return Inventory(aws=self.aws, names=self.names)

    @property
    def status(self) -> Status:
        """Machines, group, limits, address."""
        return self.inventory.once("status", lambda: read(aws=self.aws, names=self.names))

    def instance_types(self, kinds: Sequence[str]) -> dict[str, InstanceSize]:
        """Sizes of the types that EC2 knows among ``kinds``; one read for each set of them."""
        wanted = sorted(set(kinds))
        return self.inventory.once(f"types {wanted}", lambda: sizes(wanted, aws=self.aws))

    @property
    def has_trusted_certificate(self) -> bool:
        """Whether the hub's certificate is to be one that everybody trusts."""
        tls = self.config.tls
        return self.config.domain is not None and tls.kind != "self-signed" and not tls.staging

    def name_servers(self, domain: str) -> set[str]:
        """The name servers of a domain as this machine's resolver sees them, or none."""
        return {name.rstrip(".").lower() for name in self._resolve(domain, "NS")}

    def addresses(self, host: str) -> set[str]:
        """The IPv4 addresses of a name as this machine's resolver sees them, or none."""
        return self._resolve(host, "A")

    def _resolve(self, name: str, kind: str) -> set[str]:
        import dns.exception
        import dns.resolver

        resolver = dns.resolver.Resolver()
        if self.resolver is not None:
            resolver.nameservers, resolver.port = [self.resolver[0]], self.resolver[1]
        try:
            return {item.to_text() for item in resolver.resolve(name, kind, lifetime=8)}
        except dns.exception.DNSException:
            return set()

    def machines(self, role: str | None = None) -> list[Machine]:
        """Those that run, of one role or all."""
        return [
            m
            for m in self.status.machines
            if m.state == "running" and (role is None or m.role == role)
        ]

    @property
    def facts(self) -> dict[str, dict[str, Any]]:
        """What each reachable machine says of itself, by label; asked once for all checks."""
        return self.inventory.once("facts", self._ask)

    def forget_facts(self) -> None:
        """Ask the machines again: something on them was just changed."""
        self.inventory.forget("facts")

    def on_leader(self, command: str, *, deadline: float = 60) -> str:
        """What a command on the leader prints; :class:`RemoteError` if it fails."""
        from hubdeploy.remote.ssm import one

        targets = [m.target for m in self.machines(Role.LEADER)]
        if not targets:
            raise RemoteError("no leader is running", hint="`hubdeploy up` makes one")
        return one(self.channel.run(targets[:1], command, deadline=deadline)).stdout

    def planning(self) -> Context:
        """For the pipeline's steps: they read, and carry nothing out."""
        return self.steps(planning=True)

    def steps(self, *, planning: bool) -> Context:
        """What the steps of one run share; nothing is remembered from an earlier look."""
        from hubdeploy.pipeline.step import Context

        return Context(
            config=self.config,
            names=self.names,
            aws=self.aws,
            inventory=Inventory(aws=self.aws, names=self.names),
            planning=planning,
        )

    def health(self) -> list[Finding]:
        """What the pipeline's steps say of their parts."""
        from hubdeploy.pipeline import runner
        from hubdeploy.steps import all_steps

        return runner.health(all_steps(self.planning()))

    def _ask(self) -> dict[str, dict[str, Any]]:
        targets = [m.target for m in self.machines()]
        found: dict[str, dict[str, Any]] = {}
        for result in self.channel.run(targets, FACTS, deadline=30):
            try:
                value = json.loads(result.stdout) if result.ok else None
            except ValueError:
                value = None
            if isinstance(value, dict):
                found[result.target.label] = value
        return found
