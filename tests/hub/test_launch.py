"""One server's way through the swarm, on every state that a task can be in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import docker
import pytest

from hubdeploy.hub.launch import MOST_REFUSALS, Launcher, LaunchError
from hubdeploy.hub.placement import pinned_to
from hubdeploy.hub.progress import Times, Waiting
from hubdeploy.hub.service import Bind, Server
from hubdeploy.hub.swarm import Snapshot, Swarm
from hubdeploy.hub.tasks import Sighting, Stage
from tests.plugins.dockerapi import FakeSwarm, Fault
from tests.plugins.dockerscript import Script
from tests.plugins.dockerswarm import GIB

PATIENCE = 20.0


def server(name: str = "nb-alice", *, memory: int = 2 * GIB, **more: Any) -> Server:
    about: dict[str, Any] = {
        "user": name.removeprefix("nb-"),
        "server": "",
        "deployment": "classroom",
        "image": "jupyter/notebook:1",
        "args": ["jupyterhub-singleuser"],
        "env": {"A": "1"},
        "binds": [Bind(source="/efs/home/alice", target="/home/jovyan")],
        "cpu": 10**9,
    }
    return Server(name=name, memory=memory, **{**about, **more})


def run(swarm: FakeSwarm, walk: Callable[[Swarm], Awaitable[Any]]) -> Any:
    """*walk* on a loop, with the hub's view of *swarm*."""

    async def go() -> Any:
        return await walk(Swarm(lambda: docker.APIClient(base_url=swarm.url, version="auto")))

    return asyncio.run(go())


def admit_all(_snapshot: Snapshot) -> None:
    """No limit."""


async def launch(hub: Swarm, wanted: Server, *, seconds: float = PATIENCE) -> Sighting:
    return await Launcher(hub, wanted.name).launch(
        wanted, admit=admit_all, deadline=time.monotonic() + seconds
    )


def test_a_server_is_pinned_reserved_and_never_restarted_by_swarm(swarm: FakeSwarm) -> None:
    seen = run(swarm, lambda hub: launch(hub, server()))
    spec = swarm.services()["nb-alice"]["Spec"]
    template = spec["TaskTemplate"]
    assert seen.stage is Stage.RUNNING
    assert seen.address.startswith("127.0.7.")
    assert 30000 <= seen.port <= 32767
    assert pinned_to(template) == seen.node
    assert template["RestartPolicy"] == {"Condition": "none"}
    assert template["Resources"]["Reservations"] == {"MemoryBytes": 2 * GIB, "NanoCPUs": 10**9}
    assert template["Resources"]["Limits"] == {"MemoryBytes": 2 * GIB}
    assert spec["EndpointSpec"]["Mode"] == "dnsrr"
    assert spec["EndpointSpec"]["Ports"][0]["PublishMode"] == "host"
    assert spec["Labels"]["hubdeploy.user"] == "alice"
    assert template["ContainerSpec"]["CapabilityDrop"] == ["ALL"]
    assert template["ContainerSpec"]["User"] == "1000:100"
    assert "Networks" not in template


def test_servers_started_at_once_fill_one_worker_before_the_next(swarm: FakeSwarm) -> None:
    async def walk(hub: Swarm) -> list[Sighting]:
        return list(await asyncio.gather(*(launch(hub, server(f"nb-u{n}")) for n in range(8))))

    seen = run(swarm, walk)
    nodes = [sighting.node for sighting in seen]
    assert sorted(nodes.count(node) for node in set(nodes)) == [4, 4]
    assert len({(s.address, s.port) for s in seen}) == 8


def test_without_room_a_server_waits_unpinned_and_takes_the_machine_that_comes(
    swarm: FakeSwarm,
) -> None:
    waiting: list[Waiting] = []

    async def walk(hub: Swarm) -> Sighting:
        launcher = Launcher(hub, "nb-big")
        launcher.waiting = Waiting(Times(), time.monotonic)
        waiting.append(launcher.waiting)
        going = asyncio.ensure_future(
            launcher.launch(
                server("nb-big", memory=12 * GIB),
                admit=admit_all,
                deadline=time.monotonic() + PATIENCE,
            )
        )
        await asyncio.sleep(1.0)
        assert not going.done()
        task = swarm.tasks("nb-big")[0]
        assert task["Status"]["State"] == "pending"
        assert pinned_to(task["Spec"]) == ""
        assert waiting[0].stage is Stage.MACHINE
        await asyncio.to_thread(swarm.add_node, "w9", memory=16 * GIB, address="127.0.7.9")
        return await going

    assert run(swarm, walk).node == "w9"
    assert waiting[0].lengths[Stage.MACHINE] >= 0.5


