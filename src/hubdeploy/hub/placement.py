"""Where a user's server goes: best fit onto the fullest worker that still has room.

Swarm itself only spreads (moby/swarmkit#1034, moby/moby#26700), so that with it alone no worker
ever becomes empty and scale-in never happens. The spawner therefore chooses the node and pins the
service to it by ``node.id==…``. Swarm's API has no 'available' (moby/moby#31555): what a node
still has is its size less the reservations of the tasks on it, summed up here from the API's JSON.

Pure functions over plain data. Memory is bytes, CPU nano-CPUs (10**9 is one core), as in the API.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hubdeploy.config.limits import show_size
from hubdeploy.config.names import (
    LABEL_INSTANCE,
    LABEL_LAUNCHED,
    LABEL_TYPE,
    LABEL_USER,
    LABEL_ZONE,
)

#: states of a task that holds nothing any more; a reservation counts in every other state, also
#: while the task is being shut down (that is how swarm's scheduler itself counts)
ENDED_STATES = frozenset({"complete", "shutdown", "failed", "rejected", "remove", "orphaned"})

NODE_ID = "node.id"
NODE_TYPE = f"node.labels.{LABEL_TYPE}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One server's reservations. ``instance_type`` empty: any but ``kept``, the types that are
    there for profiles alone; ``avoid``: node ids not to use."""

    memory: int
    cpu: int = 0
    instance_type: str = ""
    kept: frozenset[str] = frozenset()
    avoid: frozenset[str] = frozenset()

    def takes(self, instance_type: str) -> bool:
        """Whether a machine of this type is one for it."""
        wanted = self.instance_type
        return instance_type == wanted if wanted else instance_type not in self.kept


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeView:
    """A swarm node: its size, what is reserved on it, and whether it takes tasks.

    ``users`` are the values of ``hubdeploy.user`` of the tasks on it, one entry per server.
    ``instance``, ``instance_type``, ``zone`` and ``launched`` come from node labels and are empty
    until the node has been labelled.
    """

    id: str
    hostname: str = ""
    address: str = ""
    role: str = "worker"
    ready: bool = True
    availability: str = "active"
    memory: int
    cpu: int
    memory_reserved: int = 0
    cpu_reserved: int = 0
    users: tuple[str, ...] = ()
    instance: str = ""
    instance_type: str = ""
    zone: str = ""
    launched: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def takes_tasks(self) -> bool:
        return self.ready and self.availability == "active"

    @property
    def memory_free(self) -> int:
        return self.memory - self.memory_reserved

    @property
    def cpu_free(self) -> int:
        return self.cpu - self.cpu_reserved


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Where to put it; ``node.id`` is for the service's constraint."""

    node: NodeView


@dataclass(frozen=True, kw_only=True, slots=True)
class NoFit:
    """``reason`` is for the waiting user; ``too_big``: not even an empty known worker would do."""

    reason: str
    too_big: bool = False


def place(nodes: Sequence[NodeView], request: Request) -> Placement | NoFit:
    """The fullest worker with room for *request*.

    'Fullest' is by the share of the scarcer of memory and CPU that would be left, so that the
    least is wasted; between equals the newer machine wins (the oldest empty out and are ended
    first), and then the higher id, so that the answer never depends on the order of *nodes*.
    """
    best: NodeView | None = None
    best_left = 2.0
    memory, cpu, avoid = request.memory, request.cpu, request.avoid
    for node in nodes:
        left_memory = node.memory - node.memory_reserved - memory
        if left_memory < 0 or node.availability != "active" or not node.ready:
            continue
        left_cpu = node.cpu - node.cpu_reserved - cpu
        if left_cpu < 0 or node.id in avoid or not request.takes(node.instance_type):
            continue
        left = left_memory / node.memory if node.memory else 0.0
        if cpu and node.cpu:
            left = min(left, left_cpu / node.cpu)
        if best is None or left < best_left or (left == best_left and _newer(node, best)):
            best, best_left = node, left
    return Placement(node=best) if best is not None else _no_fit(nodes, request)


def _newer(one: NodeView, other: NodeView) -> bool:
    # ISO times compare as text
    return (one.launched, one.id) > (other.launched, other.id)


def _no_fit(nodes: Sequence[NodeView], request: Request) -> NoFit:
    wanted = request.instance_type
    usable = [n for n in nodes if n.takes_tasks and n.id not in request.avoid]
    of_type = [n for n in usable if request.takes(n.instance_type)]
    if not of_type:
        return NoFit(reason=f"no machine of type {wanted} is up" if wanted else "no machine is up")
    if all(n.memory < request.memory or n.cpu < request.cpu for n in of_type):
        biggest = max(of_type, key=lambda n: (n.memory, n.cpu))
        return NoFit(
            reason=f"asks for {_amount(request.memory, request.cpu)}, "
            f"the biggest machine has {_amount(biggest.memory, biggest.cpu)}",
            too_big=True,
        )
    count = f"all {len(of_type)} machines are" if len(of_type) > 1 else "the only machine is"
    return NoFit(reason=f"{count} full (asked for {_amount(request.memory, request.cpu)})")


