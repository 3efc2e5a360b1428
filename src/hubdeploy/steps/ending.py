"""The end of the workers' groups, with whatever runs in them: only `down` does this."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from hubdeploy.aws.groups import workers_groups
from hubdeploy.errors import AwsError
from hubdeploy.steps.base import Part

BATCH = 50
"""Instances whose protection one call sets."""
CLOSED = {
    "MinSize": 0,
    "MaxSize": 0,
    "DesiredCapacity": 0,
    "NewInstancesProtectedFromScaleIn": False,
}


@dataclass(frozen=True)
class Ending:
    """How a group ends, for the step that it belongs to."""

    part: Part[Any]

    def end(self, observed: dict[str, Any], *, wait_for: Collection[str]) -> None:
        """Close it, let go of its machines, delete it; then wait for the groups ``wait_for``."""
        if not observed.get("Status"):
            self._shrink(observed)
            self._unprotect(observed)
            try:
                self.part.remove(
                    "autoscaling",
                    "delete_auto_scaling_group",
                    wait_on={"ResourceInUse", "ScalingActivityInProgress"},
                    AutoScalingGroupName=observed["AutoScalingGroupName"],
                    ForceDelete=True,
                )
            except AwsError as error:
                # Auto Scaling's way to say that there is no such group
                if error.code != "ValidationError":
                    raise
        if wait_for:
            self.gone(wait_for)

    def gone(self, groups: Collection[str]) -> bool:
        """Wait until none of them is there."""
        part = self.part

        def probe() -> bool | None:
            found = workers_groups(aws=part.ctx.aws, names=part.names)
            left = {group["AutoScalingGroupName"] for group in found}
            return None if left & set(groups) else True

        return part.until(
            probe, what="the workers' groups to be gone", deadline=part.config.waits.delete
        )

    def _shrink(self, observed: dict[str, Any]) -> None:
        """No new worker from here on; what an earlier run did need not be done again."""
        if all(observed.get(key) == value for key, value in CLOSED.items()):
            return
        try:
            self.part.call(
                "autoscaling",
                "update_auto_scaling_group",
                AutoScalingGroupName=observed["AutoScalingGroupName"],
                **CLOSED,
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
                self.part.call(
                    "autoscaling",
                    "set_instance_protection",
                    AutoScalingGroupName=observed["AutoScalingGroupName"],
                    InstanceIds=protected[start : start + BATCH],
                    ProtectedFromScaleIn=False,
                )
            except AwsError as error:
                # one that is ending meanwhile cannot be unprotected, and need not be
                if error.code != "ValidationError":
                    raise
