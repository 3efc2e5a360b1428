"""The workers' auto scaling groups as AWS shows them: one for each instance type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hubdeploy.aws.inventory import tags_of
from hubdeploy.aws.session import Aws
from hubdeploy.config.names import (
    FOR_PROFILES,
    RETIRED,
    TAG_DEPLOYMENT,
    TAG_PREFERENCE,
    Names,
    by_preference,
)


def workers_groups(*, aws: Aws, names: Names) -> list[dict[str, Any]]:
    """One read (and its pages), preferred type first; those being deleted have a ``Status``."""
    found = aws.pages(
        "autoscaling",
        "describe_auto_scaling_groups",
        "AutoScalingGroups",
        Filters=[{"Name": f"tag:{TAG_DEPLOYMENT}", "Values": [names.deployment]}],
    )
    ours = [
        dict(group)
        for group in found
        # what this answers may be deleted: a filter that is not heeded must not let others in
        if tags_of(group).get(TAG_DEPLOYMENT) == names.deployment
    ]
    return sorted(ours, key=lambda g: (by_preference(preference(g)), g["AutoScalingGroupName"]))


def preference(group: Mapping[str, Any]) -> str:
    """The tag ``hubdeploy:preference``, or an empty string."""
    return tags_of(dict(group)).get(TAG_PREFERENCE, "")


def is_general(group: Mapping[str, Any]) -> bool:
    """Whether its machines are for everybody's servers."""
    return preference(group) not in (FOR_PROFILES, RETIRED)


def instance_type(group: Mapping[str, Any]) -> str:
    """The type of its machines, or an empty string for a group that names none."""
    template = (group.get("MixedInstancesPolicy") or {}).get("LaunchTemplate") or {}
    return next((str(each.get("InstanceType", "")) for each in template.get("Overrides") or ()), "")
