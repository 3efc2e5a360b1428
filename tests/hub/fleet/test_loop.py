"""The fleet against the embedded AWS (with the leader's real policy) and a stand-in swarm."""

from __future__ import annotations

import json
from dataclasses import replace

from hubdeploy.config.limits import Limits
from hubdeploy.config.names import (
    LABEL_INSTANCE,
    LABEL_TYPE,
    LABEL_ZONE,
    Role,
)
from hubdeploy.hub.fleet.model import LABEL_FLEET, Life, Pending
from tests.hub.fleet.conftest import GIB, TYPE, Yard
from tests.plugins.dockerapi import Fault


def test_a_machines_whole_life_from_the_first_waiting_user_to_being_forgotten(yard: Yard) -> None:
    fleet = yard.fleet()
    assert yard.tick(fleet) == []
    yard.start_server("ann")
    assert yard.tick(fleet) == ["SetDesired hubdeploy-demo-workers-m6i.xlarge"]
    (instance,) = yard.started(1)
    assert yard.tick(fleet) == [], "a machine that will do is on its way"
    node = yard.join(instance)
    assert yard.tick(fleet) == [f"Activate {instance}"]
    spec = yard.swarm.cluster.node(node)["Spec"]
    assert spec["Availability"] == "active"
    assert spec["Labels"][LABEL_INSTANCE] == instance
    assert spec["Labels"][LABEL_TYPE] == TYPE
    assert spec["Labels"][LABEL_ZONE]
    yard.swarm.wait(lambda: any(t.get("NodeID") == node for t in yard.swarm.tasks()))
    assert yard.tick(fleet) == []
    assert fleet.view.seen is not None
    assert fleet.view.seen.workers[0].users == ("ann",)

    yard.stop_server("ann")
    yard.swarm.wait(lambda: not yard.swarm.tasks())
    assert yard.tick(fleet) == []
    assert yard.tick(fleet, seconds=301) == [f"Cordon {instance}"]
    assert yard.swarm.cluster.node(node)["Spec"]["Availability"] == "pause"
    assert yard.tick(fleet) == [f"Drain {instance}"]
    assert yard.tick(fleet) == [f"Unprotect {instance}", f"Terminate {instance}"]
    assert yard.desired() == 0
    yard.cloud.wait(lambda: not yard.instances(), what="the group's end of it")
    assert yard.tick(fleet) == [], "its node is not down yet"
    yard.swarm.set_node(node, state="down")
    assert yard.tick(fleet) == [f"ForgetSwarmNode {instance}", f"ForgetChefNode {instance}"]
    assert node not in yard.swarm.cluster.nodes
    assert yard.forgotten == [f"demo-worker-{instance}"]
    names = yard.cloud.client("ssm").describe_parameters()["Parameters"]
    assert not [p for p in names if "/phase/" in p["Name"]]
    assert yard.tick(fleet) == []
    assert fleet.view.seen is not None
    assert fleet.view.seen.workers == ()


def test_a_service_restarted_at_every_step_goes_on_from_there(yard: Yard) -> None:
    yard.start_server("ann")
    done = yard.tick(yard.fleet())
    (instance,) = yard.started(1)
    node = yard.join(instance)
    done += yard.tick(yard.fleet())
    yard.swarm.wait(lambda: any(t.get("NodeID") == node for t in yard.swarm.tasks()))
    yard.stop_server("ann")
    yard.swarm.wait(lambda: not yard.swarm.tasks())
    for seconds in (20, 301, 20, 20):
        done += yard.tick(yard.fleet(), seconds=seconds)
    yard.cloud.wait(lambda: not yard.instances(), what="the group's end of it")
    yard.swarm.set_node(node, state="down")
    done += yard.tick(yard.fleet())
    assert [words.split()[0] for words in done] == [
        "SetDesired",
        "Activate",
        "Cordon",
        "Drain",
        "Unprotect",
        "Terminate",
        "ForgetSwarmNode",
        "ForgetChefNode",
    ]


def test_a_burst_of_two_hundred_asks_for_capacity_once(yard: Yard) -> None:
    yard.limits = Limits(max_nodes=60, headroom=0)
    fleet = yard.fleet()
    for number in range(200):
        yard.start_server(f"user{number}")
    done = yard.tick(fleet)
    assert done == [
        "SetMaxSize hubdeploy-demo-workers-m6i.xlarge",
        "SetDesired hubdeploy-demo-workers-m6i.xlarge",
    ]
    # 16 GiB, of which the system shows 15: 7 servers of 2 GiB a machine
    assert yard.desired() == 29
    for _ in range(3):
        assert yard.tick(fleet) == []
    assert len(yard.cloud.calls.find("autoscaling:SetDesiredCapacity", role=None)) == 1


