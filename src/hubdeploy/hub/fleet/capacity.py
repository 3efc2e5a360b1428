"""How many machines are missing, or not needed: the arithmetic of places.

Pure. A *bin* is a machine with what is still free on it. Waiting servers are laid into bins the
way the spawner lays them (best fit), first into machines that are up, then into those on their way;
what is left over has to be started.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from hubdeploy.config.limits import Limits
from hubdeploy.hub.fleet.model import Group, Life, Observation, Pending, Policy, Worker

COMING = (Life.BOOTING, Life.JOINING)


@dataclass(slots=True)
class Bin:
    """Free memory and CPU of one machine; ``worker`` is None for one not yet launched."""

    memory: int
    cpu: int
    instance_type: str
    worker: Worker | None = None
    taken: bool = False
    for_profiles: bool = False

    def fits(self, request: Pending) -> bool:
        """Whether there is room, and it is a machine of the right kind."""
        if self.memory < request.memory or self.cpu < request.cpu:
            return False
        wanted = request.instance_type
        return self.instance_type == wanted if wanted else not self.for_profiles

    def take(self, request: Pending) -> None:
        self.memory -= request.memory
        self.cpu -= request.cpu
        self.taken = True

    def slots(self, policy: Policy) -> int:
        """How many usual users still fit."""
        return slots(self.memory, self.cpu, policy)


def slots(memory: int, cpu: int, policy: Policy) -> int:
    count = memory // policy.slot_memory if policy.slot_memory else 0
    if policy.slot_cpu:
        count = min(count, cpu // policy.slot_cpu)
    return max(0, count)


@dataclass(slots=True)
class Supply:
    """All that can take servers, now or soon, after the waiting ones have been laid in.

    ``missing`` counts, by group, instances that were asked for and not launched yet;
    ``uncovered`` are the waiting servers that found no place, oldest first; ``displaced`` those
    that run on machines which AWS takes back, as far as they find none; ``refused`` those beyond
    the limit of users, for whom nothing is started.
    """

    up: list[Bin] = field(default_factory=list)
    coming: list[Bin] = field(default_factory=list)
    missing: dict[str, int] = field(default_factory=dict)
    uncovered: list[Pending] = field(default_factory=list)
    displaced: list[Pending] = field(default_factory=list)
    refused: list[Pending] = field(default_factory=list)
    nodes: int = 0
    memory: int = 0
    """Nodes and their memory against the limits: all that exist and those asked for."""
    free_up: int = 0
    free_coming: int = 0
    free_outdated: int = 0
    """Free slots left, of the usual user's size, on machines that are for everybody; ``free_up``
    is without the outdated machines'."""


def given_up(worker: Worker, observation: Observation, limits: Limits) -> bool:
    """A machine on its way that failed by its own word, or has taken too long."""
    if worker.life not in COMING:
        return False
    return bool(worker.trouble) or observation.now - worker.launched >= limits.join_deadline


def supply(observation: Observation, limits: Limits, policy: Policy) -> Supply:
    """Bins and sums of *observation*, with the pending servers laid in."""
    result = Supply()
    groups = {group.name: group for group in observation.groups}
    kept = kept_types(observation)
    live = dict.fromkeys(groups, 0)
    up, coming = result.up, result.coming
    for worker in observation.workers:
        life = worker.life
        if life is Life.ENDING:
            continue
        group = groups.get(worker.group)
        size = worker.memory or (group.memory if group else 0)
        if worker.instance:
            result.nodes += 1
            result.memory += size
            if worker.in_group and group:
                live[group.name] += 1
        if worker.spot_notice:
            continue
        if life is Life.ACTIVE:
            up.append(
                Bin(
                    worker.memory - worker.memory_reserved,
                    worker.cpu - worker.cpu_reserved,
                    worker.instance_type,
                    worker,
                    for_profiles=worker.instance_type in kept,
                )
            )
        elif life in COMING and not given_up(worker, observation, limits):
            cpu = worker.cpu or (group.cpu if group else 0)
            kind = worker.instance_type
            coming.append(Bin(size, cpu, kind, worker, for_profiles=kind in kept))
    for group in observation.groups:
        missing = max(0, group.desired - live[group.name])
        result.missing[group.name] = missing
        result.nodes += missing
        result.memory += missing * group.memory
        if group.starts:
            coming.extend(new_bin(group) for _ in range(missing))
    _lay_in(result, observation, limits)
    for item in up:
        free = 0 if item.for_profiles else item.slots(policy)
        if item.worker is not None and item.worker.outdated:
            result.free_outdated += free
        else:
            result.free_up += free
    result.free_coming = sum(item.slots(policy) for item in coming if not item.for_profiles)
    return result


def kept_types(observation: Observation) -> frozenset[str]:
    """Types whose machines are for the servers alone that name them."""
    return frozenset(g.instance_type for g in observation.groups if g.for_profiles)


def new_bin(group: Group) -> Bin:
    return Bin(group.memory, group.cpu, group.instance_type, for_profiles=group.for_profiles)


def _lay_in(result: Supply, observation: Observation, limits: Limits) -> None:
    allowed = len(observation.pending)
    if limits.max_concurrent_users:
        allowed = max(0, limits.max_concurrent_users - observation.active_users)
    result.refused.extend(observation.pending[allowed:])
    for request in observation.pending[:allowed]:
        if not _place(result, request):
            result.uncovered.append(request)
    kept = kept_types(observation)
    result.displaced.extend(r for r in _displaced(observation, kept) if not _place(result, r))


def _place(result: Supply, request: Pending) -> bool:
    target = best(result.up, request) or best(result.coming, request)
    if target is not None:
        target.take(request)
    return target is not None


def _displaced(observation: Observation, kept: frozenset[str]) -> Iterator[Pending]:
    """Servers on machines that AWS takes back: each will want another place within minutes."""
    for worker in observation.workers:
        if worker.spot_notice and worker.users and worker.life is not Life.ENDING:
            count = len(worker.users)
            for user in worker.users:
                yield Pending(
                    user=user,
                    memory=worker.memory_reserved // count,
                    cpu=worker.cpu_reserved // count,
                    instance_type=worker.instance_type if worker.instance_type in kept else "",
                    since=0.0,
                )


def best(bins: Iterable[Bin], request: Pending) -> Bin | None:
    """Fullest bin with room: least memory left."""
    found: Bin | None = None
    for item in bins:
        if item.fits(request) and (found is None or item.memory < found.memory):
            found = item
    return found


def wanted_headroom(observation: Observation, limits: Limits, waiting: int) -> int:
    """Free slots to keep: headroom, but no more than people who may still come."""
    if not limits.max_concurrent_users:
        return limits.headroom
    left = limits.max_concurrent_users - observation.active_users - waiting
    return max(0, min(limits.headroom, left))


def allowed_machines(group: Group, have: Supply, limits: Limits) -> tuple[int, str]:
    """How many more of *group* the limits let be started, and the limit that binds first."""
    nodes = max(0, limits.max_nodes - have.nodes)
    if limits.max_cluster_memory and group.memory:
        by_memory = max(0, (limits.max_cluster_memory - have.memory) // group.memory)
        if by_memory < nodes:
            return by_memory, "max_cluster_memory"
    return nodes, "max_nodes"


def room_for_more(observation: Observation, have: Supply, limits: Limits) -> bool:
    """Whether the limits let any machine for everybody be started."""
    return any(
        allowed_machines(group, have, limits)[0]
        for group in observation.groups
        if group.general and group.starts
    )