def test_a_worker_that_goes_before_it_begins_is_replaced(swarm: FakeSwarm) -> None:
    swarm.script(Script(node="w3", stop_at="assigned", times=1))

    async def walk(hub: Swarm) -> Sighting:
        going = asyncio.ensure_future(launch(hub, server()))
        await asyncio.to_thread(swarm.wait, lambda: swarm.tasks("nb-alice"))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(swarm.set_node, "w3", state="down")
        return await going

    seen = run(swarm, walk)
    assert seen.stage is Stage.RUNNING
    assert seen.node in ("w1", "w2")
    assert len(swarm.services()) == 1


def test_a_worker_that_fills_up_while_the_server_is_pending_is_replaced(swarm: FakeSwarm) -> None:
    async def walk(hub: Swarm) -> Sighting:
        # somebody else's service takes the room between the look and the creation
        await hub.snapshot()
        other = docker.APIClient(base_url=swarm.url, version="auto")
        template = {
            "ContainerSpec": {"Image": "x"},
            "RestartPolicy": {"Condition": "none"},
            "Resources": {"Reservations": {"MemoryBytes": 8 * GIB, "NanoCPUs": 0}},
            "Placement": {"Constraints": ["node.id==w3"]},
        }
        await asyncio.to_thread(other.create_service, template, name="other")
        return await launch(hub, server())

    assert run(swarm, walk).node in ("w1", "w2")


@pytest.mark.parametrize(
    ("reject", "words"),
    [
        ("No such image: jupyter/notebook:1", "image jupyter/notebook:1 could not be pulled"),
        (
            'invalid mount config for type "bind": bind source path does not exist: /efs/home/a',
            "files could not be reached",
        ),
        ("something nobody has seen before", "something nobody has seen before"),
    ],
)
def test_repeated_refusals_end_with_the_swarms_words(
    swarm: FakeSwarm, reject: str, words: str
) -> None:
    swarm.script(Script(reject=reject))
    with pytest.raises(LaunchError, match=words) as caught:
        run(swarm, lambda hub: launch(hub, server()))
    assert caught.value.reason == "rejected"
    assert len({task["NodeID"] for task in swarm.tasks("nb-alice")}) == MOST_REFUSALS


def test_one_refusal_is_borne_on_another_worker(swarm: FakeSwarm) -> None:
    swarm.script(Script(reject="No such image: jupyter/notebook:1", times=1))
    seen = run(swarm, lambda hub: launch(hub, server()))
    refused = swarm.tasks("nb-alice")[0]["NodeID"]
    assert seen.node != refused


def test_a_command_that_is_not_there_fails_at_once(swarm: FakeSwarm) -> None:
    swarm.script(
        Script(
            fail='starting container failed: exec: "jupyterhub-singleuser": executable file '
            "not found in $PATH"
        )
    )
    with pytest.raises(LaunchError, match="cannot start a notebook server"):
        run(swarm, lambda hub: launch(hub, server()))
    assert len(swarm.tasks("nb-alice")) == 1


def test_a_server_killed_for_its_memory_is_told_so(swarm: FakeSwarm) -> None:
    swarm.script(Script(fail="task: non-zero exit (137)", exit_code=137))
    with pytest.raises(LaunchError, match=r"ran out of memory \(it had 2 GiB\)"):
        run(swarm, lambda hub: launch(hub, server()))


def test_the_deadline_ends_a_wait_with_the_schedulers_own_words(swarm: FakeSwarm) -> None:
    with pytest.raises(LaunchError, match=r"no suitable node.*insufficient resources") as caught:
        run(swarm, lambda hub: launch(hub, server(memory=99 * GIB), seconds=1.5))
    assert caught.value.reason == "timeout"


@pytest.mark.parametrize("state", ["assigned", "accepted", "preparing", "ready", "starting"])
def test_every_state_before_running_counts_as_on_its_way(swarm: FakeSwarm, state: str) -> None:
    swarm.script(Script(stop_at=state))

    async def walk(hub: Swarm) -> tuple[Stage, str]:
        with pytest.raises(LaunchError, match="in time"):
            await launch(hub, server(), seconds=1.0)
        launcher = Launcher(hub, "nb-alice")
        snapshot, seen = await launcher.look(max_age=0)
        return seen.stage, await launcher.keep(snapshot, seen, patience=60)

    stage, why = run(swarm, walk)
    assert stage in (Stage.PLACING, Stage.PULLING, Stage.STARTING)
    assert why == ""


def test_docker_failing_in_passing_is_borne(swarm: FakeSwarm) -> None:
    swarm.script(Script(delays={"preparing": 1.5}))

    async def walk(hub: Swarm) -> Sighting:
        going = asyncio.ensure_future(launch(hub, server()))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(swarm.fault, Fault(times=5, path="/tasks"))
        return await going

    assert run(swarm, walk).stage is Stage.RUNNING
    assert len(swarm.services()) == 1


