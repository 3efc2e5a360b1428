"""The hub's one view of the swarm."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import docker
import pytest
from docker.errors import APIError
from hypothesis import given, settings
from hypothesis import strategies as st

from hubdeploy.hub import service as services
from hubdeploy.hub.placement import Placement, Request, place
from hubdeploy.hub.service import Server, Spot, choose_port, ports_in_use
from hubdeploy.hub.swarm import Snapshot, Swarm, provisional
from tests.plugins.dockerapi import FakeSwarm, Fault
from tests.plugins.dockerswarm import GIB


def run(swarm: FakeSwarm, walk: Callable[[Swarm], Awaitable[Any]]) -> Any:
    async def go() -> Any:
        return await walk(Swarm(lambda: docker.APIClient(base_url=swarm.url, version="auto")))

    return asyncio.run(go())


def spec(name: str, *, node: str = "", memory: int = GIB) -> dict[str, Any]:
    server = Server(
        name=name,
        user=name,
        server="",
        deployment="d",
        image="i",
        args=[],
        env={},
        binds=[],
        memory=memory,
        cpu=10**8,
    )
    return services.as_api(services.spec(server, Spot(node=node, published=30000)))


def test_all_who_ask_at_once_share_one_listing(swarm: FakeSwarm) -> None:
    async def walk(hub: Swarm) -> list[Snapshot]:
        return list(await asyncio.gather(*(hub.snapshot() for _ in range(50))))

    found = run(swarm, walk)
    assert len({id(snapshot) for snapshot in found}) == 1
    assert swarm.requests.count(("GET", "/services")) == 1


def test_who_asks_for_a_new_view_gets_one_that_began_later(swarm: FakeSwarm) -> None:
    swarm.latency = 0.2

    async def walk(hub: Swarm) -> tuple[Snapshot, Snapshot]:
        early = asyncio.ensure_future(hub.snapshot())
        await asyncio.sleep(0.05)
        late = await hub.snapshot(max_age=0)
        return await early, late

    early, late = run(swarm, walk)
    assert late.begun > early.begun


def test_what_the_hub_just_made_counts_before_docker_shows_it(swarm: FakeSwarm) -> None:
    async def walk(hub: Swarm) -> None:
        snapshot = await hub.snapshot()
        hub.expect(provisional("nb-a", spec("nb-a", node="w1")))
        assert snapshot.service("nb-a") is not None
        held = {view.id: view.memory_reserved for view in snapshot.views()}
        assert held == {"w1": GIB, "w2": 0, "w3": 0}
        # a listing that begins after it is the truth again: Docker knows of no such service
        fresh = await hub.snapshot(max_age=0)
        assert fresh.service("nb-a") is None

    run(swarm, walk)


def test_a_place_stays_taken_while_the_creation_is_under_way(swarm: FakeSwarm) -> None:
    async def walk(hub: Swarm) -> None:
        coming = provisional("nb-a", spec("nb-a", node="w1"))
        hub.expect(coming, under_way=True)
        # this listing begins later, and Docker has not got to the creation yet
        fresh = await hub.snapshot(max_age=0)
        assert {v.id: v.memory_reserved for v in fresh.views()} == {"w1": GIB, "w2": 0, "w3": 0}
        client = docker.APIClient(base_url=swarm.url, version="auto")
        created = spec("nb-a", node="w1")
        made = await asyncio.to_thread(client.create_service, created["TaskTemplate"], name="nb-a")
        # Docker shows it before its answer has reached the hub: what Docker says counts
        listed = (await hub.snapshot(max_age=0)).service("nb-a")
        assert listed is not None
        assert listed["ID"] == made["ID"]
        hub.forget("nb-a")
        assert (await hub.snapshot(max_age=0)).service("nb-a") is not None

    run(swarm, walk)


def test_what_the_hub_just_removed_is_gone_from_a_listing_under_way(swarm: FakeSwarm) -> None:
    async def walk(hub: Swarm) -> None:
        client = docker.APIClient(base_url=swarm.url, version="auto")
        created = spec("nb-a", node="w1")
        await asyncio.to_thread(client.create_service, created["TaskTemplate"], name="nb-a")
        swarm.latency = 0.3
        under_way = asyncio.ensure_future(hub.snapshot())
        await asyncio.sleep(0.05)
        hub.forget("nb-a")
        assert (await under_way).service("nb-a") is None

    run(swarm, walk)


def test_a_failed_listing_is_an_error_and_the_next_one_works(swarm: FakeSwarm) -> None:
    swarm.fault(Fault(times=1, path="/nodes", status=503))

    async def walk(hub: Swarm) -> None:
        with pytest.raises(APIError):
            await hub.snapshot()
        assert set((await hub.snapshot()).nodes) == {"leader", "w1", "w2", "w3"}

    run(swarm, walk)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 3), max_size=20))
def test_adding_up_by_and_by_gives_what_adding_up_at_once_gives(sizes: list[int]) -> None:
    nodes = {
        name: {
            "ID": name,
            "Spec": {"Role": "worker", "Availability": "active"},
            "Description": {"Resources": {"MemoryBytes": 8 * GIB, "NanoCPUs": 8 * 10**9}},
            "Status": {"State": "ready"},
        }
        for name in ("w1", "w2", "w3")
    }
    snapshot = Snapshot(begun=0.0, nodes=nodes, services={}, tasks={})
    for number, size in enumerate(sizes):
        found = place(snapshot.views(), Request(memory=size * GIB, cpu=10**8))
        node = found.node.id if isinstance(found, Placement) else ""
        name = f"nb-{number}"
        snapshot.put(provisional(name, spec(name, node=node, memory=size * GIB)))
    again = Snapshot(begun=0.0, nodes=nodes, services=dict(snapshot.services), tasks={})
    assert snapshot.views() == again.views()
    assert all(view.memory_free >= 0 for view in again.views())


def test_ports_differ_while_there_are_any_left() -> None:
    import random

    chance = random.Random(1)
    taken: set[int] = set()
    for _ in range(2768):
        port = choose_port(taken, chance=chance)
        assert 30000 <= port <= 32767
        assert port not in taken
        taken.add(port)
    assert 30000 <= choose_port(taken, chance=chance) <= 32767


def test_ports_in_use_are_read_from_the_services() -> None:
    assert ports_in_use([{"Spec": spec("nb-a")}, {"Spec": {}}, {}]) == {30000}
