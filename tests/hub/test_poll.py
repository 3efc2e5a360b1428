"""What the spawner's poll answers on every state that Docker knows of a task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import docker
import pytest

from hubdeploy.hub import service as services
from hubdeploy.hub.placement import pinned_to
from hubdeploy.hub.service import Server, Spot
from hubdeploy.hub.spawner import HubSpawner
from tests.plugins.dockerapi import FakeSwarm, Fault
from tests.plugins.dockerscript import Script
from tests.plugins.dockerswarm import GIB

NAME = "nb-alice"
ALIVE = None
MOVED = "moved"
"""Alive to the hub, and sent to another machine."""

#: all of Docker's task states (api/types/swarm, TaskState), in the order of a task's life
ANSWERS = {
    "new": ALIVE,
    "allocated": ALIVE,
    "pending": ALIVE,
    "assigned": ALIVE,
    "accepted": ALIVE,
    "preparing": ALIVE,
    "ready": ALIVE,
    "starting": ALIVE,
    "running": ALIVE,
    "complete": "The server stopped (complete).",
    "shutdown": MOVED,
    "failed": "The server stopped with exit code 1 (failed).",
    "rejected": MOVED,
    "remove": MOVED,
    "orphaned": MOVED,
}


def engine(swarm: FakeSwarm) -> Any:
    return docker.APIClient(base_url=swarm.url, version="auto")


@pytest.fixture
def spawner(swarm: FakeSwarm, monkeypatch: pytest.MonkeyPatch) -> HubSpawner:
    """Of a server that runs on w1, as the hub has it while it watches."""
    monkeypatch.setattr(HubSpawner, "_swarm", None)
    swarm.script(Script(name=NAME, stop_at="running"))
    server = Server(
        name=NAME,
        user="alice",
        server="",
        deployment="classroom",
        image="notebook:1",
        args=[],
        env={},
        binds=[],
        memory=GIB,
        cpu=10**9,
    )
    engine(swarm).create_service(**services.spec(server, Spot(node="w1", published=30123)))
    swarm.wait(lambda: [t["Status"]["State"] for t in swarm.tasks(NAME)] == ["running"])
    return HubSpawner(
        user=SimpleNamespace(name="alice"),
        object_name=NAME,
        image="notebook:1",
        poll_interval=1,
        client_kwargs={"base_url": swarm.url, "version": "auto"},
    )


@pytest.fixture
def poll(spawner: HubSpawner) -> Iterator[Callable[[], Any]]:
    """One poll after the other, on one loop, as in the hub."""
    with asyncio.Runner() as runner:
        yield lambda: runner.run(spawner.poll())


@pytest.mark.parametrize(("state", "answer"), ANSWERS.items())
def test_every_state_has_its_answer(
    swarm: FakeSwarm, poll: Callable[[], Any], state: str, answer: str | None
) -> None:
    code = {"complete": 0, "failed": 1}.get(state)
    swarm.set_task(NAME, state, exit_code=code)
    said = poll()
    if answer is MOVED:
        template = swarm.services()[NAME]["Spec"]["TaskTemplate"]
        assert said is None
        assert pinned_to(template) in ("w2", "w3")
    else:
        assert said == answer
        ended = answer is not None
        assert (NAME in swarm.services()) is not ended, "an ended server's service is cleared away"


def test_a_server_killed_for_memory_is_named_as_such(
    swarm: FakeSwarm, poll: Callable[[], Any], spawner: HubSpawner
) -> None:
    swarm.set_task(NAME, "failed", exit_code=137)
    said = poll()
    assert "ran out of memory (it had 1 GiB)" in said
    assert spawner.ended == said, "the page that says that it stopped says why"


def test_a_server_that_every_machine_rejects_ends_with_the_machines_words(
    swarm: FakeSwarm, poll: Callable[[], Any]
) -> None:
    swarm.script(Script(name=NAME, reject="No such image: notebook:1"))
    swarm.set_task(NAME, "rejected", err="No such image: notebook:1")
    answers: list[Any] = []

    def over() -> bool:
        answers.append(poll())
        return answers[-1] is not None

    swarm.wait(over, seconds=30)
    moves = [path for _, path in swarm.requests if path.endswith("/update")]
    assert len(moves) == 2, "three machines were asked"
    assert NAME not in swarm.services()
    assert answers[-1] == "The image notebook:1 could not be pulled (No such image: notebook:1)."


def test_a_service_that_somebody_removed_is_a_stopped_server(
    swarm: FakeSwarm, poll: Callable[[], Any]
) -> None:
    engine(swarm).remove_service(NAME)
    assert poll() == 0


def test_while_docker_does_not_answer_the_server_counts_as_alive(
    swarm: FakeSwarm, poll: Callable[[], Any]
) -> None:
    swarm.fault(Fault(times=50, status=500))
    assert poll() is None
