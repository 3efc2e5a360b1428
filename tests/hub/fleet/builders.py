"""Short ways to say what the fleet sees."""

from __future__ import annotations

from typing import Any

from hubdeploy.hub.fleet.model import Group, Life, Observation, Pending, Worker

GIB = 1 << 30
CORE = 10**9
NOW = 1_000_000.0


def worker(name: str = "i-1", life: Life = Life.ACTIVE, *, used: int = 0, **more: Any) -> Worker:
    """A machine of 16 GiB and 8 cores with *used* users of 2 GiB and half a core on it."""
    values: dict[str, Any] = {
        "instance": name,
        "node": "" if life is Life.BOOTING else f"node-{name}",
        "group": "workers",
        "instance_type": "m6i.xlarge",
        "launched": NOW - 3600,
        "life": life,
        "memory": 16 * GIB,
        "cpu": 8 * CORE,
        "memory_reserved": used * 2 * GIB,
        "cpu_reserved": used * CORE // 2,
        "users": tuple(f"{name}-user-{number}" for number in range(used)),
        "protected": True,
    }
    return Worker(**(values | more))


def pending(count: int = 1, *, memory: int = 2, since: float = NOW - 60) -> tuple[Pending, ...]:
    return tuple(
        Pending(user=f"waits-{n}", memory=memory * GIB, cpu=CORE // 2, since=since)
        for n in range(count)
    )


def group(desired: int, **more: Any) -> Group:
    values: dict[str, Any] = {
        "name": "workers",
        "desired": desired,
        "max_size": 100,
        "instance_type": "m6i.xlarge",
        "memory": 16 * GIB,
        "cpu": 8 * CORE,
    }
    return Group(**(values | more))


def seen(*workers: Worker, desired: int | None = None, **more: Any) -> Observation:
    """*workers* in a group that wants exactly these, places short for a minute already."""
    there = sum(w.life is not Life.ENDING and w.in_group for w in workers)
    values: dict[str, Any] = {
        "now": NOW,
        "workers": workers,
        "groups": (group(there if desired is None else desired),),
        "active_users": sum(len(w.users) for w in workers),
        "short_since": NOW - 60,
    }
    return Observation(**(values | more))