def test_a_machine_that_never_joins_is_ended_and_its_console_kept(yard: Yard) -> None:
    fleet = yard.fleet()
    yard.start_server("ann")
    yard.tick(fleet)
    (instance,) = yard.started(1)
    yard.say(instance, "converging", "recipe hub_worker")
    assert yard.tick(fleet, seconds=600) == []
    done = yard.tick(fleet, seconds=600)
    assert done[:2] == [f"Unprotect {instance}", f"Terminate {instance}"]
    assert "SetDesired hubdeploy-demo-workers-m6i.xlarge" in done, "somebody still waits"
    assert fleet.store.console(instance) is not None
    assert fleet.memory.failures == 1
    newest = [d for d in fleet.store.decisions() if d.kind == "Terminate"]
    assert newest[0].reason == "it has not joined within 900 s (was booting)"


def test_a_machine_that_says_it_failed_is_ended_at_once_with_its_words(yard: Yard) -> None:
    fleet = yard.fleet()
    yard.start_server("ann")
    yard.tick(fleet)
    (instance,) = yard.started(1)
    yard.say(instance, "failed", "apt: could not get lock")
    yard.tick(fleet)
    newest = [d for d in fleet.store.decisions() if d.kind == "Terminate"]
    assert newest[0].reason == "it failed to start: apt: could not get lock"


def test_a_spot_notice_cordons_the_machine_tells_its_user_and_starts_another(yard: Yard) -> None:
    fleet = yard.fleet()
    yard.start_server("ann")
    yard.tick(fleet)
    (instance,) = yard.started(1)
    node = yard.join(instance)
    yard.tick(fleet)
    yard.swarm.wait(lambda: any(t.get("NodeID") == node for t in yard.swarm.tasks()))
    home = yard.folder / "home" / "ann"
    home.mkdir()
    yard.tick(fleet)
    # what the machine's own watch writes; the fleet reads it of spot instances in turn
    yard.cloud.backend("ec2").get_instance(instance).lifecycle = "spot"
    yard.say(instance, "draining", "spot: terminate at 2026-01-01T00:02:00Z")
    done = yard.tick(fleet)
    assert done == [
        f"Cordon {instance}",
        f"TellUsers {instance}",
        "SetDesired hubdeploy-demo-workers-m6i.xlarge",
    ]
    (note,) = home.iterdir()
    assert "taken back at 00:02:00 UTC" in note.read_text(), "the time that AWS said"
    assert yard.swarm.cluster.node(node)["Spec"]["Labels"][LABEL_FLEET].startswith("spot:")
    assert yard.tick(fleet) == []
    assert yard.desired() == 2


def test_live_limits_win_and_a_broken_parameter_keeps_the_last_ones(yard: Yard) -> None:
    fleet = yard.fleet()
    fleet.change_limits(replace(yard.limits, max_nodes=1), by="ada")
    for number in range(30):
        yard.start_server(f"user{number}")
    yard.tick(fleet)
    assert yard.desired() == 1
    another = yard.fleet()
    yard.tick(another)
    assert another.view.limits.max_nodes == 1
    assert "RefuseNewServers" in {type(a).__name__ for a in another.view.actions}
    yard.cloud.client("ssm").put_parameter(
        Name=yard.names.parameters.limits, Value="{", Type="String", Overwrite=True
    )
    yard.tick(another)
    assert another.view.limits.max_nodes == 1
    assert "limits-unreadable" in {getattr(a, "code", "") for a in another.view.actions}


def test_a_full_file_system_refuses_new_servers(yard: Yard) -> None:
    yard.limits = Limits(max_nodes=3, max_disk_utilization=1)
    yard.cloud.backend("efs").file_systems_by_id[yard.file_system].size_value = 5 * GIB
    fleet = yard.fleet()
    yard.tick(fleet)
    assert fleet.view.seen is not None
    answer = fleet.admission(Pending(user="ann", memory=GIB, since=yard.now))
    assert fleet.view.seen.disk_used is not None
    assert not answer.allowed
    assert "disk is full" in answer.reason


def test_errors_of_aws_and_of_docker_are_survived_with_longer_pauses(yard: Yard) -> None:
    fleet = yard.fleet()
    yard.start_server("ann")
    yard.cloud.faults.inject("autoscaling", "DescribeAutoScalingGroups", "InternalFailure")
    yard.now += 20
    first, second = fleet.tick(), fleet.tick()
    assert first < second
    assert fleet.view.failed_ticks == 2
    assert "InternalFailure" in fleet.view.error
    yard.cloud.faults.clear()
    yard.swarm.fault(Fault(times=1, path="/nodes"))
    assert fleet.tick() > second
    assert "Docker" in fleet.view.error
    assert yard.tick(fleet) == ["SetDesired hubdeploy-demo-workers-m6i.xlarge"]
    assert fleet.view.failed_ticks == 0


def test_what_fails_is_tried_again_later_and_the_rest_is_done(yard: Yard) -> None:
    fleet = yard.fleet()
    yard.start_server("ann")
    yard.cloud.faults.inject("autoscaling", "SetDesiredCapacity", "ScalingActivityInProgress")
    yard.now += 20
    fleet.tick()
    (failed,) = fleet.store.decisions()
    assert not failed.ok
    assert "ScalingActivityInProgress" in failed.outcome
    calls = len(yard.cloud.calls.find("autoscaling:SetDesiredCapacity", role=None))
    yard.now += 5
    fleet.tick()
    assert len(yard.cloud.calls.find("autoscaling:SetDesiredCapacity", role=None)) == calls
    yard.cloud.faults.clear()
    assert yard.tick(fleet) == ["SetDesired hubdeploy-demo-workers-m6i.xlarge"]


