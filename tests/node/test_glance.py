"""What the leader tells of its fleet: from the swarm's lists and the fleet's own history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hubdeploy.hub.fleet.act import Done
from hubdeploy.hub.fleet.model import SetDesired
from hubdeploy.hub.fleet.store import Sample, Store
from hubdeploy.node import glance
from hubdeploy.operate.fleet import parsed

GB = 1 << 30


def node(name: str, role: str = "worker", state: str = "ready") -> dict[str, Any]:
    return {
        "ID": name,
        "Spec": {"Role": role},
        "Status": {"State": state},
        "Description": {"Resources": {"MemoryBytes": 8 * GB}},
    }


def task(service: str, state: str, where: str = "", error: str = "") -> dict[str, Any]:
    return {
        "ServiceID": service,
        "NodeID": where,
        "DesiredState": "running",
        "Status": {"State": state, "Err": error},
        "Spec": {"Resources": {"Reservations": {"MemoryBytes": 2 * GB}}},
    }


def test_memory_counts_on_workers_that_are_there_and_waiting_people_have_a_reason() -> None:
    services = [
        {"ID": name, "Spec": {"Name": name, "Labels": {"hubdeploy.user": user} if user else {}}}
        for name, user in (("a", "ada"), ("b", "bob"), ("c", "cyd"), ("x", ""))
    ]
    tasks = [
        task("a", "running", "w1"),
        task("a", "shutdown", "w1"),
        task("b", "pending", error="no suitable node"),
        task("c", "new"),
        task("x", "running", "leader"),
        task("x", "running", "w2"),
    ]
    nodes = [node("leader", "manager"), node("w1"), node("w2", state="down")]
    told = glance.swarm(nodes, services, tasks)
    assert told == {
        "users": 3,
        "waiting": [
            {"user": "bob", "why": "no suitable node"},
            {"user": "cyd", "why": "being placed"},
        ],
        "workers": 1,
        "memory": 8 * GB,
        "reserved": 2 * GB,
    }
    assert parsed(told).waiting == ("bob: no suitable node", "cyd: being placed")


def test_the_history_is_read_beside_the_service_that_writes_it(tmp_path: Path) -> None:
    file = tmp_path / "fleet.sqlite"
    assert glance.history(file) == {"decisions": [], "disk": 0}
    store = Store(tmp_path)
    try:
        for number in range(12):
            action = SetDesired(reason=f"look {number}", group="g", desired=number, before=0)
            store.note(float(number), Done(action=action, ok=number != 11, outcome="refused"))
        store.sample(
            Sample(
                at=1e9, users=1, waiting=0, machines=1, coming=0, memory=8, reserved=2, disk=5 * GB
            )
        )
        told = glance.history(file, count=3)
    finally:
        store.close()
    assert told["disk"] == 5 * GB
    seen = parsed(told)
    assert [each.reason for each in seen.decisions] == ["look 11", "look 10", "look 9"]
    assert seen.decisions[0].words == "SetDesired g: look 11 (failed: refused)"
