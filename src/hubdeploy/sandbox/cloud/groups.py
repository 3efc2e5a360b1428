"""Auto Scaling as it behaves: members come and go by themselves, with activities that say why.

moto's own launcher acts within the request, ignores most of the launch template and orphans
protected members; it is switched off here and only keeps the groups' settings.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hubdeploy.sandbox.cloud.credentials import Principal
from hubdeploy.sandbox.cloud.fault import AwsFault
from hubdeploy.sandbox.cloud.overlay import instances as ec2_instances

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.server import Cloud

log = logging.getLogger(__name__)
GROUP_TAG = "aws:autoscaling:groupName"
_LIVE = ("Pending", "InService")


def replace_motos_launcher() -> None:
    """Make moto's groups keep the desired capacity and do nothing about it."""
    from moto.autoscaling import models

    def set_desired_capacity(self: Any, new_capacity: int | None) -> None:
        self.desired_capacity = self.min_size if new_capacity is None else new_capacity

    def nothing(_self: Any, *_args: Any, **_kwargs: Any) -> None:
        """The engine below launches and replaces."""

    change = models.FakeAutoScalingGroup.update

    def update(self: Any, **changes: Any) -> None:
        """An update that names no template leaves the group's as it is; moto drops a mixed one."""
        before = self.mixed_instances_policy
        change(self, **changes)
        if not changes.get("launch_template") and not changes.get("launch_config_name"):
            self.mixed_instances_policy = changes.get("mixed_instances_policy") or before

    models.FakeAutoScalingGroup.update = update
    models.FakeAutoScalingGroup.set_desired_capacity = set_desired_capacity
    models.FakeAutoScalingGroup.replace_autoscaling_group_instances = nothing
    models.AutoScalingBackend.notify_terminate_instances = nothing


@dataclass
class Activity:
    """One scaling activity, as DescribeScalingActivities shows it."""

    group: str
    description: str
    cause: str
    ident: str = field(default_factory=lambda: str(uuid.uuid4()))
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    ended: datetime | None = None
    status: str = "InProgress"
    message: str = ""
    instance: str = ""

    def end(self, status: str, message: str = "") -> None:
        self.ended, self.status, self.message = datetime.now(UTC), status, message

    def shown(self) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "ActivityId": self.ident,
            "AutoScalingGroupName": self.group,
            "Description": self.description,
            "Cause": self.cause,
            "StartTime": self.started,
            "StatusCode": self.status,
            "Progress": 100 if self.ended else 50,
            "Details": "{}",
        }
        if self.ended:
            entry["EndTime"] = self.ended
        if self.message:
            entry["StatusMessage"] = self.message
        return entry


@dataclass
class Site:
    """The groups of one account and region, beyond what moto keeps."""

    activities: list[Activity] = field(default_factory=list)
    retry_at: dict[str, float] = field(default_factory=dict)
    deleting: dict[str, float] = field(default_factory=dict)
    """Groups being deleted -> when they may go (monotonic)."""
    open: dict[str, Activity] = field(default_factory=dict)
    """Instance id -> the activity that is under way for it."""


def site_of(cloud: Cloud, account: str, region: str) -> Site:
    return cloud.store(account, region, "groups", Site)


def suspended(group: Any, process: str) -> bool:
    return process in group._suspended_processes


