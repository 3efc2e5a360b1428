"""Auto scaling groups behave as on AWS: by themselves, with reasons, and not against protection."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.plugins.aws import CloudAccount
from tests.sandbox.cloud.test_network_order import refused
from tests.sandbox.cloud.world import World


@pytest.fixture
def group(world: World) -> World:
    """A group of two protected workers, in service."""
    world.template()
    world.group()
    world.in_service(2)
    return world


def _asg(world: World) -> Any:
    return world.cloud.client("autoscaling")


def _activities(world: World) -> list[dict[str, Any]]:
    found = _asg(world).describe_scaling_activities(AutoScalingGroupName="workers")
    return list(found["Activities"])


def test_members_are_spread_tagged_protected_and_have_the_templates_profile(group: World) -> None:
    members = group.members()
    assert Counter(m["AvailabilityZone"] for m in members) == {
        f"{group.cloud.region}a": 1,
        f"{group.cloud.region}b": 1,
    }
    assert all(m["ProtectedFromScaleIn"] for m in members)
    assert all(m["LaunchTemplate"]["Version"] == "1" for m in members)
    for member in members:
        instance = group.instance(member["InstanceId"])
        tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
        assert tags["aws:autoscaling:groupName"] == "workers"
        assert tags["hubdeploy:role"] == "worker"
        assert instance["IamInstanceProfile"]["Arn"].endswith("/machine")
        assert instance["MetadataOptions"]["HttpTokens"] == "required"


def test_a_member_is_pending_until_its_machine_runs(world: World) -> None:
    world.cloud.plan.power_on = 0.3
    world.template()
    world.group(DesiredCapacity=1)
    world.cloud.wait(lambda: [m["LifecycleState"] for m in world.members()] == ["Pending"])
    assert _activities(world)[0]["StatusCode"] == "InProgress"
    world.in_service(1)
    assert _activities(world)[0]["StatusCode"] == "Successful"


def test_protected_members_survive_a_lower_capacity(group: World) -> None:
    before = {m["InstanceId"] for m in group.members()}
    _asg(group).set_desired_capacity(AutoScalingGroupName="workers", DesiredCapacity=0)
    _asg(group).set_desired_capacity(AutoScalingGroupName="workers", DesiredCapacity=2)
    assert {m["InstanceId"] for m in group.members()} == before


def test_unprotected_members_go_when_the_capacity_falls(group: World) -> None:
    one = group.members()[0]["InstanceId"]
    _asg(group).set_instance_protection(
        AutoScalingGroupName="workers", InstanceIds=[one], ProtectedFromScaleIn=False
    )
    _asg(group).set_desired_capacity(AutoScalingGroupName="workers", DesiredCapacity=1)
    group.wait_for(one, "terminated")
    assert one not in group.in_service(1)


def test_a_member_that_is_ended_with_decrement_is_not_replaced(group: World) -> None:
    one = group.members()[0]["InstanceId"]
    answer = _asg(group).terminate_instance_in_auto_scaling_group(
        InstanceId=one, ShouldDecrementDesiredCapacity=True
    )
    assert one in answer["Activity"]["Description"]
    group.wait_for(one, "terminated")
    group.in_service(1)
    found = _asg(group).describe_auto_scaling_groups()["AutoScalingGroups"][0]
    assert found["DesiredCapacity"] == 1
    assert len(group.ec2.describe_instances()["Reservations"]) == 2


def test_a_member_that_is_ended_without_decrement_is_replaced(group: World) -> None:
    one = group.members()[0]["InstanceId"]
    _asg(group).terminate_instance_in_auto_scaling_group(
        InstanceId=one, ShouldDecrementDesiredCapacity=False
    )
    group.wait_for(one, "terminated")
    assert one not in group.in_service(2)


def test_a_member_whose_machine_dies_is_replaced(group: World) -> None:
    one = group.members()[0]["InstanceId"]
    group.cloud.machines.kill(one)
    group.wait_for(one, "terminated")
    assert one not in group.in_service(2)
    assert any("health check" in a["Cause"] for a in _activities(group))


def test_suspended_launches_launch_nothing(group: World) -> None:
    _asg(group).suspend_processes(AutoScalingGroupName="workers", ScalingProcesses=["Launch"])
    _asg(group).set_desired_capacity(AutoScalingGroupName="workers", DesiredCapacity=3)
    group.ec2.terminate_instances(InstanceIds=[group.members()[0]["InstanceId"]])
    group.in_service(1)
    _asg(group).resume_processes(AutoScalingGroupName="workers", ScalingProcesses=["Launch"])
    group.in_service(3)


@pytest.mark.parametrize("cause", ["type", "injected"])
def test_a_launch_that_fails_says_why_and_is_tried_again(world: World, cause: str) -> None:
    if cause == "type":
        world.cloud.settings.capacity_errors = {"t3.small": "InsufficientInstanceCapacity"}
    else:
        world.cloud.faults.inject(
            *("autoscaling", "Launch", "InsufficientInstanceCapacity"),
            message="We currently do not have sufficient capacity.",
        )
    world.template()
    world.group(DesiredCapacity=1)

    def failed() -> bool:
        found = _activities(world)
        return bool(found) and found[0]["StatusCode"] == "Failed"

    world.cloud.wait(failed, what="a failed activity")
    assert "sufficient" in _activities(world)[0]["StatusMessage"]
    assert world.members() == []
    world.cloud.settings.capacity_errors = {}
    world.cloud.faults.clear()
    world.in_service(1)


def test_other_types_of_a_mixed_group_stand_in(world: World) -> None:
    world.cloud.settings.capacity_errors = {"t3.small": "InsufficientInstanceCapacity"}
    world.template()
    policy = {
        "LaunchTemplate": {
            "LaunchTemplateSpecification": {
                "LaunchTemplateName": "workers",
                "Version": "$Latest",
            },
            "Overrides": [{"InstanceType": "t3.small"}, {"InstanceType": "t3.large"}],
        },
        "InstancesDistribution": {
            "OnDemandBaseCapacity": 1,
            "OnDemandPercentageAboveBaseCapacity": 50,
        },
    }
    world.group(LaunchTemplate=None, MixedInstancesPolicy=policy, DesiredCapacity=3)
    found = [world.instance(ident) for ident in world.in_service(3)]
    assert {instance["InstanceType"] for instance in found} == {"t3.large"}
    spots = [i for i in found if i.get("InstanceLifecycle") == "spot"]
    assert len(spots) == 1
    # a change of something else leaves the policy as it is
    _asg(world).update_auto_scaling_group(AutoScalingGroupName="workers", MaxSize=9)
    (shown,) = _asg(world).describe_auto_scaling_groups()["AutoScalingGroups"]
    overrides = shown["MixedInstancesPolicy"]["LaunchTemplate"]["Overrides"]
    assert [each["InstanceType"] for each in overrides] == ["t3.small", "t3.large"]


def test_a_group_with_members_is_deleted_only_by_force(group: World) -> None:
    asg = _asg(group)
    delete = asg.delete_auto_scaling_group
    assert refused(delete, AutoScalingGroupName="workers") == "ResourceInUse"
    group.cloud.plan.power_off = 0.2
    ids = [m["InstanceId"] for m in group.members()]
    delete(AutoScalingGroupName="workers", ForceDelete=True)
    (found,) = asg.describe_auto_scaling_groups()["AutoScalingGroups"]
    assert found["Status"] == "Delete in progress"
    with pytest.raises(ClientError, match="pending delete"):
        group.group()
    update = {"AutoScalingGroupName": "workers", "MaxSize": 9}
    assert refused(asg.update_auto_scaling_group, **update) == "ScalingActivityInProgress"
    group.cloud.wait(lambda: not asg.describe_auto_scaling_groups()["AutoScalingGroups"])
    assert {group.state(ident) for ident in ids} == {"terminated"}
    group.group(DesiredCapacity=0)


def test_a_groups_name_is_taken_once(group: World) -> None:
    with pytest.raises(ClientError) as caught:
        group.group()
    assert caught.value.response["Error"]["Code"] == "AlreadyExists"


@pytest.mark.parametrize(
    "changes",
    [
        {"DesiredCapacity": 9},
        {"MinSize": 6, "DesiredCapacity": None},
        {"VPCZoneIdentifier": "subnet-0123456789abcdef0"},
        {"LaunchTemplate": {"LaunchTemplateName": "none", "Version": "$Latest"}},
        {"LaunchTemplate": {"LaunchTemplateName": "workers", "Version": "7"}},
    ],
)
def test_a_group_that_could_not_launch_is_refused(world: World, changes: dict[str, Any]) -> None:
    world.template()
    with pytest.raises(ClientError) as caught:
        world.group(**changes)
    assert caught.value.response["Error"]["Code"] == "ValidationError"


def test_a_profile_that_is_not_known_yet_keeps_the_group_from_being_made(world: World) -> None:
    world.template()
    world.cloud.settings.profile_delay = 60
    with pytest.raises(ClientError, match="Invalid IAM Instance Profile"):
        world.group()


def test_capacity_has_to_stay_within_the_groups_sizes(group: World) -> None:
    desire = _asg(group).set_desired_capacity
    request = {"AutoScalingGroupName": "workers", "DesiredCapacity": 6}
    assert refused(desire, **request) == "ValidationError"
    end = _asg(group).terminate_instance_in_auto_scaling_group
    _asg(group).update_auto_scaling_group(AutoScalingGroupName="workers", MinSize=2)
    one = group.members()[0]["InstanceId"]
    request = {"InstanceId": one, "ShouldDecrementDesiredCapacity": True}
    assert refused(end, **request) == "ValidationError"


def test_new_members_take_the_new_version_of_the_template(group: World) -> None:
    group.ec2.create_launch_template_version(
        LaunchTemplateName="workers",
        SourceVersion="1",
        LaunchTemplateData={"InstanceType": "t3.large"},
    )
    _asg(group).set_desired_capacity(AutoScalingGroupName="workers", DesiredCapacity=3)
    found = [group.instance(ident) for ident in group.in_service(3)]
    (new,) = [instance for instance in found if instance["InstanceType"] == "t3.large"]
    # what the version does not name comes from the one it was made from
    assert new["ImageId"] == group.ami
    assert new["IamInstanceProfile"]["Arn"].endswith("/machine")
    versions = Counter(m["LaunchTemplate"]["Version"] for m in group.members())
    assert versions == {"1": 2, "2": 1}


def test_no_members_are_left_behind_by_the_fixture(cloud: CloudAccount) -> None:
    assert cloud.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"] == []
    assert cloud.machines.specs() == []
