"""What stands now: machines with their phases, the workers' group, limits, the address."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from hubdeploy.aws.groups import instance_type, preference, workers_groups
from hubdeploy.aws.inventory import tags_of
from hubdeploy.aws.session import Aws
from hubdeploy.config.names import TAG_DEPLOYMENT, TAG_ROLE, Names, Role
from hubdeploy.remote.channel import Target

ALIVE = ("pending", "running", "stopping", "stopped")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One EC2 instance. ``label`` is for people and for ``--on`` (``leader``, ``worker/2``);
    ``phase`` is what it says of itself, ``state`` what EC2 says."""

    label: str
    role: str
    instance_id: str
    instance_type: str
    zone: str
    private_ip: str
    public_ip: str
    state: str
    phase: str
    detail: str
    since: str
    launched: str

    @property
    def target(self) -> Target:
        return Target(
            instance_id=self.instance_id,
            label=self.label,
            private_ip=self.private_ip,
            public_ip=self.public_ip,
        )


@dataclass(frozen=True, kw_only=True)
class Group:
    """The workers' auto scaling groups together, in machines; the bounds are the live limits'."""

    minimum: int
    desired: int
    maximum: int
    in_service: int


@dataclass(frozen=True, kw_only=True)
class TypeGroup:
    """The group of one instance type. ``preference``: its place in the order, ``profiles`` when
    only servers whose profile names it go there, ``none`` when its machines are to empty."""

    instance_type: str
    preference: str
    desired: int
    in_service: int


@dataclass(frozen=True, kw_only=True)
class Status:
    """A deployment at a glance; ``exists`` is false if nothing of it was found."""

    deployment: str
    region: str
    exists: bool
    url: str = ""
    machines: list[Machine] = field(default_factory=list)
    group: Group | None = None
    groups: list[TypeGroup] = field(default_factory=list)
    limits: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def machines(*, aws: Aws, names: Names) -> list[Machine]:
    """All instances of the deployment that are not ended, leader first, workers by launch."""
    with ThreadPoolExecutor(2) as pool:
        described = pool.submit(
            aws.pages,
            "ec2",
            "describe_instances",
            "Reservations",
            Filters=[
                {"Name": f"tag:{TAG_DEPLOYMENT}", "Values": [names.deployment]},
                {"Name": "instance-state-name", "Values": list(ALIVE)},
            ],
        )
        phases = pool.submit(_parameters, aws, names.parameters.phases)
    by_instance = {name.rpartition("/")[2]: value for name, value in phases.result().items()}
    instances = [instance for r in described.result() for instance in r["Instances"]]
    return _labelled([_machine(instance, by_instance) for instance in instances])


def read(*, aws: Aws, names: Names) -> Status:
    """Four reads, whatever the size of the deployment (and pages)."""
    with ThreadPoolExecutor(3) as pool:
        found = pool.submit(machines, aws=aws, names=names)
        groups = pool.submit(workers_groups, aws=aws, names=names)
        values = pool.submit(_values, aws, [names.parameters.hub_state, names.parameters.limits])
    state, limits = values.result()
    return Status(
        deployment=names.deployment,
        region=names.region,
        exists=bool(found.result() or groups.result()),
        url=str(state.get("url", "")),
        machines=found.result(),
        group=_together(groups.result(), limits),
        groups=[_of_type(group) for group in groups.result()],
        limits=limits,
    )


def _machine(instance: dict[str, Any], phases: dict[str, dict[str, Any]]) -> Machine:
    phase = phases.get(instance["InstanceId"], {})
    launched = instance.get("LaunchTime")
    role = tags_of(instance).get(TAG_ROLE, "")
    return Machine(
        label=role,
        role=role,
        instance_id=instance["InstanceId"],
        instance_type=instance["InstanceType"],
        zone=instance.get("Placement", {}).get("AvailabilityZone", ""),
        private_ip=instance.get("PrivateIpAddress", ""),
        public_ip=instance.get("PublicIpAddress", ""),
        state=instance["State"]["Name"],
        phase=str(phase.get("phase", "")),
        detail=str(phase.get("detail", "")),
        since=str(phase.get("at", "")),
        launched=launched.isoformat() if isinstance(launched, datetime) else str(launched or ""),
    )


def _labelled(found: Sequence[Machine]) -> list[Machine]:
    """Numbers workers from 1 in order of launch; the others' label is their role."""
    order = {Role.LEADER: 0, Role.CHEF: 1, Role.WORKSTATION: 2, Role.WORKER: 3}
    ranked = sorted(found, key=lambda m: (order.get(Role(m.role), 9) if m.role else 9, m.launched))
    workers = 0
    labelled: list[Machine] = []
    for machine in ranked:
        if machine.role == Role.WORKER:
            workers += 1
            machine = Machine(**{**asdict(machine), "label": f"worker/{workers}"})
        labelled.append(machine)
    return labelled


def _parameters(aws: Aws, path: str) -> dict[str, dict[str, Any]]:
    """JSON parameters below a path; one that is not JSON is passed over."""
    found = aws.pages("ssm", "get_parameters_by_path", "Parameters", Path=path, Recursive=True)
    return {item["Name"]: _decoded(item["Value"]) for item in found}


def parameter(name: str, *, aws: Aws) -> dict[str, Any]:
    """A JSON parameter; empty if it is not there."""
    return _values(aws, [name])[0]


def _values(aws: Aws, names: list[str]) -> list[dict[str, Any]]:
    found = aws.call("ssm", "get_parameters", Names=names).get("Parameters", [])
    by_name = {item["Name"]: _decoded(item["Value"]) for item in found}
    return [by_name.get(name, {}) for name in names]


def _decoded(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _together(found: Sequence[dict[str, Any]], limits: dict[str, Any]) -> Group | None:
    if not found:
        return None
    return Group(
        minimum=int(limits.get("min_nodes") or 0),
        desired=sum(group["DesiredCapacity"] for group in found),
        # each may grow to what all together may be
        maximum=int(limits.get("max_nodes") or max(group["MaxSize"] for group in found)),
        in_service=sum(_in_service(group) for group in found),
    )


def _of_type(group: dict[str, Any]) -> TypeGroup:
    return TypeGroup(
        instance_type=instance_type(group),
        preference=preference(group),
        desired=group["DesiredCapacity"],
        in_service=_in_service(group),
    )


def _in_service(group: dict[str, Any]) -> int:
    return sum(item["LifecycleState"] == "InService" for item in group["Instances"])