def _amount(memory: int, cpu: int) -> str:
    return f"{show_size(memory)}, {cpu / 1e9:g} CPU" if cpu else show_size(memory)


# --- reading the Docker API ---------------------------------------------------------------------


def request_of(task_spec: Mapping[str, Any]) -> Request:
    """What a task spec (``task["Spec"]`` or ``service["Spec"]["TaskTemplate"]``) reserves."""
    reserved = (task_spec.get("Resources") or {}).get("Reservations") or {}
    return Request(
        memory=int(reserved.get("MemoryBytes") or 0),
        cpu=int(reserved.get("NanoCPUs") or 0),
        instance_type=pinned_to(task_spec, NODE_TYPE),
        kept=frozenset(_constrained(task_spec, NODE_TYPE, "!=")),
    )


def pinned_to(task_spec: Mapping[str, Any], attribute: str = NODE_ID) -> str:
    """The value that *attribute* is constrained to equal, or an empty string."""
    return next(_constrained(task_spec, attribute, "=="), "")


def _constrained(task_spec: Mapping[str, Any], attribute: str, sign: str) -> Iterator[str]:
    for constraint in (task_spec.get("Placement") or {}).get("Constraints") or ():
        name, found, value = constraint.partition(sign)
        if found and name.strip() == attribute:
            yield str(value.strip())


def is_alive(task: Mapping[str, Any]) -> bool:
    """Whether swarm still counts the task's reservations."""
    return (task.get("Status") or {}).get("State") not in ENDED_STATES


def node_views(
    nodes: Iterable[Mapping[str, Any]],
    tasks: Iterable[Mapping[str, Any]],
    services: Iterable[Mapping[str, Any]],
    *,
    workers_only: bool = True,
) -> list[NodeView]:
    """Views from the answers of ``GET /nodes``, ``/tasks`` and ``/services``.

    A task that is not yet assigned but pinned to a node counts there already, as does a service
    so new that it has no task: otherwise servers started in one burst would all be sent to the
    same 'free' place.
    """
    users: dict[str, str] = {}
    fresh: dict[str, Mapping[str, Any]] = {}
    for service in services:
        spec = service.get("Spec") or {}
        users[service["ID"]] = (spec.get("Labels") or {}).get(LABEL_USER, "")
        if ((spec.get("Mode") or {}).get("Replicated") or {}).get("Replicas", 1):
            fresh[str(service["ID"])] = spec.get("TaskTemplate") or {}
    held: dict[str, list[int]] = {}
    on_node: dict[str, list[str]] = {}

    def hold(node: str, task_spec: Mapping[str, Any], service: str) -> None:
        reserved = (task_spec.get("Resources") or {}).get("Reservations") or {}
        sums = held.setdefault(node, [0, 0])
        sums[0] += int(reserved.get("MemoryBytes") or 0)
        sums[1] += int(reserved.get("NanoCPUs") or 0)
        user = users.get(service, "")
        if user:
            on_node.setdefault(node, []).append(user)

    for task in tasks:
        owner = task.get("ServiceID", "")
        fresh.pop(owner, None)
        if not is_alive(task):
            continue
        spec = task.get("Spec") or {}
        node = task.get("NodeID") or pinned_to(spec)
        if node:
            hold(node, spec, owner)
    for owner, template in fresh.items():
        node = pinned_to(template)
        if node:
            hold(node, template, owner)
    return [
        _view(node, held.get(node["ID"], (0, 0)), on_node.get(node["ID"], ()))
        for node in nodes
        if not workers_only or (node.get("Spec") or {}).get("Role") == "worker"
    ]


def _view(node: Mapping[str, Any], held: Sequence[int], users: Collection[str]) -> NodeView:
    spec = node.get("Spec") or {}
    description = node.get("Description") or {}
    size = description.get("Resources") or {}
    status = node.get("Status") or {}
    # node labels only: what a worker's own engine says of itself, it could say of another
    labels = spec.get("Labels") or {}
    return NodeView(
        id=node["ID"],
        hostname=description.get("Hostname", ""),
        address=status.get("Addr", ""),
        role=spec.get("Role", "worker"),
        ready=status.get("State") == "ready",
        availability=spec.get("Availability", "active"),
        memory=int(size.get("MemoryBytes") or 0),
        cpu=int(size.get("NanoCPUs") or 0),
        memory_reserved=held[0],
        cpu_reserved=held[1],
        users=tuple(sorted(users)),
        instance=labels.get(LABEL_INSTANCE, ""),
        instance_type=labels.get(LABEL_TYPE, ""),
        zone=labels.get(LABEL_ZONE, ""),
        launched=labels.get(LABEL_LAUNCHED, ""),
        labels=labels,
    )
