"""One auto scaling group for each instance type: made, kept, retired, and gone when empty."""

from __future__ import annotations

from typing import Any

import pytest

from hubdeploy.aws.groups import instance_type, preference, workers_groups
from hubdeploy.aws.inventory import tags_of
from hubdeploy.config.names import TAG_TEMPLATE
from hubdeploy.pipeline.change import Action
from tests.plugins.aws import CloudAccount
from tests.steps.rig import Rig

FIRST, SECOND, GPU = "m6i.xlarge", "r6i.2xlarge", "g5.xlarge"
TWO: dict[str, Any] = {"workers": {"instance_types": [FIRST, SECOND], "min_nodes": 1}}
PROFILE = {"name": "gpu", "title": "With a GPU", "instance_type": GPU}


@pytest.fixture
def rig(cloud: CloudAccount) -> Rig:
    made = Rig(cloud, **TWO)
    made.up()
    return made


def groups(rig: Rig) -> dict[str, dict[str, Any]]:
    """By instance type, preferred first."""
    found = workers_groups(aws=rig.cloud.aws, names=rig.names)
    return {instance_type(group): group for group in found}


def suspended(group: dict[str, Any]) -> set[str]:
    return {item["ProcessName"] for item in group["SuspendedProcesses"]}


def set_desired(rig: Rig, kind: str, count: int) -> None:
    """As the fleet does it; returns when they run."""
    rig.cloud.client("autoscaling").set_desired_capacity(
        AutoScalingGroupName=rig.names.workers_group(kind), DesiredCapacity=count
    )

    def there() -> bool:
        members = groups(rig)[kind]["Instances"]
        return len(members) == count and all(m["LifecycleState"] == "InService" for m in members)

    rig.cloud.wait(there, what=f"{count} machines of {kind}")


def end(rig: Rig, kind: str) -> None:
    """As the fleet ends machines that have become empty."""
    asg = rig.cloud.client("autoscaling")
    for member in groups(rig)[kind]["Instances"]:
        asg.terminate_instance_in_auto_scaling_group(
            InstanceId=member["InstanceId"], ShouldDecrementDesiredCapacity=True
        )
    rig.cloud.wait(lambda: not groups(rig)[kind]["Instances"], what=f"no machine of {kind}")


def test_each_type_has_a_group_in_the_order_of_preference(rig: Rig) -> None:
    found = groups(rig)
    assert [(kind, preference(group)) for kind, group in found.items()] == [
        (FIRST, "1"),
        (SECOND, "2"),
    ]
    assert [group["DesiredCapacity"] for group in found.values()] == [1, 0]
    assert {group["MinSize"] for group in found.values()} == {0}
    assert {group["MaxSize"] for group in found.values()} == {10}
    templates = {tags_of(group)[TAG_TEMPLATE] for group in found.values()}
    assert len(templates) == 1, "all share one launch template"
    assert rig.plan() == []


def test_a_machine_is_of_its_groups_type(rig: Rig) -> None:
    set_desired(rig, SECOND, 1)
    (member,) = groups(rig)[SECOND]["Instances"]
    found = rig.cloud.aws.call("ec2", "describe_instances", InstanceIds=[member["InstanceId"]])
    assert found["Reservations"][0]["Instances"][0]["InstanceType"] == SECOND
    assert rig.plan() == [], "how many there are is the fleet's affair"


def test_the_share_of_spot_is_each_groups_and_the_least_number_the_first_ones(rig: Rig) -> None:
    spot: dict[str, Any] = {"workers": TWO["workers"] | {"spot_share": 60, "min_nodes": 2}}
    rig.up(**spot)
    found = [
        group["MixedInstancesPolicy"]["InstancesDistribution"] for group in groups(rig).values()
    ]
    assert [each["OnDemandPercentageAboveBaseCapacity"] for each in found] == [40, 40]
    assert [each["OnDemandBaseCapacity"] for each in found] == [2, 0]
    # the first group was raised to the new least number at once
    assert [group["DesiredCapacity"] for group in groups(rig).values()] == [2, 0]
    assert rig.plan(**spot) == []


def test_a_type_that_only_a_profile_names_gets_a_group_for_profiles(rig: Rig) -> None:
    rig.up(hub={"profiles": [PROFILE]})
    found = groups(rig)
    assert list(found) == [FIRST, SECOND, GPU]
    assert preference(found[GPU]) == "profiles"
    assert found[GPU]["DesiredCapacity"] == 0
    assert rig.plan(hub={"profiles": [PROFILE]}) == []


