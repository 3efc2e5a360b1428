"""From what AWS, the swarm and the memory say to one Observation. Pure.

A worker's node is found by the node label ``hubdeploy.instance``, which the fleet itself sets;
before that by its private address, as the swarm's manager sees it. What a node says of itself is
not believed: a machine that was taken over could claim to be another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from hubdeploy.config.names import FOR_PROFILES, LABEL_INSTANCE, RETIRED, Phase, by_preference
from hubdeploy.hub.fleet.cloud import GONE, CloudFacts, Instance, Member, RawGroup
from hubdeploy.hub.fleet.model import (
    LABEL_FLEET,
    Group,
    Life,
    Memory,
    Observation,
    Pending,
    Why,
    Worker,
)
from hubdeploy.hub.fleet.swarm import SwarmFacts
from hubdeploy.hub.placement import NodeView

STOPPED = frozenset({"stopping", "stopped"})
USABLE_SHARE = 0.94
"""Of a type's memory, what the operating system shows of it, until a real node has shown it."""

STRAY_GRACE = 300.0


@dataclass(frozen=True, kw_only=True)
class TypeSize:
    """What a new machine of a type will show, bytes and nano-CPUs."""

    memory: int
    cpu: int


def mark(why: Why, now: float) -> str:
    """Value of the node label ``hubdeploy.fleet``."""
    return f"{why}:{now:.0f}"


def read_mark(text: str) -> tuple[Why, float]:
    """Inverse of :func:`mark`; nonsense reads as 'not by the fleet'."""
    why, _, at = text.partition(":")
    try:
        return Why(why), float(at or 0)
    except ValueError:
        return Why.NONE, 0.0


def observation(
    now: float,
    cloud: CloudFacts,
    swarm: SwarmFacts,
    memory: Memory,
    *,
    sizes: Mapping[str, TypeSize],
    disk_used: int | None = None,
    asked: Sequence[Pending] = (),
) -> Observation:
    """``sizes``: by instance type; ``asked``: users whom the spawner asked about and who have no
    service yet."""
    by_node = _nodes_by_instance(cloud, swarm)
    used = {node.id for node in by_node.values()}
    workers = []
    members = {
        name: (group.name, member)
        for group in cloud.groups
        for name, member in group.members.items()
    }
    for instance in cloud.instances.values():
        node = by_node.get(instance.id)
        group, member = members.get(instance.id, ("", None))
        gone = instance.state in GONE
        if gone and node is None and instance.id in memory.chef_done:
            continue
        workers.append(_worker(now, instance, node, group, member, cloud, memory))
    seen = set(cloud.instances)
    for node in swarm.nodes:
        if node.id not in used:
            stray = _stray(now, node, swarm, memory)
            workers.append(stray)
            seen.add(stray.instance)
    workers += [
        Worker(instance=name, life=Life.ENDING, in_group=False)
        for name in memory.chef_left
        if name not in seen
    ]
    waiting = {pending.user for pending in swarm.pending}
    extra = [p for p in asked if p.user not in waiting and p.user not in swarm.people]
    return Observation(
        now=now,
        workers=tuple(workers),
        pending=tuple(sorted((*swarm.pending, *extra), key=lambda p: (p.since, p.user))),
        groups=tuple(
            _group(now, raw, cloud, swarm, sizes, memory)
            for raw in sorted(cloud.groups, key=lambda g: (by_preference(g.preference), g.name))
        ),
        active_users=len(swarm.people - {p.user for p in swarm.pending}),
        disk_used=disk_used,
        failures=memory.failures,
        last_failure=memory.last_failure,
        last_arrival=max([swarm.last_arrival, *(p.since for p in extra)]),
        short_since=memory.short_since,
    )


def _nodes_by_instance(cloud: CloudFacts, swarm: SwarmFacts) -> dict[str, NodeView]:
    # an ended instance's address may be another's by now: those alive come last and win
    by_state = sorted(cloud.instances.values(), key=lambda i: i.state not in GONE)
    alive = {i.address: i.id for i in by_state if i.address and i.state != "terminated"}
    found: dict[str, NodeView] = {}
    for node in swarm.nodes:
        instance = node.instance or alive.get(node.address, "")
        if instance not in cloud.instances:
            continue
        present = found.get(instance)
        # a machine that left and joined anew has two nodes for a while: the one that is up counts
        if present is None or (node.ready and not present.ready):
            found[instance] = node
    return found


def _worker(
    now: float,
    instance: Instance,
    node: NodeView | None,
    group: str,
    member: Member | None,
    cloud: CloudFacts,
    memory: Memory,
) -> Worker:
    said = cloud.phases.get(instance.id, {})
    phase, detail = str(said.get("phase", "")), str(said.get("detail", ""))
    life, why, marked = _life(instance, node, member)
    noticed = instance.id in cloud.noticed or (
        phase == Phase.DRAINING and detail.startswith("spot")
    )
    failed = phase == Phase.FAILED and life in (Life.BOOTING, Life.JOINING)
    return Worker(
        instance=instance.id,
        node=node.id if node else "",
        group=group,
        instance_type=instance.instance_type,
        zone=instance.zone,
        launched=instance.launched,
        life=life,
        why=why,
        marked_at=marked,
        memory=node.memory if node else 0,
        cpu=node.cpu if node else 0,
        memory_reserved=node.memory_reserved if node else 0,
        cpu_reserved=node.cpu_reserved if node else 0,
        users=node.users if node else (),
        empty_since=memory.empty_since.get(instance.id, now) if life is Life.ACTIVE else None,
        down_since=memory.down_since.get(instance.id, now) if life is Life.DOWN else None,
        spot_notice=noticed and life is not Life.ENDING,
        spot_until=_spot_until(detail) if noticed else 0.0,
        told=memory.told.get(instance.id, ()),
        protected=bool(member and member.protected),
        in_group=member is not None and not _leaving(member) and life is not Life.ENDING,
        ready=phase == Phase.READY,
        trouble=(detail or "it says that it failed") if failed else "",
        node_down=node is not None and not node.ready,
        outdated=_outdated(now, instance, group, cloud, memory),
    )


