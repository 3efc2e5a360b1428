"""Fewer machines: which are surplus, and which are above a lowered limit.

Pure; part of :func:`hubdeploy.hub.fleet.decide.decide`. Nothing is ended here: a worker is only
cordoned, the steps after that are :mod:`hubdeploy.hub.fleet.retire`'s.
"""

from __future__ import annotations

from collections.abc import Iterator

from hubdeploy.config.limits import Limits
from hubdeploy.hub.fleet.capacity import Bin, Supply, room_for_more, slots, wanted_headroom
from hubdeploy.hub.fleet.model import (
    Action,
    Cordon,
    Life,
    Observation,
    Policy,
    SetDesired,
    Why,
)
from hubdeploy.hub.fleet.retire import Lives, in_use

LEAVING = (Life.CORDONED, Life.DRAINING, Life.DOWN)


def shrink(
    observation: Observation, limits: Limits, policy: Policy, have: Supply, lives: Lives
) -> Iterator[Action]:
    """Cordon workers that have been empty for long and are not needed: of the type least preferred
    first, and of one type the oldest launch."""
    keep = wanted_headroom(observation, limits, len(observation.pending)) + policy.spare_slots
    free = have.free_up
    yield from _shrink_missing(observation, limits, have, lives, free - keep, policy)
    idle = [
        item
        for item in have.up
        if item.worker is not None
        and not item.taken
        and item.worker.empty_since is not None
        and observation.now - item.worker.empty_since >= limits.idle_after
        and not in_use(item.worker)
        and item.worker.instance
        and item.worker.in_group
        and not item.worker.outdated
    ]
    nodes = sum(not item.for_profiles for item in have.up)
    preferred = {g.instance_type: place for place, g in enumerate(observation.groups)}
    idle.sort(key=lambda i: (-preferred.get(i.instance_type, len(preferred)), _launch_order(i)))
    for item in idle:
        worker = item.worker
        if worker is None:
            continue
        idle_for = observation.now - (worker.empty_since or observation.now)
        reason = f"empty for {idle_for / 60:.0f} minutes"
        # one that is kept for profiles is no headroom, and none of those that always run
        if not item.for_profiles:
            gone = item.slots(policy)
            # a fleet that keeps no headroom may go down to nothing
            if nodes <= limits.min_nodes or free - gone < (keep if limits.headroom else 0):
                continue
            free -= gone
            nodes -= 1
            reason += f", {free} free places remain without it"
        yield Cordon(
            reason=reason,
            instance=worker.instance,
            node=worker.node,
            why=Why.SURPLUS,
        )


def _launch_order(item: Bin) -> tuple[float, str]:
    worker = item.worker
    return (worker.launched, worker.instance) if worker else (0.0, "")


def _shrink_missing(
    observation: Observation,
    limits: Limits,
    have: Supply,
    lives: Lives,
    spare: int,
    policy: Policy,
) -> Iterator[Action]:
    """Take back what was asked for and has not been launched, when it is not needed any more."""
    free = spare + have.free_coming
    nodes = sum(not item.for_profiles for item in (*have.up, *have.coming))
    # what is least preferred first
    for group in reversed(observation.groups):
        if not group.starts:
            continue
        per_machine = max(1, slots(group.memory, group.cpu, policy))
        missing = have.missing.get(group.name, 0)
        laid_in = sum(
            item.taken
            for item in have.coming
            if item.worker is None and item.instance_type == group.instance_type
        )
        count = missing - laid_in
        if group.general:
            count = min(count, max(0, free) // per_machine, max(0, nodes - limits.min_nodes))
        if count <= 0:
            continue
        if group.general:
            free -= count * per_machine
            nodes -= count
        lives.desired[group.name] -= count
        yield SetDesired(
            reason=f"{count} machines that were asked for are not needed any more",
            group=group.name,
            desired=lives.desired[group.name],
            before=group.desired,
        )


def close_outdated(
    observation: Observation, limits: Limits, have: Supply, actions: list[Action]
) -> Iterator[Action]:
    """Let machines of an older launch template run empty, while newer ones have the places.

    One in use is closed only while there is room elsewhere; an empty one also when no machine may
    be started beside it, since ending it is then what makes room for its replacement.
    """
    touched = {getattr(action, "instance", "") for action in actions}
    wanted = wanted_headroom(observation, limits, len(observation.pending))
    room = room_for_more(observation, have, limits)
    for item in sorted(have.up, key=_launch_order):
        worker = item.worker
        if worker is None or not worker.outdated or not worker.in_group or item.taken:
            continue
        if worker.instance in touched:
            continue
        if in_use(worker):
            close = have.free_up >= max(1, wanted)
        else:
            close = have.free_up >= wanted or not room
        if close:
            yield Cordon(
                reason="a newer kind of machine replaces it",
                instance=worker.instance,
                node=worker.node,
                why=Why.OUTDATED,
            )


def over_limit(
    observation: Observation, limits: Limits, have: Supply, actions: list[Action]
) -> Iterator[Action]:
    """After a limit was lowered: let the least used workers run empty."""
    most_memory = limits.max_cluster_memory or have.memory
    if have.nodes <= limits.max_nodes and have.memory <= most_memory:
        return
    cordoned = {action.instance for action in actions if isinstance(action, Cordon)}
    stay, nodes, memory = [], have.nodes, have.memory
    for worker in observation.workers:
        if not worker.instance or worker.life is Life.ENDING:
            continue
        leaves = worker.life in LEAVING or worker.spot_notice or worker.instance in cordoned
        if leaves:
            nodes -= 1
            memory -= worker.memory
        elif worker.life is Life.ACTIVE:
            stay.append(worker)
    for worker in sorted(stay, key=lambda w: (len(w.users), w.launched, w.instance)):
        over_nodes = nodes > limits.max_nodes
        if not over_nodes and memory <= most_memory:
            return
        nodes -= 1
        memory -= worker.memory
        limit = "max_nodes" if over_nodes else "max_cluster_memory"
        yield Cordon(
            reason=f"the fleet is above {limit}; it ends when its last server has stopped",
            instance=worker.instance,
            node=worker.node,
            why=Why.LIMIT,
        )
