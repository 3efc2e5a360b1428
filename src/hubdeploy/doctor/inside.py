"""Checks of the machines from inside: what `hubdeploy-node doctor` says on each of them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from hubdeploy.config.names import EFS_DIR, STATE_DIR, Role
from hubdeploy.doctor.check import Check, Stage
from hubdeploy.pipeline.step import Finding
from hubdeploy.remote.ssm import one

DISK_WARNING, DISK_ERROR = 0.85, 0.95
MEMORY_WARNING = 0.05
"""Share of memory that should be available."""
CONVERGED_WITHIN = 3
"""Converges that may be missed before it is said."""


class Facts(Check):
    """Every machine that is ready tells how it is: of one that does not, nothing else is known."""

    name = "machines.facts"
    title = "Machines tell how they are"
    stage: ClassVar[Stage] = Stage.AFTER

    def find(self) -> Iterable[Finding]:
        facts = self.ctx.facts
        for machine in self.ctx.machines():
            if machine.phase == "ready" and machine.label not in facts:
                yield self.warning(
                    f"{machine.label} does not tell how it is, so it was not looked at",
                    hint=f"hubdeploy run --on {machine.label} 'hubdeploy-node doctor'",
                    subject=machine.label,
                )
        for label, said in facts.items():
            for part, problem in (said.get("problems") or {}).items():
                yield self.warning(f"{label}: {part} cannot be told: {problem}", subject=label)
            if said.get("reboot_wanted"):
                yield self.warning(
                    f"{label}: updates wait for a reboot",
                    hint="the leader: when nobody minds a minute without the hub; workers are "
                    "best drained on the fleet page",
                    subject=label,
                )


class Disks(Check):
    """No machine's disk is nearly full."""

    name = "machines.disk"
    title = "Disks and memory have room"
    stage: ClassVar[Stage] = Stage.AFTER

    def find(self) -> Iterable[Finding]:
        for label, facts in self.ctx.facts.items():
            for place, disk in facts.get("disks", {}).items():
                if place == EFS_DIR or not disk:
                    continue
                share = disk["used"] / disk["size"]
                if share > DISK_WARNING:
                    make = self.error if share > DISK_ERROR else self.warning
                    yield make(
                        f"{label}: {place} is {share:.0%} full",
                        hint=f"hubdeploy run --on {label} 'docker image prune -f'"
                        if place == "/"
                        else "raise leader.state_disk",
                        subject=label,
                    )
            memory = facts.get("memory", {})
            if memory.get("total") and memory["available"] / memory["total"] < MEMORY_WARNING:
                yield self.warning(
                    f"{label}: only {memory['available'] >> 20} MiB of memory are available",
                    subject=label,
                )


class Mounts(Check):
    """The users' files are mounted wherever notebooks run."""

    name = "efs.mounts"
    title = "The file system is mounted"
    stage: ClassVar[Stage] = Stage.AFTER

    def find(self) -> Iterable[Finding]:
        for label, facts in self.ctx.facts.items():
            mounts = facts.get("mounts", {})
            for place in (EFS_DIR, STATE_DIR):
                if mounts.get(place) is False:
                    yield self.error(
                        f"{label}: {place} is not mounted",
                        hint=f"hubdeploy run --on {label} 'mount {place}'",
                        subject=label,
                    )


class Units(Check):
    """Every unit that belongs on a machine runs there."""

    name = "machines.units"
    title = "Services run"
    stage: ClassVar[Stage] = Stage.AFTER

    def find(self) -> Iterable[Finding]:
        for label, facts in self.ctx.facts.items():
            for unit, state in facts.get("units", {}).items():
                if state not in ("active", "activating"):
                    yield self.error(
                        f"{label}: {unit} is {state}",
                        hint=f"hubdeploy run --on {label} 'journalctl -u {unit} -n 50'",
                        subject=label,
                    )

    def repair(self) -> str:
        """Start again what failed; what was stopped on purpose stays so."""
        machines = {machine.label: machine.target for machine in self.ctx.machines()}
        begun: list[str] = []
        for label, facts in self.ctx.facts.items():
            failed = [unit for unit, state in facts.get("units", {}).items() if state == "failed"]
            if failed and label in machines:
                words = shlex.join(failed)
                one(
                    self.ctx.channel.run(
                        [machines[label]],
                        f"systemctl reset-failed {words}; systemctl restart {words}",
                        deadline=60,
                    )
                )
                begun += [f"{label}: {unit}" for unit in failed]
        self.ctx.forget_facts()
        return f"started again: {', '.join(begun)}" if begun else "nothing: none has failed"