def _spot_until(detail: str) -> float:
    """When the machine ends, from its watcher's words (``spot: terminate at 2026-…Z``)."""
    try:
        return datetime.fromisoformat(detail.rpartition(" at ")[2]).timestamp()
    except ValueError:
        return 0.0


def _outdated(
    now: float, instance: Instance, group: str, cloud: CloudFacts, memory: Memory
) -> bool:
    """Whether it was launched before its group's template became what it is now.

    One that was launched later and still differs is let be: replacing it would never end.
    """
    raw = next((raw for raw in cloud.groups if raw.name == group), None)
    if raw is not None and raw.preference == RETIRED:
        return True
    wanted = raw.template if raw is not None else ""
    if not wanted or not instance.template or instance.template == wanted:
        return False
    return instance.launched < memory.templates.get(wanted, now)


def _leaving(member: Member) -> bool:
    return member.lifecycle.startswith(("Terminat", "Detach"))


def _life(
    instance: Instance, node: NodeView | None, member: Member | None
) -> tuple[Life, Why, float]:
    if instance.state in GONE or (member is not None and _leaving(member)):
        return Life.ENDING, Why.NONE, 0.0
    if node is None:
        return (Life.DOWN if instance.state in STOPPED else Life.BOOTING), Why.NONE, 0.0
    why, marked = read_mark(node.labels.get(LABEL_FLEET, ""))
    # only the fleet sets the node label, and only when the worker is let in
    admitted = bool(node.labels.get(LABEL_INSTANCE)) and (
        node.availability != "drain" or why is not Why.NONE or bool(node.launched)
    )
    if not node.ready:
        return (Life.DOWN if admitted else Life.JOINING), why, marked
    if node.availability == "active":
        return Life.ACTIVE, Why.NONE, 0.0
    if node.availability == "pause":
        return Life.CORDONED, why, marked
    if why is not Why.NONE:
        return Life.DRAINING, why, marked
    # drained by hand after it was let in: left alone until the same hand lets it in again
    return (Life.CORDONED if admitted else Life.JOINING), Why.NONE, 0.0


def _stray(now: float, node: NodeView, swarm: SwarmFacts, memory: Memory) -> Worker:
    """A node whose instance EC2 does not know (any more), or that belongs to none.

    EC2's list may lack an instance for a moment, so a node is given up only after a while.
    """
    down = swarm.node_states.get(node.id) == "down"
    if node.instance and down and now - memory.down_since.get(node.id, now) >= STRAY_GRACE:
        life = Life.ENDING
    elif node.ready and node.availability == "active":
        life = Life.ACTIVE
    else:
        life = Life.CORDONED if node.ready else Life.DOWN
    return Worker(
        instance=node.instance if life is Life.ENDING else "",
        node=node.id,
        instance_type=node.instance_type,
        zone=node.zone,
        life=life,
        memory=node.memory,
        cpu=node.cpu,
        memory_reserved=node.memory_reserved,
        cpu_reserved=node.cpu_reserved,
        users=node.users,
        in_group=False,
        node_down=down,
    )


def _group(
    now: float,
    raw: RawGroup,
    cloud: CloudFacts,
    swarm: SwarmFacts,
    sizes: Mapping[str, TypeSize],
    memory: Memory,
) -> Group:
    kind = raw.instance_type
    size = _seen_size(kind, cloud, swarm) or sizes.get(kind)
    error = cloud.launch_errors.get(raw.name)
    until = memory.aside_until.get(raw.name, 0.0)
    leaving = sum(_leaving(member) for member in raw.members.values())
    return Group(
        name=raw.name,
        # protected instances stay although somebody lowered the number by hand
        desired=max(raw.desired, len(raw.members) - leaving),
        min_size=raw.min_size,
        max_size=raw.max_size,
        instance_type=kind,
        memory=size.memory if size else 0,
        cpu=size.cpu if size else 0,
        launch_error=error.text if error else "",
        failed_at=error.at if error else 0.0,
        template=raw.template,
        for_profiles=raw.preference == FOR_PROFILES,
        retired=raw.preference == RETIRED,
        aside=memory.aside_why.get(raw.name, "") if now < until else "",
        aside_until=until,
    )


def _seen_size(kind: str, cloud: CloudFacts, swarm: SwarmFacts) -> TypeSize | None:
    """The smallest that a real node of the type shows."""
    seen = [
        TypeSize(memory=node.memory, cpu=node.cpu)
        for node in swarm.nodes
        if node.memory
        and (node.instance_type or getattr(cloud.instances.get(node.instance), "instance_type", ""))
        == kind
    ]
    return min(seen, key=lambda size: (size.memory, size.cpu), default=None)
