"""One reading of a server's tasks."""

from __future__ import annotations

from typing import Any

import pytest

from hubdeploy.hub.tasks import Sighting, Stage, explain, newest, sight

NODES = {
    "w1": {"Status": {"State": "ready", "Addr": "10.0.0.1"}},
    "dead": {"Status": {"State": "down", "Addr": "10.0.0.2"}},
    "fresh": {"Status": {"State": "unknown", "Addr": "10.0.0.3"}},
}
SERVICE = {"ID": "s", "Spec": {"Name": "nb-a", "TaskTemplate": {}}}
PINNED = {
    "ID": "s",
    "Spec": {"TaskTemplate": {"Placement": {"Constraints": ["node.id==w1"]}}},
}


def task(state: str, *, node: str = "w1", desired: str = "running", **status: Any) -> Any:
    ports = {"Ports": [{"TargetPort": 8888, "PublishedPort": 30123}]}
    return {
        "ID": "t",
        "NodeID": node,
        "DesiredState": desired,
        "CreatedAt": "2026-01-01T00:00:00Z",
        "Status": {"State": state, "PortStatus": ports, **status},
    }


#: all of Docker's task states (api/types/swarm, TaskState)
MEANING = {
    "new": Stage.PLACING,
    "allocated": Stage.PLACING,
    "pending": Stage.PLACING,
    "assigned": Stage.PLACING,
    "accepted": Stage.PLACING,
    "preparing": Stage.PULLING,
    "ready": Stage.STARTING,
    "starting": Stage.STARTING,
    "running": Stage.RUNNING,
    "complete": Stage.ENDED,
    "shutdown": Stage.LOST,
    "failed": Stage.ENDED,
    "rejected": Stage.REJECTED,
    "remove": Stage.LOST,
    "orphaned": Stage.LOST,
}


@pytest.mark.parametrize(("state", "stage"), MEANING.items())
def test_every_state_has_one_meaning(state: str, stage: Stage) -> None:
    assert sight(SERVICE, [task(state)], NODES, port=8888).stage is stage


def test_a_state_that_is_not_known_yet_is_no_end() -> None:
    assert sight(SERVICE, [task("resting")], NODES, port=8888).stage is Stage.PLACING


def test_a_running_server_is_at_its_nodes_address_and_published_port() -> None:
    seen = sight(SERVICE, [task("running")], NODES, port=8888)
    assert (seen.address, seen.port) == ("10.0.0.1", 30123)


def test_running_without_a_port_yet_is_still_starting() -> None:
    seen = sight(SERVICE, [task("running", PortStatus={})], NODES, port=8888)
    assert seen.stage is Stage.STARTING


@pytest.mark.parametrize(
    ("found", "stage"),
    [
        (task("running", node="dead"), Stage.LOST),
        (task("preparing", node="nowhere"), Stage.LOST),
        (task("running", desired="shutdown"), Stage.LOST),
        (task("running", node="fresh"), Stage.RUNNING),
        (task("failed", desired="shutdown"), Stage.ENDED),
        (task("pending", node=""), Stage.MACHINE),
    ],
)
def test_losing_its_machine_is_not_ending(found: Any, stage: Stage) -> None:
    assert sight(SERVICE, [found], NODES, port=8888).stage is stage


def test_a_pinned_task_without_a_node_is_being_placed() -> None:
    assert sight(PINNED, [task("pending", node="")], NODES, port=8888).stage is Stage.PLACING
    assert sight(PINNED, [], NODES, port=8888).stage is Stage.PLACING
    assert sight(SERVICE, [], NODES, port=8888).stage is Stage.MACHINE


def test_no_service_and_no_replica() -> None:
    assert sight(None, [], NODES, port=8888).stage is Stage.GONE
    scaled = {"ID": "s", "Spec": {"Mode": {"Replicated": {"Replicas": 0}}}}
    assert sight(scaled, [task("running")], NODES, port=8888).stage is Stage.ENDED


def test_the_newest_task_is_found_although_the_api_drops_trailing_zeros() -> None:
    tasks = [{"CreatedAt": f"2026-01-01T00:00:00{f}Z", "ID": f} for f in ("", ".1", ".12", ".0999")]
    found = newest(tasks)
    assert found is not None
    assert found["ID"] == ".12"


def test_a_container_that_never_started_was_refused() -> None:
    found = task("failed", Err="starting container failed: port is already allocated")
    assert sight(SERVICE, [found], NODES, port=8888).stage is Stage.REJECTED


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (Sighting(stage=Stage.ENDED, exit_code=137), "ran out of memory (it had 3 GiB)"),
        (Sighting(stage=Stage.ENDED, exit_code=1, words="boom"), "exit code 1 (boom)"),
        (Sighting(stage=Stage.ENDED), "stopped"),
        (Sighting(stage=Stage.REJECTED, words="pull access denied for i"), "could not be pulled"),
        (Sighting(stage=Stage.REJECTED, words="port is already allocated"), "port was taken"),
        (Sighting(stage=Stage.REJECTED, words="new words"), "'new words'"),
        (Sighting(stage=Stage.LOST), "went away"),
    ],
)
def test_failures_are_named_for_what_they_are(seen: Sighting, words: str) -> None:
    assert words in explain(seen, image="i", memory=3 << 30)