def test_capacity_errors_of_aws_are_shown(yard: Yard) -> None:
    yard.cloud.settings.capacity_errors = {TYPE: "InsufficientInstanceCapacity"}
    fleet = yard.fleet()
    yard.start_server("ann")
    yard.tick(fleet)

    def shown() -> bool:
        yard.now += 20
        fleet.tick()
        return any(getattr(a, "code", "") == "launch-error" for a in fleet.view.actions)

    yard.cloud.wait(shown, what="the alarm")
    alarm = next(a for a in fleet.view.actions if getattr(a, "code", "") == "launch-error")
    assert TYPE in alarm.reason or "InsufficientInstanceCapacity" in alarm.reason


def test_a_node_let_in_by_hand_gets_its_labels(yard: Yard) -> None:
    fleet = yard.fleet()
    yard.cloud.client("autoscaling").set_desired_capacity(
        AutoScalingGroupName=yard.names.workers_group(TYPE), DesiredCapacity=1
    )
    (instance,) = yard.started(1)
    node = yard.join(instance)
    yard.swarm.set_node(node, availability="active")
    yard.tick(fleet)
    assert yard.swarm.cluster.node(node)["Spec"]["Labels"][LABEL_INSTANCE] == instance


def test_a_node_drained_by_hand_is_left_alone(yard: Yard) -> None:
    fleet = yard.fleet()
    yard.start_server("ann")
    yard.tick(fleet)
    (instance,) = yard.started(1)
    node = yard.join(instance)
    yard.tick(fleet)
    yard.swarm.set_node(node, availability="drain")
    for _ in range(3):
        done = yard.tick(fleet, seconds=400)
        assert not [words for words in done if instance in words]
    assert fleet.view.seen is not None
    (worker,) = [w for w in fleet.view.seen.workers if w.instance == instance]
    assert worker.life is Life.CORDONED


def test_the_admission_tells_what_a_server_will_wait_for(yard: Yard) -> None:
    yard.limits = Limits(max_nodes=1, headroom=0, max_concurrent_users=30)
    fleet = yard.fleet()

    def ask(user: str = "ann", gib: int = 2) -> tuple[bool, str]:
        answer = fleet.admission(
            Pending(user=user, memory=gib * GIB, cpu=500_000_000, since=yard.now)
        )
        return answer.allowed, answer.waiting_for

    assert ask() == (True, ""), "before the first look nobody is kept out"
    yard.tick(fleet)
    assert ask("zoe", gib=64) == (False, "limit")
    assert ask() == (True, "machine")
    assert yard.tick(fleet, seconds=5) == ["SetDesired hubdeploy-demo-workers-m6i.xlarge"], (
        "it counts"
    )
    (instance,) = yard.started(1)
    yard.tick(fleet, seconds=5)
    coming = fleet.admission(Pending(user="bob", memory=2 * GIB, since=yard.now))
    assert (coming.allowed, coming.waiting_for) == (True, "machine")
    assert coming.eta is not None
    yard.join(instance)
    yard.tick(fleet)
    yard.tick(fleet)
    assert ask() == (True, "")
    for number in range(8):
        yard.start_server(f"user{number}")
    yard.swarm.wait(lambda: sum(bool(t.get("NodeID")) for t in yard.swarm.tasks()) >= 7)
    yard.tick(fleet, seconds=60)
    assert ask("bob") == (False, "limit")


def test_the_leaders_own_disk_is_told_to_the_alarm_that_watches_it(yard: Yard) -> None:
    fleet = yard.fleet()
    for _ in range(3):
        yard.tick(fleet)
    (call,) = yard.cloud.calls.find("cloudwatch:PutMetricData", role=None)
    assert not call.error
    (datum,) = call.params["MetricData"]
    assert 0 < datum["Value"] < 100
    assert {d["Name"]: d["Value"] for d in datum["Dimensions"]} == {
        "Deployment": "demo",
        "Role": "leader",
    }


def test_the_history_is_kept_and_bounded(yard: Yard) -> None:
    fleet = yard.fleet()
    yard.start_server("ann")
    yard.tick(fleet)
    for _ in range(5):
        yard.tick(fleet, seconds=61)
    again = yard.fleet()
    assert len(again.store.samples(0)) == 6
    assert again.store.samples(0)[-1].waiting == 1
    assert [d.kind for d in again.store.decisions()] == ["SetDesired"]


def test_the_leaders_policy_allows_all_that_the_fleet_does_and_no_more(yard: Yard) -> None:
    document = json.dumps(
        yard.cloud.client("iam").get_role_policy(
            RoleName=yard.names.machine_role(Role.LEADER), PolicyName="leader"
        )["PolicyDocument"]
    )
    for action in (
        "ec2:TerminateInstances",
        "ec2:RunInstances",
        "autoscaling:DeleteAutoScalingGroup",
    ):
        assert action not in document
    assert "autoscaling:*" not in document
