"""May this server start, and what will it wait for? Pure; the spawner asks before each start."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from hubdeploy.config.limits import Limits
from hubdeploy.hub.fleet.capacity import COMING, best, given_up, supply
from hubdeploy.hub.fleet.choice import plan
from hubdeploy.hub.fleet.model import (
    Action,
    Alarm,
    Observation,
    Pending,
    Policy,
    RefuseNewServers,
)

WORDS = {
    "max_disk_utilization": "The shared disk is full ({reason}). Ask your admin.",
    "max_concurrent_users": "All places are taken ({reason}). Try again later.",
    "max_nodes": "All machines are full and no more may be started. Try again later.",
    "max_cluster_memory": "All memory is taken and no more may be started. Try again later.",
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """``waiting_for``: ``machine``, ``limit`` or empty; ``eta``: seconds, or None if unknown."""

    allowed: bool
    reason: str = ""
    waiting_for: str = ""
    eta: float | None = None


def admit(
    request: Pending,
    seen: Observation,
    limits: Limits,
    policy: Policy,
    *,
    decided: tuple[Action, ...] = (),
    has_server: bool = False,
    let_in: Collection[str] = (),
    boot_seconds: float = 150.0,
) -> Answer:
    """The answer for *request* (its ``since`` is now). ``decided``: the newest decision;
    ``has_server``: this user has one already, so that the limit of users does not count again;
    ``let_in``: who was let in since *seen*, lest a burst between two looks overrun that limit;
    ``boot_seconds``: launch to ready, as lately measured."""
    for action in decided:
        if not isinstance(action, RefuseNewServers):
            continue
        if action.limit == "max_concurrent_users" and has_server:
            continue
        if action.limit in ("max_disk_utilization", "max_concurrent_users"):
            return _refused(action)
    people = _people(request.user, seen, let_in)
    if limits.max_concurrent_users and not has_server and people >= limits.max_concurrent_users:
        words = f"{people} people have servers, the limit is {limits.max_concurrent_users}"
        return _refused(RefuseNewServers(reason=words, limit="max_concurrent_users"))
    have = supply(seen, limits, policy)
    if best(have.up, request) is not None:
        return Answer(allowed=True)
    if best(have.coming, request) is not None:
        return Answer(
            allowed=True,
            reason="A machine is starting",
            waiting_for="machine",
            eta=_next_ready(seen, limits, boot_seconds),
        )
    found = plan([request], seen.groups, have, limits)
    if found.hopeless:
        return Answer(
            allowed=False,
            reason="No machine that can be started here has room for a server of this size.",
            waiting_for="limit",
        )
    if found.blocked:
        # it may wait: places come free when others stop, but it is told what for
        return Answer(
            allowed=False,
            reason=WORDS[found.limit].format(reason=""),
            waiting_for="limit",
        )
    if found.waiting:
        return Answer(
            allowed=True,
            reason="AWS has no machine of this kind to give at the moment; it is asked again "
            "every few minutes",
            waiting_for="machine",
        )
    for action in decided:
        if isinstance(action, Alarm) and action.code in ("launches-fail", "launch-error"):
            return Answer(
                allowed=True,
                reason="Machines fail to start at the moment; an admin has been told",
                waiting_for="machine",
            )
    return Answer(
        allowed=True,
        reason="All machines are full; another one is started",
        waiting_for="machine",
        eta=boot_seconds + policy.settle,
    )


def _people(user: str, seen: Observation, let_in: Collection[str]) -> int:
    """How many besides *user* have a server or wait for one."""
    waiting = {pending.user for pending in seen.pending}
    known = waiting.union(*(worker.users for worker in seen.workers))
    return seen.active_users + len(waiting - {user}) + len(set(let_in) - known - {user})


def _refused(action: RefuseNewServers) -> Answer:
    words = WORDS[action.limit].format(reason=action.reason)
    return Answer(allowed=False, reason=words, waiting_for="limit")


def _next_ready(seen: Observation, limits: Limits, boot_seconds: float) -> float:
    """Until the machine that was launched first is ready; a few seconds when it is overdue."""
    ages = [
        seen.now - worker.launched
        for worker in seen.workers
        if worker.life in COMING and not given_up(worker, seen, limits)
    ]
    return max(10.0, boot_seconds - max(ages, default=0.0))
