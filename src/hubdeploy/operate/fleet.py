"""A glance at the hub from outside: users, memory, who waits, decisions; asked on the leader."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from hubdeploy.config.limits import parse_size, show_size
from hubdeploy.config.names import Role
from hubdeploy.operate.status import Status
from hubdeploy.remote.channel import Channel

COMMAND = "/opt/hubdeploy/venv/bin/hubdeploy-node doctor --fleet"
NEAR = 0.8
"""Share of a limit from which it is near."""


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What the fleet did or would have: ``at`` in seconds since 1970."""

    at: float
    kind: str
    subject: str
    reason: str
    ok: bool
    outcome: str

    @property
    def words(self) -> str:
        what = " ".join(part for part in (self.kind, self.subject) if part)
        failed = "" if self.ok else f" (failed: {self.outcome})"
        return f"{what}: {self.reason}{failed}" if self.reason else what + failed


@dataclass(frozen=True, kw_only=True)
class Glance:
    """Users' servers, who waits with the scheduler's words; memory and disk in bytes (0: unknown);
    decisions, newest first; what could not be told."""

    users: int = 0
    waiting: tuple[str, ...] = ()
    memory: int = 0
    reserved: int = 0
    disk: int = 0
    decisions: tuple[Decided, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Gauge:
    """How much of a limit is used; ``limit`` 0: there is none. Sizes in bytes."""

    name: str
    used: int
    limit: int
    size: bool = False

    @property
    def near(self) -> str:
        """``near``, ``at`` or nothing."""
        if not self.limit or self.used < NEAR * self.limit:
            return ""
        return "at" if self.used >= self.limit else "near"

    @property
    def words(self) -> str:
        def show(value: int) -> str:
            return show_size(value) if self.size else str(value)

        if not self.limit:
            return f"{show(self.used)}, no limit"
        warning = f" ({self.near} the limit)" if self.near else ""
        return f"{show(self.used)} of {show(self.limit)}{warning}"


def glance(now: Status, channel: Channel) -> Glance:
    """One command on the leader. What cannot be had is a glance that says why."""
    targets = [m.target for m in now.machines if m.role == Role.LEADER and m.state == "running"]
    if not targets:
        return Glance(problems=("no leader is running",))
    (result,) = channel.run(targets[:1], COMMAND, deadline=20)
    if not result.ok:
        said = (result.problem or result.stderr or result.stdout).strip().splitlines()
        return Glance(problems=(f"leader: {said[-1] if said else f'exit code {result.code}'}",))
    try:
        return parsed(json.loads(result.stdout))
    except (ValueError, KeyError, TypeError) as error:
        return Glance(problems=(f"leader: its answer cannot be read ({error})",))


def parsed(told: dict[str, Any]) -> Glance:
    """From what ``hubdeploy-node doctor --fleet`` prints."""
    return Glance(
        users=int(told.get("users", 0)),
        waiting=tuple(f"{w['user']}: {w['why']}" for w in told.get("waiting", [])),
        memory=int(told.get("memory", 0)),
        reserved=int(told.get("reserved", 0)),
        disk=int(told.get("disk", 0)),
        decisions=tuple(Decided(**row) for row in told.get("decisions", [])),
        problems=tuple(str(p) for p in told.get("problems", [])),
    )


def gauges(now: Status, seen: Glance | None) -> list[Gauge]:
    """The fleet's four limits; those that the leader tells only where it did."""

    def limit(name: str) -> int:
        return parse_size(now.limits.get(name) or 0, what=name)

    machines = now.group.in_service if now.group else 0
    found = [Gauge(name="machines", used=machines, limit=limit("max_nodes"))]
    if seen is None or seen.problems:
        return found
    people = seen.users
    return [
        *found,
        Gauge(name="memory", used=seen.memory, limit=limit("max_cluster_memory"), size=True),
        Gauge(name="users", used=people, limit=limit("max_concurrent_users")),
        Gauge(name="disk", used=seen.disk, limit=limit("max_disk_utilization"), size=True),
    ]
