"""Removing a server: when it is gone, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import time

import pytest

from hubdeploy.hub.launch import Launcher
from hubdeploy.hub.swarm import Swarm
from tests.hub.test_launch import PATIENCE, admit_all, launch, run, server
from tests.plugins.dockerapi import FakeSwarm, Fault
from tests.plugins.dockerscript import Script


def test_removal_waits_for_the_container(swarm: FakeSwarm) -> None:
    swarm.script(Script(stop_delay=1.0))

    async def walk(hub: Swarm) -> float:
        await launch(hub, server())
        begun = time.monotonic()
        await Launcher(hub, "nb-alice").remove()
        return time.monotonic() - begun

    assert 1.0 <= run(swarm, walk) < 5.0
    assert swarm.tasks() == []


def test_removal_does_not_wait_for_a_machine_that_is_down(swarm: FakeSwarm) -> None:
    async def walk(hub: Swarm) -> float:
        seen = await launch(hub, server())
        await asyncio.to_thread(swarm.set_node, seen.node, state="down")
        begun = time.monotonic()
        await Launcher(hub, "nb-alice").remove()
        return time.monotonic() - begun

    assert run(swarm, walk) < 3.0
    assert swarm.services() == {}


def test_removal_is_bounded(swarm: FakeSwarm) -> None:
    swarm.script(Script(stop_delay=60))

    async def walk(hub: Swarm) -> float:
        await launch(hub, server())
        begun = time.monotonic()
        await Launcher(hub, "nb-alice", stop_deadline=1.0).remove()
        return time.monotonic() - begun

    assert 1.0 <= run(swarm, walk) < 4.0


def test_removal_bears_passing_errors_and_what_is_gone_already(swarm: FakeSwarm) -> None:
    async def walk(hub: Swarm) -> None:
        await launch(hub, server())
        await asyncio.to_thread(
            swarm.fault, Fault(times=2, path="/services", method="DELETE", status=500)
        )
        await Launcher(hub, "nb-alice").remove()
        await Launcher(hub, "nb-alice").remove()

    run(swarm, walk)
    assert swarm.services() == {}


def test_a_cancelled_start_leaves_nothing_behind(swarm: FakeSwarm) -> None:
    async def walk(hub: Swarm) -> None:
        launcher = Launcher(hub, "nb-alice")
        await hub.snapshot()
        swarm.latency = 0.4
        going = asyncio.ensure_future(
            launcher.launch(server(), admit=admit_all, deadline=time.monotonic() + PATIENCE)
        )
        await asyncio.sleep(0.2)
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        await launcher.remove()

    run(swarm, walk)
    swarm.wait(lambda: ("POST", "/services/create") in swarm.requests)
    assert swarm.services() == {}