@pytest.mark.parametrize("status", [500, 503])
def test_a_creation_that_fails_in_passing_is_tried_again(swarm: FakeSwarm, status: int) -> None:
    swarm.fault(Fault(times=2, path="/services/create", status=status))
    assert run(swarm, lambda hub: launch(hub, server())).stage is Stage.RUNNING
    assert len(swarm.services()) == 1


def test_a_creation_that_docker_refuses_is_not_tried_again(swarm: FakeSwarm) -> None:
    swarm.fault(Fault(times=9, path="/services/create", status=400, message="invalid reference"))
    with pytest.raises(LaunchError, match="invalid reference"):
        run(swarm, lambda hub: launch(hub, server()))
    assert swarm.requests.count(("POST", "/services/create")) == 1


@pytest.mark.parametrize("loss", ["down", "drain", "gone"])
def test_a_running_server_that_lost_its_machine_gets_another(swarm: FakeSwarm, loss: str) -> None:
    async def walk(hub: Swarm) -> tuple[Sighting, Sighting]:
        before = await launch(hub, server())
        if loss == "gone":
            await asyncio.to_thread(swarm.remove_node, before.node)
        else:
            change = {"state": "down"} if loss == "down" else {"availability": "drain"}
            await asyncio.to_thread(swarm.set_node, before.node, **change)
        launcher = Launcher(hub, "nb-alice")
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            snapshot, seen = await launcher.look(max_age=0)
            assert await launcher.keep(snapshot, seen, patience=60) == ""
            if seen.stage is Stage.RUNNING:
                return before, seen
            await asyncio.sleep(0.1)
        raise AssertionError("not moved")

    before, after = run(swarm, walk)
    assert after.node != before.node
    assert after.address != before.address
    assert len(swarm.services()) == 1


def test_a_server_whose_place_is_lost_again_and_again_stays_stopped(swarm: FakeSwarm) -> None:
    async def walk(hub: Swarm) -> str:
        await launch(hub, server())
        launcher = Launcher(hub, "nb-alice")
        for _ in range(40):
            snapshot, seen = await launcher.look(max_age=0)
            why = await launcher.keep(snapshot, seen, patience=60)
            if why:
                return why
            if seen.stage is Stage.RUNNING:
                await asyncio.to_thread(swarm.set_node, seen.node, availability="drain")
                await asyncio.to_thread(swarm.set_node, seen.node, availability="active")
            await asyncio.sleep(0.1)
        return ""

    assert "too often" in run(swarm, walk)


def test_a_server_that_ended_by_itself_is_not_brought_back(swarm: FakeSwarm) -> None:
    async def walk(hub: Swarm) -> Sighting:
        await launch(hub, server())
        await asyncio.to_thread(lambda: swarm.end_task("nb-alice", exit_code=1))
        launcher = Launcher(hub, "nb-alice")
        snapshot, seen = await launcher.look(max_age=0)
        assert await launcher.keep(snapshot, seen, patience=60)
        return seen

    seen = run(swarm, walk)
    assert (seen.stage, seen.exit_code) == (Stage.ENDED, 1)
    assert len(swarm.tasks("nb-alice")) == 1


def test_a_refusal_by_the_limits_creates_nothing(swarm: FakeSwarm) -> None:
    class Refused(Exception):
        pass

    def refuse(_snapshot: Snapshot) -> None:
        raise Refused

    async def walk(hub: Swarm) -> None:
        with pytest.raises(Refused):
            await Launcher(hub, "nb-alice").launch(
                server(), admit=refuse, deadline=time.monotonic() + PATIENCE
            )

    run(swarm, walk)
    assert swarm.services() == {}


def test_a_left_over_service_is_replaced_and_not_doubled(swarm: FakeSwarm) -> None:
    async def walk(hub: Swarm) -> Sighting:
        await launch(hub, server())
        return await launch(hub, server(env={"A": "2"}))

    run(swarm, walk)
    spec = swarm.services()["nb-alice"]["Spec"]
    assert spec["TaskTemplate"]["ContainerSpec"]["Env"] == ["A=2"]
    assert len(swarm.tasks("nb-alice")) == 1


def test_a_profile_of_one_type_goes_to_that_type_alone(swarm: FakeSwarm) -> None:
    swarm.set_node("w2", labels={"hubdeploy.type": "g5.xlarge"})
    seen = run(swarm, lambda hub: launch(hub, server(instance_type="g5.xlarge")))
    assert seen.node == "w2"


def test_many_waiting_servers_share_one_look_at_the_swarm(swarm: FakeSwarm) -> None:
    swarm.script(Script(delays={"preparing": 1.5}))

    async def walk(hub: Swarm) -> None:
        await asyncio.gather(
            *(launch(hub, server(f"nb-u{n}", memory=GIB // 8, cpu=0)) for n in range(60))
        )

    run(swarm, walk)
    listings = swarm.requests.count(("GET", "/tasks"))
    assert listings < 30
