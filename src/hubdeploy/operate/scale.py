"""Changes how far the fleet may grow: the group's sizes and the fleet's live limits at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hubdeploy.aws.session import Aws
from hubdeploy.config.limits import Limits
from hubdeploy.config.names import Names
from hubdeploy.errors import HubdeployError


@dataclass(frozen=True, kw_only=True)
class Scaled:
    """The limits before and after, and how many machines run now."""

    before: Limits
    after: Limits
    running: int


def wanted(
    before: Limits,
    *,
    max_nodes: int | None = None,
    min_nodes: int | None = None,
    headroom: int | None = None,
) -> Limits:
    """``before`` with what was given; ``ConfigError`` where they contradict each other."""
    given = {"max_nodes": max_nodes, "min_nodes": min_nodes, "headroom": headroom}
    return replace(before, **{name: value for name, value in given.items() if value is not None})


def scale(after: Limits, *, aws: Aws, names: Names) -> Scaled:
    """Write the limits parameter and the group's bounds.

    The group's maximum is never set below its present size: AWS would then end machines of its
    own choice, also ones with notebooks. The fleet brings the size down as machines empty and
    the maximum follows.
    """
    found = aws.call(
        "autoscaling",
        "describe_auto_scaling_groups",
        AutoScalingGroupNames=[names.workers_group],
    )["AutoScalingGroups"]
    if not found:
        raise HubdeployError(
            f"deployment {names.deployment} has no workers' group to scale",
            hint="run `hubdeploy up` first",
        )
    group = found[0]
    before = current(aws=aws, names=names)
    if before != after:
        aws.call(
            "ssm",
            "put_parameter",
            Name=names.parameters.limits,
            Value=after.to_json(),
            Type="String",
            Overwrite=True,
        )
    sizes = {
        "MinSize": min(after.min_nodes, group["DesiredCapacity"]),
        "MaxSize": max(after.max_nodes, group["DesiredCapacity"]),
    }
    if after.min_nodes > group["DesiredCapacity"]:
        sizes |= {"MinSize": after.min_nodes, "DesiredCapacity": after.min_nodes}
    if any(group[name] != size for name, size in sizes.items()):
        aws.call(
            "autoscaling",
            "update_auto_scaling_group",
            AutoScalingGroupName=names.workers_group,
            **sizes,
        )
    return Scaled(before=before, after=after, running=len(group["Instances"]))


def current(*, aws: Aws, names: Names) -> Limits:
    """The live limits; those that `up` wrote or the last `scale`."""
    found = aws.call("ssm", "get_parameters", Names=[names.parameters.limits])["Parameters"]
    if not found:
        raise HubdeployError(
            f"deployment {names.deployment} has no limits yet", hint="run `hubdeploy up` first"
        )
    return Limits.from_json(found[0]["Value"])