class Engine:
    """Brings groups to their desired capacity, one step at a time."""

    def __init__(self, cloud: Cloud, account: str, region: str) -> None:
        self.cloud, self.account, self.region = cloud, account, region
        self.site = site_of(cloud, account, region)
        self.ec2 = cloud.backend("ec2", account, region)
        self.backend = cloud.backend("autoscaling", account, region)

    def tick(self) -> float | None:
        """Do what is due; seconds until something is due by itself, or None."""
        later: list[float] = []
        for group in list(self.backend.autoscaling_groups.values()):
            with self.cloud.lock:
                self._follow_members(group)
                if group.name in self.site.deleting:
                    self._delete(group)
                    later.append(0.05)
                    continue
                missing = (group.desired_capacity or 0) - len(self._live(group))
                if missing > 0 and not suspended(group, "Launch"):
                    wait = self.site.retry_at.get(group.name, 0.0) - time.monotonic()
                    if wait > 0:
                        later.append(wait)
                    else:
                        self._launch(group, missing)
                        if self.site.retry_at.get(group.name, 0.0) > time.monotonic():
                            later.append(self.cloud.settings.launch_retry)
                elif missing < 0 and not suspended(group, "Terminate"):
                    self._shrink(group, -missing)
        return min(later, default=None)

    def _live(self, group: Any) -> list[Any]:
        return [member for member in group.instance_states if member.lifecycle_state in _LIVE]

    # ---- members -----------------------------------------------------------------------------

    def _follow_members(self, group: Any) -> None:
        for member in list(group.instance_states):
            state = member.instance.state
            if state == "terminated":
                self._gone(group, member)
            elif member.lifecycle_state == "Pending" and state == "running":
                member.lifecycle_state = "InService"
                self._end(member.instance.id, "Successful")
            elif member.lifecycle_state == "InService" and (
                state in ("shutting-down", "stopping", "stopped")
                or member.health_status.lower() == "unhealthy"
            ):
                self._unhealthy(group, member, state)

    def _gone(self, group: Any, member: Any) -> None:
        instance = member.instance
        if member.lifecycle_state == "Pending":
            self._end(instance.id, "Failed", instance._reason or "Instance failed to launch.")
            self.site.retry_at[group.name] = time.monotonic() + self.cloud.settings.launch_retry
        elif member.lifecycle_state == "InService":
            self._note_taken_out(group, instance.id, "EC2 instance status checks failure")
        self._end(instance.id, "Successful")
        group.instance_states = [m for m in group.instance_states if m is not member]

    def _unhealthy(self, group: Any, member: Any, state: str) -> None:
        """A member that somebody else stopped or ended is replaced, unless that is suspended."""
        if state == "shutting-down":
            member.health_status = "Unhealthy"
            member.lifecycle_state = "Terminating"
            self._note_taken_out(
                group,
                member.instance.id,
                "an instance was taken out of service in response to an "
                "EC2 health check indicating it has been terminated or stopped.",
            )
            return
        if suspended(group, "HealthCheck") and member.health_status == "Healthy":
            return
        member.health_status = "Unhealthy"
        if not suspended(group, "ReplaceUnhealthy") and not suspended(group, "Terminate"):
            self._end_member(group, member, cause="an unhealthy instance needs replacing.")

    def _note_taken_out(self, group: Any, ident: str, cause: str) -> None:
        if ident not in self.site.open:
            self._begin(group, f"Terminating EC2 instance: {ident}", cause, ident)

    def _begin(self, group: Any, description: str, cause: str, ident: str = "") -> Activity:
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        activity = Activity(group.name, description, f"At {moment} {cause}", instance=ident)
        self.site.activities.insert(0, activity)
        if ident:
            self.site.open[ident] = activity
        return activity

    def _end(self, ident: str, status: str, message: str = "") -> None:
        activity = self.site.open.pop(ident, None)
        if activity is not None:
            activity.end(status, message)

    # ---- growing -----------------------------------------------------------------------------

    def _launch(self, group: Any, count: int) -> None:
        for _ in range(count):
            try:
                self._launch_one(group)
            except AwsFault as fault:
                cause = "an instance was started in response to a difference between desired and "
                activity = self._begin(
                    group, "Launching a new EC2 instance", cause + "actual capacity."
                )
                activity.end("Failed", f"{fault.message} Launching EC2 instance failed.")
                self.site.retry_at[group.name] = time.monotonic() + self.cloud.settings.launch_retry
                log.info("group %s could not launch: %s", group.name, fault)
                return

    def _launch_one(self, group: Any) -> None:
        types, spec, spot = self._wanted(group)
        last: AwsFault | None = None
        for subnet in self._subnets(group):
            for instance_type in types:
                params: dict[str, Any] = {
                    "MinCount": 1,
                    "MaxCount": 1,
                    "SubnetId": subnet,
                    "LaunchTemplate": spec,
                }
                tags = self._member_tags(group)
                if tags:
                    params["TagSpecifications"] = [{"ResourceType": "instance", "Tags": tags}]
                if instance_type:
                    params["InstanceType"] = instance_type
                if spot:
                    params["InstanceMarketOptions"] = {"MarketType": "spot"}
                try:
                    self.cloud.faults.strike("autoscaling", "Launch")
                    answer = self._run(params)
                except AwsFault as fault:
                    last = fault
                    continue
                self._join(group, answer["Instances"][0]["InstanceId"])
                return
        raise last or AwsFault("ValidationError", "The group has no subnet.")

    def _run(self, params: dict[str, Any]) -> dict[str, Any]:
        return self.cloud.invoke(
            "ec2",
            "RunInstances",
            params,
            region=self.region,
            principal=Principal(account=self.account, service="autoscaling"),
        )

    def _wanted(self, group: Any) -> tuple[list[str], dict[str, str], bool]:
        """(types in order of preference, launch template, whether the next one is spot)."""
        spec: dict[str, str] = {
            "LaunchTemplateId": group.ec2_launch_template.id,
            "Version": str(group.launch_template_version),
        }
        policy = group.mixed_instances_policy
        if not policy:
            return [""], spec, False
        overrides = policy["LaunchTemplate"].get("Overrides") or []
        types = [o["InstanceType"] for o in overrides if "InstanceType" in o] or [""]
        distribution = policy.get("InstancesDistribution", {})
        base = int(distribution.get("OnDemandBaseCapacity", 0) or 0)
        share = int(distribution.get("OnDemandPercentageAboveBaseCapacity", 100))
        live = self._live(group)
        spots = len([m for m in live if m.instance.lifecycle == "spot"])
        above = max(0, len(live) + 1 - base)
        # the share is of the capacity above the base; on-demand wins the rounding, as on AWS
        return types, spec, spots < above - -(-above * share // 100)

    def _subnets(self, group: Any) -> list[str]:
        """The zone with the fewest members first."""
        subnets = (group.vpc_zone_identifier or "").split(",")
        counts = Counter(member.instance.subnet_id for member in self._live(group))
        return sorted(filter(None, subnets), key=lambda subnet: counts[subnet])

    def _member_tags(self, group: Any) -> list[dict[str, str]]:
        tags = {tag["Key"]: tag["Value"] for tag in group.tags if tag.get("PropagateAtLaunch")}
        return [{"Key": key, "Value": value} for key, value in tags.items()]

    def _join(self, group: Any, ident: str) -> None:
        from moto.autoscaling.models import InstanceState

        instance = self.ec2.get_instance(ident)
        instance.add_tags({GROUP_TAG: group.name})
        instance.autoscaling_group = group
        member = InstanceState(
            instance,
            lifecycle_state="Pending",
            protected_from_scale_in=group.new_instances_protected_from_scale_in,
        )
        _, version = self._version(group)
        member.hubdeploy_version = str(version.number)
        group.instance_states.append(member)
        self._begin(
            group,
            f"Launching a new EC2 instance: {ident}",
            "an instance was started in response to a difference between desired and actual "
            "capacity, increasing the capacity.",
            ident,
        )

    def _version(self, group: Any) -> tuple[Any, Any]:
        wanted = str(group.launch_template_version)
        template = group.ec2_launch_template
        number = {
            "$Latest": template.latest_version_number,
            "$Default": template.default_version_number,
        }.get(wanted, wanted)
        return template, next(v for v in template.versions if str(v.number) == str(number))

    # ---- shrinking ---------------------------------------------------------------------------

    def _shrink(self, group: Any, count: int) -> None:
        free = [member for member in self._live(group) if not member.protected_from_scale_in]
        for member in sorted(free, key=lambda m: m.instance.launch_time)[:count]:
            self._end_member(
                group,
                member,
                cause="an instance was taken out of service in response to a difference between "
                "desired and actual capacity, shrinking the capacity.",
            )

    def _end_member(self, group: Any, member: Any, *, cause: str) -> Activity:
        ident = member.instance.id
        self._end(ident, "Cancelled")
        member.lifecycle_state = "Terminating"
        activity = self._begin(group, f"Terminating EC2 instance: {ident}", cause, ident)
        self.terminate(member.instance)
        return activity

    def terminate(self, instance: Any) -> None:
        if instance.state in ("terminated", "shutting-down"):
            return
        ec2_instances.end(instance)
        ec2_instances.set_state(instance, "shutting-down")
        self.cloud.touch()

    def end_by_request(self, ident: str, *, decrement: bool) -> Activity:
        """TerminateInstanceInAutoScalingGroup; raises when it is in no group."""
        for group in self.backend.autoscaling_groups.values():
            for member in group.instance_states:
                if member.instance.id != ident:
                    continue
                if decrement:
                    if group.desired_capacity - 1 < (group.min_size or 0):
                        raise AwsFault(
                            "ValidationError",
                            "Currently, desiredSize equals minSize "
                            f"({group.min_size}). Terminating instance without replacement will "
                            "violate group's min size constraint. Either set "
                            "shouldDecrementDesiredCapacity flag to false or lower group's "
                            "min size.",
                        )
                    group.desired_capacity -= 1
                cause = "instance was taken out of service in response to a user request"
                return self._end_member(group, member, cause=cause)
        raise AwsFault(
            "ValidationError", f"Instance Id not found - No managed instance found for id: {ident}"
        )

    def _delete(self, group: Any) -> None:
        for member in group.instance_states:
            if member.lifecycle_state != "Terminating":
                self._end_member(group, member, cause="the group is being deleted.")
        if not group.instance_states and time.monotonic() >= self.site.deleting[group.name]:
            del self.backend.autoscaling_groups[group.name]
            del self.site.deleting[group.name]
