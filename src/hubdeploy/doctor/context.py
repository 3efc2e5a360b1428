"""What checks look at: the configuration, the account, what stands, facts from the machines."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hubdeploy.aws.inventory import Inventory
from hubdeploy.aws.session import Aws
from hubdeploy.config.model import Config
from hubdeploy.config.names import Names
from hubdeploy.operate.status import Machine, Status, read
from hubdeploy.remote.channel import Channel

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

    @cached_property
    def inventory(self) -> Inventory:
        return Inventory(aws=self.aws, names=self.names)

    @property
    def status(self) -> Status:
        """Machines, group, limits, address."""
        return self.inventory.once("status", lambda: read(aws=self.aws, names=self.names))

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
