"""Which Chef nodes count as gone."""

from __future__ import annotations

from hubdeploy.node.sweeping import machines_of, orphans

NAMES = {
    "demo-worker-i-0a": "i-0a",
    "demo-worker-i-0b": "i-0b",
    "demo-leader-i-0c": "i-0c",
}


def test_only_the_deployments_machines_are_looked_at() -> None:
    others = ["admin", "chef-validator", "demo2-worker-i-0a", "demo-workstation-x", "worker-i-0a"]
    assert machines_of("demo", [*NAMES, *others]) == NAMES


def test_an_ended_machine_is_gone_at_once() -> None:
    states = {"i-0a": "terminated", "i-0b": "running", "i-0c": "shutting-down"}
    gone, absent = orphans(NAMES, states, missed=())
    assert gone == ["demo-leader-i-0c", "demo-worker-i-0a"]
    assert absent == set()


def test_a_machine_that_ec2_does_not_show_is_gone_only_the_second_time() -> None:
    states = {"i-0b": "running", "i-0c": "stopped"}
    gone, absent = orphans(NAMES, states, missed=())
    assert (gone, absent) == ([], {"i-0a"})
    gone, _ = orphans(NAMES, states, missed=absent)
    assert gone == ["demo-worker-i-0a"]