def test_a_new_type_is_added_in_place(rig: Rig) -> None:
    changes = rig.plan(workers={"instance_types": [FIRST, SECOND, GPU], "min_nodes": 1})
    made = [change for change in changes if change.resource.startswith("workers")]
    assert {change.resource for change in made} == {f"workers.{GPU}"}
    assert not any(change.resource == "template.workers" for change in changes)


def test_another_order_changes_only_the_tags(rig: Rig) -> None:
    turned = {"workers": {"instance_types": [SECOND, FIRST], "min_nodes": 1}}
    changes = [c for c in rig.plan(**turned) if c.resource.startswith("template")]
    assert changes == [], "a template that named the first type would replace every worker"
    rig.up(**turned)
    assert [preference(group) for group in groups(rig).values()] == ["1", "2"]
    assert list(groups(rig)) == [SECOND, FIRST]
    assert [group["DesiredCapacity"] for group in groups(rig).values()] == [0, 1]
    assert rig.plan(**turned) == []


def test_a_type_no_longer_wanted_is_retired_and_goes_when_it_is_empty(rig: Rig) -> None:
    set_desired(rig, SECOND, 1)
    (member,) = groups(rig)[SECOND]["Instances"]
    only = {"workers": {"instance_types": [FIRST], "min_nodes": 1}}
    assert not any(change.action is Action.DELETE for change in rig.plan(**only))
    rig.up(**only)
    old = groups(rig)[SECOND]
    assert preference(old) == "none"
    assert suspended(old) >= {"Launch", "AZRebalance"}
    assert [item["InstanceId"] for item in old["Instances"]] == [member["InstanceId"]]
    assert rig.plan(**only) == [], "it waits for the fleet to empty it"
    end(rig, SECOND)
    (change,) = rig.plan(**only)
    assert (change.action, change.resource) == (Action.DELETE, f"workers.{SECOND}")
    rig.up(**only)
    rig.cloud.wait(lambda: list(groups(rig)) == [FIRST], what="the old group to be gone")
    assert rig.plan(**only) == []


def test_a_group_that_never_had_a_machine_goes_at_once(rig: Rig) -> None:
    only = {"workers": {"instance_types": [FIRST], "min_nodes": 1}}
    rig.up(**only)
    rig.cloud.wait(lambda: list(groups(rig)) == [FIRST], what="the old group to be gone")
    assert rig.plan(**only) == []


def test_a_retired_type_that_comes_back_launches_again(rig: Rig) -> None:
    set_desired(rig, SECOND, 1)
    rig.up(workers={"instance_types": [FIRST], "min_nodes": 1})
    rig.up()
    assert "Launch" not in suspended(groups(rig)[SECOND])
    assert preference(groups(rig)[SECOND]) == "2"
    assert rig.plan() == []


def test_replacing_the_only_type_starts_the_new_one_and_ends_none(rig: Rig) -> None:
    set_desired(rig, FIRST, 2)
    other = {"workers": {"instance_types": [GPU], "min_nodes": 1}}
    rig.up(**other)
    found = groups(rig)
    assert preference(found[GPU]) == "1"
    assert preference(found[FIRST]) == "none"
    assert len(found[FIRST]["Instances"]) == 2


def test_down_ends_every_group_also_a_retired_one(rig: Rig) -> None:
    set_desired(rig, SECOND, 1)
    rig.up(workers={"instance_types": [FIRST], "min_nodes": 1})
    rig.down(delete_files="demo")
    assert groups(rig) == {}
    workers = [
        instance
        for entry in rig.cloud.aws.pages("ec2", "describe_instances", "Reservations")
        for instance in entry["Instances"]
        if instance["State"]["Name"] != "terminated"
    ]
    assert workers == []


def test_down_deletes_the_template_only_when_no_group_needs_it(rig: Rig) -> None:
    """AWS would let it go before, and a group without its template cannot launch."""
    rig.cloud.calls.clear()
    rig.down()
    ended = [call.name for call in rig.cloud.calls.mutations(account=rig.cloud.account)]
    groups_gone = len(ended) - ended[::-1].index("autoscaling:DeleteAutoScalingGroup")
    assert ended.index("ec2:DeleteLaunchTemplate") >= groups_gone
