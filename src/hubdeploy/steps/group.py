"""The workers' auto scaling group. How many there are, and which one ends, the hub's fleet says."""

from __future__ import annotations

from functools import partial
from typing import Any

from hubdeploy.aws.inventory import tags_of
from hubdeploy.aws.waiting import retry_codes
from hubdeploy.config.names import TAG_TEMPLATE, Role
from hubdeploy.errors import AwsError
from hubdeploy.pipeline.change import Changes, FieldChange, differences
from hubdeploy.steps import instances
from hubdeploy.steps.base import Part
from hubdeploy.steps.machine import PROPAGATION, unknown_profile
from hubdeploy.steps.parameters import live_limits

RESOURCE = "workers"
GRACE = 300
"""Seconds after its launch in which a worker's failing status check does not end it."""
SUSPENDED = ("AZRebalance",)
"""It would end workers in use to even out zones (buildkite/elastic-ci-stack-for-aws#435)."""
BATCH = 50
"""Instances whose protection one call sets."""
SPOT = "capacity-optimized-prioritized"


class Group(Part[dict[str, Any]]):
    """New workers are protected from scale-in: only the fleet ends one, when it is empty."""

    name = "workers.group"
    title = "Workers"
    needs = ("workers.template", "network.subnets", "parameters")

    def observe(self) -> dict[str, Any]:
        found = self.call(
            "autoscaling",
            "describe_auto_scaling_groups",
            AutoScalingGroupNames=[self.names.workers_group],
        )["AutoScalingGroups"]
        return dict(found[0]) if found else {}

    # ---- what it should be -------------------------------------------------------------------

    def template(self) -> dict[str, Any]:
        """The plain template for one type, a policy of several types or purchase options else."""
        workers = self.config.workers
        named = {"LaunchTemplateId": self.outputs["template"], "Version": "$Default"}
        if len(workers.instance_types) == 1 and not workers.spot_share:
            return {"LaunchTemplate": named}
        return {
            "MixedInstancesPolicy": {
                "LaunchTemplate": {
                    "LaunchTemplateSpecification": named,
                    "Overrides": [{"InstanceType": kind} for kind in workers.instance_types],
                },
                "InstancesDistribution": {
                    "OnDemandAllocationStrategy": "prioritized",
                    "OnDemandBaseCapacity": workers.min_nodes,
                    "OnDemandPercentageAboveBaseCapacity": 100 - workers.spot_share,
                    "SpotAllocationStrategy": SPOT,
                },
            }
        }

    def wanted(self) -> dict[str, Any]:
        """Settings by the names under which they are both read and set."""
        holds, _ = live_limits(self)
        return {
            "MinSize": holds.min_nodes,
            "MaxSize": holds.max_nodes,
            "VPCZoneIdentifier": ",".join(self.outputs["subnets.machines"]),
            "NewInstancesProtectedFromScaleIn": True,
            "HealthCheckType": "EC2",
            "HealthCheckGracePeriod": GRACE,
        }

    def group_tags(self) -> dict[str, str]:
        return {**self.tags(RESOURCE), TAG_TEMPLATE: self.outputs["template.digest"]}

    def _pairs(self, tags: dict[str, str]) -> list[dict[str, Any]]:
        # instances get theirs from the launch template
        return [
            {
                "ResourceId": self.names.workers_group,
                "ResourceType": "auto-scaling-group",
                "Key": key,
                "Value": value,
                "PropagateAtLaunch": False,
            }
            for key, value in tags.items()
        ]

    # ---- comparing ---------------------------------------------------------------------------

    def changes(self, observed: dict[str, Any]) -> Changes:
        name = self.names.workers_group
        if observed.get("Status"):
            yield self.waiting(RESOURCE, "the old group to be gone", self._gone)
            observed = {}
        if not observed:
            yield self.create(
                RESOURCE,
                f"auto scaling group {name}",
                self._create,
                {
                    "min": self.wanted()["MinSize"],
                    "max": self.wanted()["MaxSize"],
                    "types": " ".join(self.config.workers.instance_types),
                },
            )
        else:
            yield from self._update(observed)
            yield from self.retag(
                tags_of(observed),
                self.group_tags(),
                lambda new: self.call(
                    "autoscaling", "create_or_update_tags", Tags=self._pairs(new)
                ),
            )
        suspended = {item["ProcessName"] for item in observed.get("SuspendedProcesses", [])}
        if not suspended >= set(SUSPENDED):
            yield self.update(
                RESOURCE,
                f"suspend {' '.join(SUSPENDED)}",
                partial(
                    self.call,
                    "autoscaling",
                    "suspend_processes",
                    AutoScalingGroupName=name,
                    ScalingProcesses=list(SUSPENDED),
                ),
                (FieldChange(name="suspended", new=" ".join(SUSPENDED)),),
            )
        self.outputs["workers"] = name

    def _update(self, observed: dict[str, Any]) -> Changes:
        wanted = self.wanted()
        old = {key: observed.get(key) for key in wanted}
        subnets = str(old["VPCZoneIdentifier"] or "")
        # AWS does not keep the order
        if set(subnets.split(",")) == set(wanted["VPCZoneIdentifier"].split(",")):
            old["VPCZoneIdentifier"] = wanted["VPCZoneIdentifier"]
        fields = differences(old, wanted)
        template = self.template()
        changed = _relevant(observed, template)
        if fields or changed:
            yield self.update(
                RESOURCE,
                "settings of the workers' group",
                partial(
                    self.settle,
                    "autoscaling",
                    "update_auto_scaling_group",
                    AutoScalingGroupName=self.names.workers_group,
                    **wanted,
                    **template,
                ),
                (*fields, *changed),
            )

    # ---- doing -------------------------------------------------------------------------------

    def _create(self) -> None:
        retry_codes(self._create_once, when=unknown_profile, deadline=PROPAGATION)

    def _create_once(self) -> None:
        try:
            self.settle(
                "autoscaling",
                "create_auto_scaling_group",
                AutoScalingGroupName=self.names.workers_group,
                **self.wanted(),
                **self.template(),
                Tags=self._pairs(self.group_tags()),
            )
        except AwsError as error:
            # made by a run that was killed at this very call
            if error.code not in ("AlreadyExists", "AlreadyExistsFault"):
                raise

    def destroy(self, observed: dict[str, Any]) -> Changes:
        if observed:
            yield self.delete(
                RESOURCE,
                f"auto scaling group {self.names.workers_group} and its "
                f"{len(observed.get('Instances', []))} workers",
                partial(self._end, observed),
            )
        if not self.ctx.planning:
            self.ctx.inventory.forget("describe_instances")
        members = {item["InstanceId"] for item in observed.get("Instances", [])}
        workers = [item["InstanceId"] for item in instances.alive(self, Role.WORKER)]
        # those that the group let go, or that were ending when an earlier run was killed
        ids = [item for item in workers if not (self.ctx.planning and item in members)]
        if ids:
            yield self.delete(
                "instance.worker",
                f"{len(ids)} workers' machines",
                partial(instances.end, self, ids, what="workers"),
            )

    def _end(self, observed: dict[str, Any]) -> None:
        name = self.names.workers_group
        if not observed.get("Status"):
            self._shrink(observed)
            self._unprotect(observed)
            try:
                self.remove(
                    "autoscaling",
                    "delete_auto_scaling_group",
                    wait_on={"ResourceInUse", "ScalingActivityInProgress"},
                    AutoScalingGroupName=name,
                    ForceDelete=True,
                )
            except AwsError as error:
                # Auto Scaling's way to say that there is no such group
                if error.code != "ValidationError":
                    raise
        self._gone()

    def _shrink(self, observed: dict[str, Any]) -> None:
        """No new worker from here on; what an earlier run did need not be done again."""
        closed = {
            "MinSize": 0,
            "MaxSize": 0,
            "DesiredCapacity": 0,
            "NewInstancesProtectedFromScaleIn": False,
        }
        if all(observed.get(key) == value for key, value in closed.items()):
            return
        try:
            self.call(
                "autoscaling",
                "update_auto_scaling_group",
                AutoScalingGroupName=self.names.workers_group,
                **closed,
            )
        except AwsError as error:
            # it has gone meanwhile
            if error.code != "ValidationError":
                raise

    def _unprotect(self, observed: dict[str, Any]) -> None:
        protected = [
            item["InstanceId"]
            for item in observed.get("Instances", [])
            if item.get("ProtectedFromScaleIn") and item.get("LifecycleState") == "InService"
        ]
        for start in range(0, len(protected), BATCH):
            try:
                self.call(
                    "autoscaling",
                    "set_instance_protection",
                    AutoScalingGroupName=self.names.workers_group,
                    InstanceIds=protected[start : start + BATCH],
                    ProtectedFromScaleIn=False,
                )
            except AwsError as error:
                # one that is ending meanwhile cannot be unprotected, and need not be
                if error.code != "ValidationError":
                    raise

    def _gone(self) -> bool:
        return self.until(
            lambda: None if self.observe() else True,
            what="the workers' group to be gone",
            deadline=self.config.waits.delete,
        )


def _relevant(observed: dict[str, Any], wanted: dict[str, Any]) -> tuple[FieldChange, ...]:
    """Differences in template, types and purchase options, in the form that we set them."""

    def flat(group: dict[str, Any]) -> dict[str, str]:
        policy = group.get("MixedInstancesPolicy")
        if not policy:
            plain = group.get("LaunchTemplate", {})
            return {
                "template": str(plain.get("LaunchTemplateId", "")),
                "version": str(plain.get("Version", "")),
                "types": "the template's",
                "spot": "0",
                "on demand": "",
            }
        template = policy.get("LaunchTemplate", {})
        named = template.get("LaunchTemplateSpecification", {})
        spread = policy.get("InstancesDistribution", {})
        on_demand = int(spread.get("OnDemandPercentageAboveBaseCapacity", 100))
        return {
            "template": str(named.get("LaunchTemplateId", "")),
            "version": str(named.get("Version", "")),
            "types": " ".join(item["InstanceType"] for item in template.get("Overrides", [])),
            "spot": str(100 - on_demand),
            "on demand": str(spread.get("OnDemandBaseCapacity", 0)),
        }

    return differences(flat(observed), flat(wanted))
