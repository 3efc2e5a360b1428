"""Best fit, and sums over the Docker API's own JSON."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hubdeploy.config.names import LABEL_INSTANCE, LABEL_LAUNCHED, LABEL_TYPE, LABEL_USER
from hubdeploy.hub.placement import (
    NodeView,
    NoFit,
    Placement,
    Request,
    node_views,
    pinned_to,
    place,
)

GIB = 1 << 30
CORE = 10**9


def node(name: str, *, reserved: int = 0, memory: int = 16, **more: Any) -> NodeView:
    """A worker of *memory* GiB with *reserved* GiB taken."""
    return NodeView(
        id=name, memory=memory * GIB, cpu=4 * CORE, memory_reserved=reserved * GIB, **more
    )


def chosen(nodes: list[NodeView], request: Request) -> str:
    answer = place(nodes, request)
    assert isinstance(answer, Placement), answer
    return answer.node.id


def test_the_fullest_worker_that_fits_is_chosen() -> None:
    nodes = [node("empty"), node("half", reserved=8), node("full", reserved=15)]
    assert chosen(nodes, Request(memory=2 * GIB)) == "half"


def test_a_big_server_goes_where_it_fits_even_if_others_are_fuller() -> None:
    nodes = [node("empty"), node("half", reserved=8), node("nearly", reserved=12)]
    assert chosen(nodes, Request(memory=12 * GIB)) == "empty"


def test_between_equals_the_newer_machine_fills_up_so_that_the_oldest_runs_empty() -> None:
    nodes = [node("b", launched="2026-01-02"), node("a", launched="2026-01-01")]
    assert chosen(nodes, Request(memory=GIB)) == "b"


def test_cordoned_drained_down_and_avoided_workers_get_nothing() -> None:
    nodes = [
        node("paused", availability="pause"),
        node("drained", availability="drain"),
        node("down", ready=False),
        node("failed-before"),
    ]
    answer = place(nodes, Request(memory=GIB, avoid=frozenset({"failed-before"})))
    assert isinstance(answer, NoFit)
    assert answer.reason == "no machine is up"


def test_the_cpu_can_be_what_is_full() -> None:
    nodes = [NodeView(id="a", memory=16 * GIB, cpu=4 * CORE, cpu_reserved=4 * CORE)]
    assert isinstance(place(nodes, Request(memory=GIB, cpu=1)), NoFit)
    assert chosen(nodes, Request(memory=GIB)) == "a"


def test_a_profile_with_a_type_goes_only_to_that_type() -> None:
    nodes = [node("small", instance_type="m6i.large"), node("big", instance_type="r6i.large")]
    assert chosen(nodes, Request(memory=GIB, instance_type="r6i.large")) == "big"
    answer = place(nodes, Request(memory=GIB, instance_type="g5.xlarge"))
    assert isinstance(answer, NoFit)
    assert "no machine of type g5.xlarge is up" in answer.reason


def test_the_reason_tells_full_from_too_big() -> None:
    full = place([node("a", reserved=15), node("b", reserved=15)], Request(memory=2 * GIB))
    assert isinstance(full, NoFit)
    assert full.reason == "all 2 machines are full (asked for 2 GiB)"
    assert not full.too_big
    big = place([node("a")], Request(memory=20 * GIB))
    assert isinstance(big, NoFit)
    assert big.too_big
    assert big.reason == "asks for 20 GiB, the biggest machine has 16 GiB, 4 CPU"


# --- properties -------------------------------------------------------------------------------

nodes_lists = st.lists(
    st.builds(
        NodeView,
        id=st.text("abcdef", min_size=3, max_size=3),
        memory=st.just(16),
        cpu=st.just(8),
        memory_reserved=st.integers(0, 16),
        cpu_reserved=st.integers(0, 8),
        ready=st.booleans(),
        availability=st.sampled_from(["active", "active", "pause", "drain"]),
    ),
    unique_by=lambda view: view.id,
    max_size=8,
)


@given(nodes_lists, st.integers(1, 17), st.integers(0, 9), st.randoms(use_true_random=False))
def test_a_place_always_has_room_and_does_not_depend_on_the_order(
    nodes: list[NodeView], memory: int, cpu: int, shuffle: random.Random
) -> None:
    request = Request(memory=memory, cpu=cpu)
    answer = place(nodes, request)
    if isinstance(answer, Placement):
        assert answer.node.takes_tasks
        assert answer.node.memory_free >= memory
        assert answer.node.cpu_free >= cpu
    else:
        fits = [n for n in nodes if n.takes_tasks and n.memory_free >= memory and n.cpu_free >= cpu]
        assert not fits
    shuffle.shuffle(nodes)
    assert place(nodes, request) == answer


def _optimum(sizes: list[int], machine: int) -> int:
    """Fewest machines, by trying all ways (small cases only)."""
    best = len(sizes)
    order = sorted(sizes, reverse=True)

    def lay(index: int, bins: list[int]) -> None:
        nonlocal best
        if len(bins) >= best:
            return
        if index == len(order):
            best = len(bins)
            return
        tried = set()
        for number, free in enumerate(bins):
            if free >= order[index] and free not in tried:
                tried.add(free)
                bins[number] -= order[index]
                lay(index + 1, bins)
                bins[number] += order[index]
        bins.append(machine - order[index])
        lay(index + 1, bins)
        bins.pop()

    lay(0, [])
    return best


@given(st.lists(st.integers(1, 16), min_size=1, max_size=11))
def test_machines_used_are_within_seventeen_tenths_of_the_best_packing(sizes: list[int]) -> None:
    # best fit never needs more than 1.7 times the optimum, whatever the order (Dósa, Sgall 2014)
    reserved: list[int] = []
    for size in sizes:
        views = [
            NodeView(id=f"{number:02d}", memory=16, cpu=1, memory_reserved=taken)
            for number, taken in enumerate(reserved)
        ]
        answer = place(views, Request(memory=size))
        if isinstance(answer, Placement):
            reserved[int(answer.node.id)] += size
        else:
            reserved.append(size)
    assert len(reserved) <= 1.7 * _optimum(sizes, 16)


# --- the Docker API's JSON --------------------------------------------------------------------


def _service(
    name: str, *, pinned: str = "", user: str = "ann", memory: int = GIB
) -> dict[str, Any]:
    return {
        "ID": name,
        "Spec": {
            "Labels": {LABEL_USER: user},
            "Mode": {"Replicated": {"Replicas": 1}},
            "TaskTemplate": _task_spec(pinned=pinned, memory=memory),
        },
    }


def _task_spec(*, pinned: str = "", memory: int = GIB) -> dict[str, Any]:
    return {
        "Placement": {"Constraints": [f"node.id=={pinned}"] if pinned else []},
        "Resources": {"Reservations": {"MemoryBytes": memory, "NanoCPUs": CORE}},
    }


def _task(service: str, state: str, *, on: str = "", pinned: str = "") -> dict[str, Any]:
    task: dict[str, Any] = {
        "ServiceID": service,
        "Spec": _task_spec(pinned=pinned),
        "Status": {"State": state},
    }
    return task | ({"NodeID": on} if on else {})


NODE = {
    "ID": "n1",
    "Spec": {
        "Role": "worker",
        "Availability": "active",
        "Labels": {LABEL_INSTANCE: "i-1", LABEL_TYPE: "m6i.xlarge", LABEL_LAUNCHED: "2026-01-01"},
    },
    "Description": {
        "Hostname": "worker-1",
        "Resources": {"NanoCPUs": 4 * CORE, "MemoryBytes": 16 * GIB},
        "Engine": {"Labels": {LABEL_INSTANCE: "i-from-the-engine"}},
    },
    "Status": {"State": "ready", "Addr": "10.42.1.7"},
}


def test_reservations_are_summed_over_live_tasks() -> None:
    services = [_service("s1", user="ann"), _service("s2", user="bob"), _service("s3")]
    tasks = [
        _task("s1", "running", on="n1"),
        _task("s2", "preparing", on="n1"),
        _task("s3", "failed", on="n1"),
        _task("s3", "shutdown", on="n1"),
    ]
    (view,) = node_views([NODE], tasks, services)
    assert view.memory_reserved == 2 * GIB
    assert view.cpu_reserved == 2 * CORE
    assert view.users == ("ann", "bob")
    assert (view.instance, view.instance_type) == ("i-1", "m6i.xlarge")
    assert view.address == "10.42.1.7"


def test_a_burst_does_not_see_the_same_place_free_twice() -> None:
    # one task is pinned but not assigned yet, the other service has no task yet at all
    services = [_service("s1", pinned="n1"), _service("s2", pinned="n1", user="bob")]
    (view,) = node_views([NODE], [_task("s1", "pending", pinned="n1")], services)
    assert view.memory_reserved == 2 * GIB
    assert view.users == ("ann", "bob")


def test_a_service_scaled_to_nothing_holds_nothing() -> None:
    service = _service("s1", pinned="n1")
    service["Spec"]["Mode"] = {"Replicated": {"Replicas": 0}}
    (view,) = node_views([NODE], [], [service])
    assert view.memory_reserved == 0


def test_what_a_workers_own_engine_claims_is_not_believed() -> None:
    bare = {**NODE, "Spec": {"Role": "worker", "Availability": "active"}}
    (view,) = node_views([bare], [], [])
    assert view.instance == ""


def test_managers_are_not_offered() -> None:
    manager = {**NODE, "ID": "m", "Spec": {**NODE["Spec"], "Role": "manager"}}  # type: ignore[dict-item]
    assert [view.id for view in node_views([NODE, manager], [], [])] == ["n1"]
    assert len(node_views([NODE, manager], [], [], workers_only=False)) == 2


def test_nodes_and_tasks_with_missing_fields_are_borne() -> None:
    (view,) = node_views([{"ID": "bare"}], [{"NodeID": "bare"}], [], workers_only=False)
    assert not view.ready
    assert view.memory == 0


def test_constraints_are_read_with_and_without_spaces() -> None:
    spec = {"Placement": {"Constraints": ["node.role != manager", "node.id == abc"]}}
    assert pinned_to(spec) == "abc"
    assert pinned_to({}) == ""
