"""Changes how far the fleet may grow: the groups' sizes and the fleet's live limits at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from hubdeploy.aws.groups import is_general, preference, workers_groups
from hubdeploy.aws.session import Aws
from hubdeploy.aws.types import InstanceSize
from hubdeploy.config.limits import (
    Limits,
    LiveChange,
    changed_live,
    contradiction,
    live_changes,
    parameter,
)
from hubdeploy.config.names import RETIRED, Names
from hubdeploy.errors import ConfigError, HubdeployError


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


def refuse(
    limits: Limits, known: Mapping[str, InstanceSize], *, place: Callable[[str], str] = str
) -> None:
    """:class:`ConfigError` where machines of these types (preferred first) and the limits cannot
    go together; ``place`` makes of a key what the message begins with."""
    found = contradiction(limits, {kind: size.memory for kind, size in known.items()})
    if found is not None:
        raise ConfigError(f"{place(found.key)}: {found.why}", hint=found.hint)


def scale(
    after: Limits,
    *,
    aws: Aws,
    names: Names,
    filed: Mapping[str, int] | None = None,
    by: str = "hubdeploy scale",
) -> Scaled:
    """Write the limits parameter and the groups' bounds.

    ``filed``: what the next ``up`` takes from the operator's file for the limits that were given.
    What differs from that, and what else changes, is noted in the parameter as ``by``'s, so that
    it is not set back.

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
    told = filed or {}
    new = _parameter(text, before, after, filed=told, by=by)
    if new != text:
        aws.call(
            "ssm",
            "put_parameter",
            Name=names.parameters.limits,
            Value=new,
            Type="String",
            Overwrite=True,
        )
    base = told.get("min_nodes")
    lacking = after.min_nodes - sum(group["DesiredCapacity"] for group in found)
    for group in found:
        if preference(group) == RETIRED:
            continue
        # the preferred type's group comes first
        more = max(0, lacking) if is_general(group) else 0
        lacking -= more
        desired = group["DesiredCapacity"] + more
        sizes: dict[str, Any] = {"MaxSize": max(after.max_nodes, desired)}
        if more:
            sizes["DesiredCapacity"] = desired
        if base is not None and preference(group) == "1":
            sizes |= _on_demand(group, base)
        if any(group[name] != size for name, size in sizes.items()):
            aws.call(
                "autoscaling",
                "update_auto_scaling_group",
                AutoScalingGroupName=group["AutoScalingGroupName"],
                **sizes,
            )
    running = sum(len(group["Instances"]) for group in found)
    return Scaled(before=before, after=after, running=running)


def _on_demand(group: dict[str, Any], base: int) -> dict[str, Any]:
    """The workers that always run are no spot instances: the group's policy says how many."""
    policy = group.get("MixedInstancesPolicy") or {}
    spread = policy.get("InstancesDistribution") or {}
    if spread.get("OnDemandBaseCapacity", 0) == base:
        return {}
    template = dict(policy.get("LaunchTemplate") or {})
    # it is read with id and name, and taken with one of them
    named = dict(template.get("LaunchTemplateSpecification") or {})
    named.pop("LaunchTemplateName", None)
    return {
        "MixedInstancesPolicy": {
            "LaunchTemplate": {**template, "LaunchTemplateSpecification": named},
            "InstancesDistribution": {**spread, "OnDemandBaseCapacity": base},
        }
    }


def _parameter(
    text: str, before: Limits, after: Limits, *, filed: Mapping[str, int], by: str
) -> str:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    changes = live_changes(changed_live(text, before, after, by=by, at=at))
    for name, value in filed.items():
        changes.pop(name, None)
        if getattr(after, name) != value:
            changes[name] = LiveChange(by=by, at=at, was=value)
    return parameter(after, changes)


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
