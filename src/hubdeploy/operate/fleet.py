"""A glance at the hub from outside: users, reservations, what waits; asked on the leader."""

from __future__ import annotations

import json
from dataclasses import dataclass

from hubdeploy.config.names import Role
from hubdeploy.operate.status import Status
from hubdeploy.remote.channel import Channel

FACTS = "/opt/hubdeploy/venv/bin/hubdeploy-node doctor"


@dataclass(frozen=True, kw_only=True)
class Glance:
    """Counts of users' servers: running, and waiting with the scheduler's words."""

    users: int
    waiting: tuple[str, ...]

    def lines(self) -> list[str]:
        return [
            f"users: {self.users} with a server, {len(self.waiting)} waiting",
            *(f"  waits: {words}" for words in self.waiting[:5]),
        ]


def glance(now: Status, channel: Channel) -> Glance | None:
    """None where the leader does not answer."""
    targets = [m.target for m in now.machines if m.role == Role.LEADER and m.state == "running"]
    for result in channel.run(targets[:1], FACTS, deadline=20):
        try:
            services = json.loads(result.stdout).get("services", []) if result.ok else None
        except ValueError:
            services = None
        if services is None:
            return None
        return summarised(services)
    return None


def summarised(services: list[dict[str, object]]) -> Glance:
    """From the leader's facts: one entry a service, with its tasks."""
    waiting: list[str] = []
    users = set()
    for service in services:
        user = service.get("user")
        tasks = service.get("tasks")
        if not user or not isinstance(tasks, list):
            continue
        users.add(user)
        waiting += [
            f"{user}: {task.get('error') or 'being placed'}"
            for task in tasks
            if task.get("state") in ("new", "pending")
        ]
    return Glance(users=len(users), waiting=tuple(waiting))
