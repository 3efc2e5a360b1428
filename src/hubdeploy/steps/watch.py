"""What the machines say of themselves while ``up`` waits: one look for all that wait."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from hubdeploy.config.names import Phase, Role
from hubdeploy.errors import AwsError, MachineFailed
from hubdeploy.steps.base import Part
from hubdeploy.steps.instances import every
from hubdeploy.steps.parameters import parsed

EVERY = 2.0
"""Seconds for which a look is good at most; slower than AWS would throttle."""
GONE = ("shutting-down", "terminated")


@dataclass(frozen=True, kw_only=True)
class Sight:
    """One look: phases by instance id, the state parameters by name, instance states by id."""

    phases: dict[str, dict[str, Any]] = field(default_factory=dict)
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    instances: dict[str, dict[str, Any]] = field(default_factory=dict)
    at: float = 0.0


class Watch:
    """Shared by all waits of a run, so that many waits cost no more than one."""

    def __init__(self, part: Part[Any]) -> None:
        self.part = part
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._sight: Sight | None = None

    @classmethod
    def of(cls, part: Part[Any]) -> Watch:
        return part.ctx.inventory.once("watch", lambda: cls(part))

    def look(self) -> Sight:
        with self._lock:
            now = time.monotonic()
            # what is quick is seen quickly
            good_for = min(EVERY, (now - self._began) / 10)
            if self._sight is None or now - self._sight.at >= good_for:
                self._sight = self._look()
            return self._sight

    def _look(self) -> Sight:
        part, names = self.part, self.part.names.parameters
        phases = part.ctx.aws.pages(
            "ssm", "get_parameters_by_path", "Parameters", Path=names.phases, Recursive=True
        )
        states = part.call(
            "ssm",
            "get_parameters",
            Names=[
                names.chef_state,
                names.workstation_state,
                names.swarm_state,
                names.hub_state,
            ],
        )["Parameters"]
        part.ctx.inventory.forget("describe_instances")
        return Sight(
            phases={item["Name"].rpartition("/")[2]: parsed(item["Value"]) for item in phases},
            states={item["Name"]: parsed(item["Value"]) for item in states},
            instances={item["InstanceId"]: item for item in every(part)},
            at=time.monotonic(),
        )


def label(phase: dict[str, Any]) -> str:
    """``waiting: for the Chef server``, or ``not heard of yet``."""
    if not phase:
        return "booting, not heard of yet"
    detail = phase.get("detail")
    return f"{phase.get('phase', '?')}: {detail}" if detail else str(phase.get("phase", "?"))


def check(sight: Sight, role: Role, instance: str) -> None:
    """Raise :class:`MachineFailed` as soon as there is no point in waiting any longer."""
    phase = sight.phases.get(instance, {})
    if phase.get("phase") == Phase.FAILED:
        tail = str(phase.get("log", "")).strip()
        raise MachineFailed(
            f"{role} {instance}: {phase.get('detail') or 'failed without a reason'}",
            hint=f"the machine is kept for a look: hubdeploy logs {role}; "
            "the next `hubdeploy up` replaces it",
            log=tail,
        )
    state = sight.instances.get(instance, {})
    if state.get("State", {}).get("Name") in GONE:
        why = state.get("StateReason", {}).get("Message", "no reason given")
        raise MachineFailed(
            f"{role} {instance} ended while it was being set up: {why}",
            hint="run `hubdeploy up` again; it launches another",
        )


def scaling_failure(part: Part[Any], *, since: float) -> AwsError | None:
    """What Auto Scaling could not launch since a time (epoch seconds), in its own words.

    None while there is a type for everybody that has not failed: the fleet turns to it.
    """
    names = [part.names.workers_group(kind) for kind in part.config.workers.instance_types]
    failures = [_failure_of(part, name, since=since) for name in names]
    return failures[0] if all(failures) else None


def _failure_of(part: Part[Any], group: str, *, since: float) -> AwsError | None:
    try:
        found = part.call(
            "autoscaling",
            "describe_scaling_activities",
            AutoScalingGroupName=group,
            MaxRecords=10,
        )["Activities"]
    except AwsError as error:
        # the group that was asked for a moment ago is not known yet
        if error.code == "ValidationError":
            return None
        raise
    for activity in found:
        if activity["StartTime"].timestamp() < since:
            continue
        if activity.get("StatusCode") in ("Failed", "Cancelled"):
            text = " ".join(str(activity.get("StatusMessage") or activity["Cause"]).split())
            return AwsError(
                f"workers cannot be launched: {text}",
                hint="choose other instance types or zones, or ask for a higher quota; "
                "then run `hubdeploy up` again",
                code="ScalingFailed",
                operation="launch",
            )
        if activity.get("StatusCode") == "Successful":
            return None
    return None
