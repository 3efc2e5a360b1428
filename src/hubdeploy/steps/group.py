"""The workers' auto scaling groups, one for each instance type.

A group cannot be told which of several types to launch next, so the choice of a type is made by
choosing a group. All share one launch template. How many machines each has, and which one ends,
the hub's fleet says; a type that the configuration names no more has its group retired, and deleted
once it is empty.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from hubdeploy.aws.groups import preference, workers_groups
from hubdeploy.aws.inventory import tags_of
from hubdeploy.config.names import (
    FOR_PROFILES,
    RETIRED,
    TAG_PREFERENCE,
    TAG_RESOURCE,
    TAG_TEMPLATE,
    Role,
)
from hubdeploy.errors import AwsError
from hubdeploy.pipeline.change import Changes, FieldChange, differences
from hubdeploy.steps import instances
from hubdeploy.steps.base import Part
from hubdeploy.steps.ending import Ending
from hubdeploy.steps.parameters import live_limits

RESOURCE = "workers"
GRACE = 300
"""Seconds after its launch in which a worker's failing status check does not end it."""
SUSPENDED = ("AZRebalance",)
"""It would end workers in use to even out zones (buildkite/elastic-ci-stack-for-aws#435)."""
LAUNCH = "Launch"
"""Suspended for a retired group: not even a worker that AWS takes back is replaced there."""
SPOT = "capacity-optimized-prioritized"

Groups = dict[str, dict[str, Any]]
"""By name."""


