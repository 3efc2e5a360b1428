"""Auto Scaling's operations on top of the engine in :mod:`hubdeploy.sandbox.cloud.groups`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from hubdeploy.sandbox.cloud import groups
from hubdeploy.sandbox.cloud.fault import AwsFault
from hubdeploy.sandbox.cloud.hooks import Hooks

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.calls import Call
    from hubdeploy.sandbox.cloud.server import Cloud

hooks = Hooks()


def _engine(cloud: Cloud, call: Call) -> groups.Engine:
    return groups.Engine(cloud, call.account, call.region)


def _group(cloud: Cloud, call: Call) -> Any:
    name = call.params["AutoScalingGroupName"]
    found = cloud.backend("autoscaling", call.account, call.region).autoscaling_groups.get(name)
    if found is None:
        raise AwsFault("ValidationError", "AutoScalingGroup name not found - null")
    return found


@hooks.amend(
    "autoscaling",
    "CreateAutoScalingGroup",
    "UpdateAutoScalingGroup",
    "SetInstanceHealth",
    "ResumeProcesses",
    "DetachInstances",
    "AttachInstances",
    "SetInstanceProtection",
)
def followed(cloud: Cloud, _call: Call, _result: dict[str, Any]) -> None:
    cloud.touch()


@hooks.take("autoscaling", "SetDesiredCapacity")
def set_desired(cloud: Cloud, call: Call) -> dict[str, Any]:
    group = _group(cloud, call)
    wanted = int(call.params["DesiredCapacity"])
    if wanted > group.max_size:
        raise AwsFault(
            "ValidationError",
            f"New SetDesiredCapacity value {wanted} is above max value {group.max_size} for the "
            "AutoScalingGroup.",
        )
    if wanted < group.min_size:
        raise AwsFault(
            "ValidationError",
            f"New SetDesiredCapacity value {wanted} is below min value {group.min_size} for the "
            "AutoScalingGroup.",
        )
    group.desired_capacity = wanted
    cloud.touch()
    return {}


@hooks.take("autoscaling", "TerminateInstanceInAutoScalingGroup")
def end_member(cloud: Cloud, call: Call) -> dict[str, Any]:
    decrement = bool(call.params["ShouldDecrementDesiredCapacity"])
    activity = _engine(cloud, call).end_by_request(call.params["InstanceId"], decrement=decrement)
    return {"Activity": activity.shown()}


@hooks.take("autoscaling", "DescribeScalingActivities")
def activities(cloud: Cloud, call: Call) -> dict[str, Any]:
    name, wanted = call.params.get("AutoScalingGroupName"), call.params.get("ActivityIds")
    found = [
        activity.shown()
        for activity in groups.site_of(cloud, call.account, call.region).activities
        if (not name or activity.group == name) and (not wanted or activity.ident in wanted)
    ]
    start, size = int(call.params.get("NextToken") or 0), int(call.params.get("MaxRecords") or 100)
    answer: dict[str, Any] = {"Activities": found[start : start + size]}
    if start + size < len(found):
        answer["NextToken"] = str(start + size)
    return answer


@hooks.take("autoscaling", "DeleteAutoScalingGroup")
def delete(cloud: Cloud, call: Call) -> dict[str, Any]:
    group = _group(cloud, call)
    site = groups.site_of(cloud, call.account, call.region)
    if not call.params.get("ForceDelete"):
        if group.instance_states:
            raise AwsFault(
                "ResourceInUse",
                "You cannot delete an AutoScalingGroup while there are instances or pending Spot "
                "instance request(s) still in the group.",
            )
        if any(not activity.ended for activity in site.activities if activity.group == group.name):
            raise AwsFault(
                "ScalingActivityInProgress",
                f"You cannot delete an AutoScalingGroup while there are scaling activities in "
                f"progress for the group {group.name}.",
            )
    site.deleting.setdefault(group.name, time.monotonic() + cloud.settings.group_delete_delay)
    cloud.touch()
    return {}


@hooks.amend("autoscaling", "DescribeAutoScalingGroups")
def described(cloud: Cloud, call: Call, result: dict[str, Any]) -> None:
    site = groups.site_of(cloud, call.account, call.region)
    held = cloud.backend("autoscaling", call.account, call.region).autoscaling_groups
    for entry in result["AutoScalingGroups"]:
        group = held[entry["AutoScalingGroupName"]]
        if group.name in site.deleting:
            entry["Status"] = "Delete in progress"
        versions = {m.instance.id: _version(m) for m in group.instance_states}
        for member in entry.get("Instances", []):
            if "LaunchTemplate" in member and versions.get(member["InstanceId"]):
                member["LaunchTemplate"]["Version"] = versions[member["InstanceId"]]


def _version(member: Any) -> str:
    return str(getattr(member, "hubdeploy_version", ""))
