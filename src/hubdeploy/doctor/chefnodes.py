"""The Chef server's nodes against the machines there are; asked on the workstation."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, ClassVar

from hubdeploy.config.names import Role
from hubdeploy.doctor.check import Check, Stage
from hubdeploy.operate.status import Machine
from hubdeploy.pipeline.step import Finding
from hubdeploy.remote.ssm import one

AGENT = "/opt/hubdeploy/venv/bin/hubdeploy-node workstation"
REGISTER = "/opt/hubdeploy/venv/bin/hubdeploy-node register"
MISSED = 3
"""Converges that a node may miss before it is said."""


class ChefNodes(Check):
    """Every leader and worker is a node, checks in, and nothing else is one."""

    name = "chef.nodes"
    title = "Chef knows the machines, and only these"
    stage: ClassVar[Stage] = Stage.AFTER
    mending = 180.0

    def find(self) -> Iterable[Finding]:
        known = {node["instance"]: node for node in self._nodes()}
        machines = {m.instance_id: m for m in self._ready()}
        every = self.ctx.config.chef.converge_every
        for instance, machine in machines.items():
            node = known.get(instance)
            if node is None:
                yield self.error(
                    f"{machine.label} is no node of the Chef server",
                    hint="--fix registers it",
                    subject=machine.label,
                )
            elif node.get("checked_in"):
                ago = datetime.now(UTC).timestamp() - float(node["checked_in"])
                if ago > MISSED * every + 600:
                    yield self.warning(
                        f"{machine.label} last checked in {ago / 3600:.0f} h ago",
                        hint=f"hubdeploy logs converge --on {machine.label}",
                        subject=machine.label,
                    )
        for node in self._stale():
            yield self.warning(f"node {node['name']} has no machine", hint="--fix removes it")

    def repair(self) -> str:
        """Forget the nodes whose machine is gone, register the machines that are no node."""
        gone = [str(node["name"]) for node in self._stale()]
        for name in gone:
            self._ask(f"{AGENT} forget {shlex.quote(name)}")
        missing = self._missing()
        for machine in missing:
            one(self.ctx.channel.run([machine.target], REGISTER, deadline=120))
        self.ctx.inventory.forget("chef nodes")
        done = [f"{len(gone)} nodes forgotten"] if gone else []
        done += [f"{machine.label} registered" for machine in missing]
        return ", ".join(done) or "nothing that is safe to do"

    def _missing(self) -> list[Machine]:
        """Machines that should be nodes and are none."""
        known = {node["instance"] for node in self._nodes()}
        return [m for m in self._ready() if m.instance_id not in known]

    def _ready(self) -> list[Machine]:
        return [
            m
            for m in self.ctx.machines()
            if m.role in (Role.LEADER, Role.WORKER) and m.phase == "ready"
        ]

    def _stale(self) -> list[dict[str, Any]]:
        alive = {m.instance_id for m in self.ctx.status.machines}
        return [node for node in self._nodes() if node["instance"] not in alive]

    def _nodes(self) -> list[dict[str, Any]]:
        def ask() -> list[dict[str, Any]]:
            text = self._ask(f"{AGENT} nodes")
            found: list[dict[str, Any]] = json.loads(text or "[]")
            return found

        if not self.ctx.machines(Role.WORKSTATION):
            return []
        return self.ctx.inventory.once("chef nodes", ask)

    def _ask(self, command: str) -> str:
        targets = [m.target for m in self.ctx.machines(Role.WORKSTATION)][:1]
        return one(self.ctx.channel.run(targets, command, deadline=60)).stdout


CHECKS: tuple[type[Check], ...] = (ChefNodes,)