class Group(Part[Groups]):
    """New workers are protected from scale-in: only the fleet ends one, when it is empty."""

    name = "workers.group"
    title = "Workers"
    needs = ("workers.template", "network.subnets", "parameters")

    def observe(self) -> Groups:
        found = workers_groups(aws=self.ctx.aws, names=self.names)
        return {group["AutoScalingGroupName"]: group for group in found}

    # ---- what it should be -------------------------------------------------------------------

    def template(self, kind: str) -> dict[str, Any]:
        """The shared template, with this one type and how many of its machines are spot."""
        workers = self.config.workers
        preferred = kind == workers.instance_types[0]
        return {
            "MixedInstancesPolicy": {
                "LaunchTemplate": {
                    "LaunchTemplateSpecification": {
                        "LaunchTemplateId": self.outputs["template"],
                        "Version": "$Default",
                    },
                    "Overrides": [{"InstanceType": kind}],
                },
                "InstancesDistribution": {
                    "OnDemandAllocationStrategy": "prioritized",
                    "OnDemandBaseCapacity": workers.min_nodes if preferred else 0,
                    "OnDemandPercentageAboveBaseCapacity": 100 - workers.spot_share,
                    "SpotAllocationStrategy": SPOT,
                },
            }
        }

    def wanted(self, observed: dict[str, Any]) -> dict[str, Any]:
        """Settings by the names under which they are both read and set.

        The fleet keeps the least number itself, over all groups: a group at its own minimum would
        launch broken machines anew for ever. The most never goes below what there is: AWS would
        end machines of its own choice.
        """
        holds, _ = live_limits(self)
        return {
            "MinSize": 0,
            "MaxSize": max(holds.max_nodes, int(observed.get("DesiredCapacity", 0))),
            "VPCZoneIdentifier": ",".join(self.outputs["subnets.machines"]),
            "NewInstancesProtectedFromScaleIn": True,
            "HealthCheckType": "EC2",
            "HealthCheckGracePeriod": GRACE,
        }

    def group_tags(self, kind: str) -> dict[str, str]:
        types = self.config.workers.instance_types
        place = str(types.index(kind) + 1) if kind in types else FOR_PROFILES
        return {
            **self.tags(f"{RESOURCE}.{kind}"),
            TAG_TEMPLATE: self.outputs["template.digest"],
            TAG_PREFERENCE: place,
        }

    # ---- comparing ---------------------------------------------------------------------------

    def changes(self, observed: Groups) -> Changes:
        kinds = {self.names.workers_group(kind): kind for kind in self.config.worker_types}
        going = [name for name in kinds if observed.get(name, {}).get("Status")]
        if going:
            gone = partial(Ending(self).gone, going)
            yield self.waiting(RESOURCE, "the old group to be gone", gone)
        there = {name: group for name, group in observed.items() if not group.get("Status")}
        holds, _ = live_limits(self)
        lacking = holds.min_nodes - sum(g["DesiredCapacity"] for g in there.values())
        for name, kind in kinds.items():
            if name in there:
                yield from self._keep(there[name], kind)
            else:
                # the first workers boot while the leader does; from then on the fleet decides
                first = max(0, lacking) if kind == self.config.workers.instance_types[0] else 0
                yield from self._make(name, kind, first)
                lacking -= first
        preferred = next(iter(kinds))
        if lacking > 0 and preferred in there:
            yield from self._raise(there[preferred], lacking)
        for name, group in there.items():
            if name not in kinds:
                yield from self._retire(name, group)
        self.outputs["workers"] = list(kinds)

    def _make(self, name: str, kind: str, first: int) -> Changes:
        resource = f"{RESOURCE}.{kind}"
        yield self.create(
            resource,
            f"auto scaling group {name}",
            partial(self._create, name, kind, first),
            {"type": kind, "first": first, "max": self.wanted({})["MaxSize"]},
        )
        yield from self._suspend(name, resource, SUSPENDED, {})

    def _keep(self, observed: dict[str, Any], kind: str) -> Changes:
        name = observed["AutoScalingGroupName"]
        resource = f"{RESOURCE}.{kind}"
        if preference(observed) == RETIRED:
            yield self.update(
                resource,
                f"launch {kind} again",
                partial(
                    self.call,
                    "autoscaling",
                    "resume_processes",
                    AutoScalingGroupName=name,
                    ScalingProcesses=[LAUNCH],
                ),
                (FieldChange(name="suspended", old=LAUNCH),),
            )
        yield from self._update(observed, kind)
        yield from self.retag(tags_of(observed), self.group_tags(kind), partial(self._tag, name))
        yield from self._suspend(name, resource, SUSPENDED, observed)

    def _tag(self, name: str, tags: dict[str, str]) -> None:
        self.call("autoscaling", "create_or_update_tags", Tags=_pairs(name, tags))

    def _suspend(
        self, name: str, resource: str, processes: tuple[str, ...], observed: dict[str, Any]
    ) -> Changes:
        suspended = {item["ProcessName"] for item in observed.get("SuspendedProcesses", [])}
        if not suspended >= set(processes):
            yield self.update(
                resource,
                f"suspend {' '.join(processes)}",
                partial(
                    self.call,
                    "autoscaling",
                    "suspend_processes",
                    AutoScalingGroupName=name,
                    ScalingProcesses=list(processes),
                ),
                (FieldChange(name="suspended", new=" ".join(processes)),),
            )

    def _update(self, observed: dict[str, Any], kind: str) -> Changes:
        wanted = self.wanted(observed)
        old = {key: observed.get(key) for key in wanted}
        subnets = str(old["VPCZoneIdentifier"] or "")
        # AWS does not keep the order
        if set(subnets.split(",")) == set(wanted["VPCZoneIdentifier"].split(",")):
            old["VPCZoneIdentifier"] = wanted["VPCZoneIdentifier"]
        fields = differences(old, wanted)
        template = self.template(kind)
        changed = _relevant(observed, template)
        if fields or changed:
            yield self.update(
                f"{RESOURCE}.{kind}",
                f"settings of the group of {kind}",
                partial(
                    self.settle,
                    "autoscaling",
                    "update_auto_scaling_group",
                    AutoScalingGroupName=observed["AutoScalingGroupName"],
                    **wanted,
                    **template,
                ),
                (*fields, *changed),
            )

    def _raise(self, observed: dict[str, Any], lacking: int) -> Changes:
        desired = int(observed["DesiredCapacity"])
        name = observed["AutoScalingGroupName"]
        yield self.update(
            tags_of(observed).get(TAG_RESOURCE, RESOURCE),
            f"{lacking} more workers, for min_nodes",
            partial(
                self.settle,
                "autoscaling",
                "set_desired_capacity",
                AutoScalingGroupName=name,
                DesiredCapacity=desired + lacking,
            ),
            (FieldChange(name="desired", old=str(desired), new=str(desired + lacking)),),
        )

    # ---- types that are wanted no more -------------------------------------------------------

    def _retire(self, name: str, group: dict[str, Any]) -> Changes:
        kind = name.removeprefix(self.names.workers_groups)
        resource = f"{RESOURCE}.{kind}"
        if not group.get("Instances") and not group["DesiredCapacity"]:
            yield self.delete(
                resource, f"auto scaling group {name}, which is empty", partial(self._drop, name)
            )
            return
        yield from self._suspend(name, resource, (LAUNCH, *SUSPENDED), group)
        yield from self.retag(
            tags_of(group),
            {TAG_RESOURCE: resource, TAG_PREFERENCE: RETIRED},
            partial(self._tag, name),
        )

    def _drop(self, name: str) -> None:
        """Never by force: a machine that has come meanwhile keeps the group, until the next run."""
        try:
            self.call("autoscaling", "delete_auto_scaling_group", AutoScalingGroupName=name)
        except AwsError as error:
            if error.code not in ("ResourceInUse", "ScalingActivityInProgress", "ValidationError"):
                raise

    # ---- doing -------------------------------------------------------------------------------

    def _create(self, name: str, kind: str, first: int) -> None:
        tags = self.group_tags(kind)
        try:
            self.settle_profile(
                "autoscaling",
                "create_auto_scaling_group",
                AutoScalingGroupName=name,
                DesiredCapacity=first,
                **self.wanted({"DesiredCapacity": first}),
                **self.template(kind),
                Tags=_pairs(name, tags),
            )
        except AwsError as error:
            if error.code not in ("AlreadyExists", "AlreadyExistsFault"):
                raise
            # made by a run that was killed at this very call, or robbed of its tags
            self._tag(name, tags)

    def destroy(self, observed: Groups) -> Changes:
        ending = Ending(self)
        last = next(reversed(observed), "")
        for name, group in observed.items():
            yield self.delete(
                f"{RESOURCE}.{name.removeprefix(self.names.workers_groups)}",
                f"auto scaling group {name} and its {len(group.get('Instances', []))} workers",
                partial(ending.end, group, wait_for=observed.keys() if name == last else ()),
            )
        if not self.ctx.planning:
            self.ctx.inventory.forget("describe_instances")
        members = {i["InstanceId"] for g in observed.values() for i in g.get("Instances", [])}
        workers = [item["InstanceId"] for item in instances.alive(self, Role.WORKER)]
        # those that a group let go, or that were ending when an earlier run was killed
        ids = [item for item in workers if not (self.ctx.planning and item in members)]
        if ids:
            yield self.delete(
                "instance.worker",
                f"{len(ids)} workers' machines",
                partial(instances.end, self, ids, what="workers"),
            )


def _pairs(name: str, tags: dict[str, str]) -> list[dict[str, Any]]:
    # instances get theirs from the launch template
    return [
        {
            "ResourceId": name,
            "ResourceType": "auto-scaling-group",
            "Key": key,
            "Value": value,
            "PropagateAtLaunch": False,
        }
        for key, value in tags.items()
    ]


def _relevant(observed: dict[str, Any], wanted: dict[str, Any]) -> tuple[FieldChange, ...]:
    """Differences in template, type and purchase options, in the form that we set them."""

    def flat(group: dict[str, Any]) -> dict[str, str]:
        policy = group.get("MixedInstancesPolicy", {})
        template = policy.get("LaunchTemplate", {})
        named = template.get("LaunchTemplateSpecification", {})
        spread = policy.get("InstancesDistribution", {})
        on_demand = int(spread.get("OnDemandPercentageAboveBaseCapacity", 100))
        return {
            "template": str(named.get("LaunchTemplateId", "")),
            "version": str(named.get("Version", "")),
            "type": " ".join(item["InstanceType"] for item in template.get("Overrides", [])),
            "spot": str(100 - on_demand),
            "on demand": str(spread.get("OnDemandBaseCapacity", 0)),
        }

    return differences(flat(observed), flat(wanted))
