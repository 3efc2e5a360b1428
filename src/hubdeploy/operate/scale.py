"""Changes how far the fleet may grow: the groups' sizes and the fleet's live limits at once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from hubdeploy.aws.groups import is_general, preference, workers_groups
from hubdeploy.aws.session import Aws
from hubdeploy.config.limits import Limits, changed_live, live_changes, parameter
from hubdeploy.config.names import RETIRED, Names
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


def scale(
    after: Limits,
    *,
    aws: Aws,
    names: Names,
    filed: Collection[str] = (),
    by: str = "hubdeploy scale",
) -> Scaled:
    """Write the limits parameter and the groups' bounds.

    ``filed``: limits that the operator's file says as well, from now on; what else changes is
    noted in the parameter as ``by``'s, so that the next ``up`` does not set it back.

    Each type of worker has a group, which may grow up to the whole maximum: how many there are
    together is the fleet's to keep. No group's maximum is set below its present size: AWS would
    then end machines of its own choice, also ones with notebooks. The fleet brings the size down
    as machines empty and the maximum follows.
    """
    found = [group for group in workers_groups(aws=aws, names=names) if not group.get("Status")]
    if not found:
        raise HubdeployError(
            f"deployment {names.deployment} has no workers' group to scale",
            hint="run `hubdeploy up` first",
        )
    text = _text(aws=aws, names=names)
    before = Limits.from_json(text)
    new = _parameter(text, before, after, filed=filed, by=by)
    if new != text:
        aws.call(
            "ssm",
            "put_parameter",
            Name=names.parameters.limits,
            Value=new,
            Type="String",
            Overwrite=True,
        )
    lacking = after.min_nodes - sum(group["DesiredCapacity"] for group in found)
    for group in found:
        if preference(group) == RETIRED:
            continue
        # the preferred type's group comes first
        more = max(0, lacking) if is_general(group) else 0
        lacking -= more
        desired = group["DesiredCapacity"] + more
        sizes = {"MaxSize": max(after.max_nodes, desired)}
        if more:
            sizes["DesiredCapacity"] = desired
        if any(group[name] != size for name, size in sizes.items()):
            aws.call(
                "autoscaling",
                "update_auto_scaling_group",
                AutoScalingGroupName=group["AutoScalingGroupName"],
                **sizes,
            )
    running = sum(len(group["Instances"]) for group in found)
    return Scaled(before=before, after=after, running=running)


def _parameter(text: str, before: Limits, after: Limits, *, filed: Collection[str], by: str) -> str:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    changes = live_changes(changed_live(text, before, after, by=by, at=at))
    return parameter(after, {name: c for name, c in changes.items() if name not in filed})


def current(*, aws: Aws, names: Names) -> Limits:
    """The live limits: what ``up`` wrote, the last ``scale``, or an admin on the fleet page."""
    return Limits.from_json(_text(aws=aws, names=names))


def _text(*, aws: Aws, names: Names) -> str:
    found = aws.call("ssm", "get_parameters", Names=[names.parameters.limits])["Parameters"]
    if not found:
        raise HubdeployError(
            f"deployment {names.deployment} has no limits yet", hint="run `hubdeploy up` first"
        )
    return str(found[0]["Value"])
