"""Checks of the machines from inside: what `hubdeploy-node doctor` says on each of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from hubdeploy.config.names import EFS_DIR, STATE_DIR, Role
from hubdeploy.doctor.check import Check, Stage
from hubdeploy.pipeline.step import Finding

DISK_WARNING, DISK_ERROR = 0.85, 0.95
MEMORY_WARNING = 0.05
"""Share of memory that should be available."""
CONVERGED_WITHIN = 3
"""Converges that may be missed before it is said."""
CERTIFICATE_WARNING, CERTIFICATE_ERROR = timedelta(days=20), timedelta(days=5)
"""Let's Encrypt renews at 30 days before the end: at 20 something is wrong."""


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
            at = _time(last.get("at"))
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


class Hub(Check):
    """Hub, proxy and certificate."""

    name = "hub.health"
    title = "The hub answers, its certificate is good"
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
        yield from self._certificate(leader.get("certificate"))

    def _certificate(self, certificate: dict[str, Any] | None) -> Iterable[Finding]:
        if not certificate:
            return
        ends = _time(certificate.get("not_after"))
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


def _time(text: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


CHECKS: tuple[type[Check], ...] = (Facts, Disks, Mounts, Units, Converges, Swarm, Servers, Hub)