class Converges(Check):
    """The last converge of every machine succeeded and is not long ago."""

    name = "chef.converge"
    title = "Machines converge"
    stage: ClassVar[Stage] = Stage.AFTER

    def find(self) -> Iterable[Finding]:
        every = timedelta(seconds=self.ctx.config.chef.converge_every)
        for label, facts in self.ctx.facts.items():
            last = facts.get("converge")
            if not last:
                continue
            if not last.get("ok"):
                yield self.error(
                    f"{label}: the last converge failed: {last.get('error', '')}",
                    hint=f"hubdeploy logs converge --on {label}",
                    subject=label,
                )
            at = moment(last.get("at"))
            if at and datetime.now(UTC) - at > CONVERGED_WITHIN * every + timedelta(minutes=10):
                yield self.warning(
                    f"{label}: last converged at {at:%Y-%m-%d %H:%M}",
                    hint=f"hubdeploy run --on {label} 'systemctl status hubdeploy-converge.timer'",
                    subject=label,
                )


class Swarm(Check):
    """The swarm's nodes are the group's instances: none missing, none down, all labelled."""

    name = "swarm.nodes"
    title = "Swarm and group agree"
    stage: ClassVar[Stage] = Stage.AFTER

    def find(self) -> Iterable[Finding]:
        leader = self.ctx.facts.get(Role.LEADER)
        if leader is None or "nodes" not in leader:
            return
        nodes = [node for node in leader["nodes"] if node.get("role") == "worker"]
        known = {node.get("instance") for node in nodes}
        workers = {m.instance_id: m for m in self.ctx.machines(Role.WORKER)}
        for instance, machine in workers.items():
            if instance not in known and machine.phase == "ready":
                yield self.error(
                    f"{machine.label} is ready but not in the swarm",
                    hint=f"hubdeploy logs swarm --on {machine.label}",
                    subject=machine.label,
                )
        for node in nodes:
            if not node.get("instance"):
                yield self.warning(
                    f"swarm node {node.get('hostname')} has no instance label",
                    hint="the fleet labels it once its machine is ready",
                )
            elif node["instance"] not in workers:
                yield self.warning(
                    f"swarm node {node.get('hostname')} ({node.get('state')}) has no instance",
                    hint="--fix removes it",
                )
            elif (
                node.get("availability") == "drain"
                and workers[node["instance"]].phase == "ready"
                and node.get("state") == "ready"
            ):
                yield self.warning(
                    f"{workers[node['instance']].label} is drained: it takes no servers",
                    hint="the fleet page says why; it ends such machines when they are empty",
                )
            elif node.get("state") != "ready":
                yield self.error(
                    f"{workers[node['instance']].label} is {node.get('state')} in the swarm",
                    hint=f"hubdeploy logs docker --on {workers[node['instance']].label}",
                )

    def repair(self) -> str:
        """Remove nodes that are down and whose instance is gone."""
        leader = self.ctx.facts.get(Role.LEADER, {})
        workers = {m.instance_id for m in self.ctx.machines(Role.WORKER)}
        gone = [
            str(node["id"])
            for node in leader.get("nodes", [])
            if node.get("role") == "worker"
            and node.get("state") == "down"
            and node.get("instance")
            and node["instance"] not in workers
        ]
        if not gone:
            return "nothing that is safe to remove"
        self.ctx.on_leader("docker node rm --force " + " ".join(gone))
        self.ctx.forget_facts()
        return f"{len(gone)} nodes removed from the swarm"


class Servers(Check):
    """No server waits without end, none is left without its user."""

    name = "hub.servers"
    title = "Users' servers run"
    stage: ClassVar[Stage] = Stage.AFTER

    def find(self) -> Iterable[Finding]:
        leader = self.ctx.facts.get(Role.LEADER, {})
        for service in leader.get("services", []):
            tasks = service.get("tasks", [])
            if not service.get("name"):
                yield self.warning(
                    f"{len(tasks)} tasks run in the swarm whose service is gone",
                    hint="docker on their machines: hubdeploy logs docker",
                )
                continue
            if not service.get("user"):
                yield self.warning(f"swarm service {service.get('name')} belongs to no user")
                continue
            for task in tasks:
                # one that stays new has no address left (moby/moby#37338)
                if task.get("state") in ("pending", "new"):
                    yield self.warning(
                        f"the server of {service['user']} waits: {task.get('error') or 'no room'}",
                        hint="the fleet page and `hubdeploy logs fleet` say what it does about it",
                    )
            if tasks and all(t.get("state") in ("failed", "rejected") for t in tasks):
                yield self.error(
                    f"the server of {service['user']} cannot start: {tasks[-1].get('error')}",
                    hint=f"hubdeploy logs user/{service['user']}",
                )


def moment(text: object) -> datetime | None:
    """ISO 8601, in UTC unless it says otherwise; None for anything else."""
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


CHECKS: tuple[type[Check], ...] = (Facts, Disks, Mounts, Units, Converges, Swarm, Servers)
