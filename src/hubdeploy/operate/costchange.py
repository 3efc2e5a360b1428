"""What a change of the configuration adds to the cost or saves.

The configuration that stands is written down nowhere as a whole, and what was written could have
been changed since (by ``scale``, by hand). So it is read from what is billed: the machines' types,
the disks, the workers' groups and their live limits. What cannot change (the network) is taken
from the new configuration, which ``up`` refuses otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hubdeploy.aws.inventory import tags_of
from hubdeploy.aws.session import Aws
from hubdeploy.config.model import Config
from hubdeploy.config.names import TAG_DEPLOYMENT, TAG_RESOURCE, Names, Role
from hubdeploy.errors import AwsError
from hubdeploy.operate import cost, status
from hubdeploy.operate.cost import GB, HOURS, Estimate

_LEAST = 0.00005
"""US dollars an hour; less is how floating point numbers differ."""


@dataclass(frozen=True, kw_only=True)
class CostChange:
    """US dollars an hour more (or, below zero, less) than what stands; ``problem``: why none."""

    idle: float | None = None
    full: float | None = None
    one_worker: float | None = None
    problem: str = ""

    def lines(self) -> list[str]:
        """What people read."""
        if self.idle is None or self.full is None or self.one_worker is None:
            return [f"This change: no estimate ({self.problem})."]
        if max(abs(self.idle), abs(self.full), abs(self.one_worker)) < _LEAST:
            return ["This change: costs as much as before."]
        one = f" (one worker {money(self.one_worker)})" if abs(self.one_worker) >= _LEAST else ""
        return [
            f"This change: {money(self.idle)} an hour idle (about {money(self.idle * HOURS, 0)} "
            f"a month), {money(self.full)} with all workers{one}."
        ]


def money(dollars: float, digits: int = 2) -> str:
    """``+$0.05``, ``-$1.20``; small ones with as many digits as they need to be seen."""
    if digits and _LEAST <= abs(dollars) < 0.1:
        digits = 4 if abs(dollars) < 0.01 else 3
    rounded = round(dollars, digits)
    return f"{'-' if rounded < 0 else '+'}${abs(rounded):,.{digits}f}"


def between(old: Estimate, new: Estimate) -> CostChange:
    """The difference of two estimates; none where either leaves something out.

    Two sums of which one lacks a price would differ by that price, which nobody pays.
    """
    problem = old.problem or new.problem
    lacking = dict.fromkeys((*old.missing, *new.missing))
    if not problem and lacking:
        problem = f"no price found for: {', '.join(lacking)}"
    if problem:
        return CostChange(problem=problem)
    before = (old.idle, old.full, old.one_worker)
    after = (new.idle, new.full, new.one_worker)
    idle, full, one = (
        None if a is None or b is None else b - a for a, b in zip(before, after, strict=True)
    )
    return CostChange(idle=idle, full=full, one_worker=one)


def read(config: Config, new: Estimate, *, aws: Aws, names: Names) -> CostChange | None:
    """What ``config`` (estimated as ``new``) changes; None if nothing stands that it could."""
    if new.problem:
        return CostChange(problem=new.problem)
    try:
        now = standing(config, aws=aws, names=names)
    except AwsError as error:
        return CostChange(problem=f"what stands cannot be read: {error.message}")
    return None if now is None else between(cost.read(now, aws=aws), new)


def standing(config: Config, *, aws: Aws, names: Names) -> Config | None:
    """``config`` with what stands in place of all that is paid for, or None without machines.

    A machine that is missing just now is as configured: the next ``up`` makes it again.
    """
    now = status.read(aws=aws, names=names)
    if not now.exists:
        return None
    types = {machine.role: machine.instance_type for machine in now.machines}
    general = [g.instance_type for g in now.groups if g.preference.isdigit() and g.instance_type]
    leader = next((m.instance_id for m in now.machines if m.role == Role.LEADER), "")
    root, state = _leader_disks(leader, aws=aws, names=names)
    workers: dict[str, Any] = {
        "instance_types": general or config.workers.instance_types,
        "disk": _workers_disk(aws=aws, names=names) or config.workers.disk,
    }
    if now.group is not None:
        workers |= {"min_nodes": now.group.minimum, "max_nodes": now.group.maximum}
    return config.model_copy(
        update={
            "leader": config.leader.model_copy(
                update={
                    "instance_type": types.get(Role.LEADER, config.leader.instance_type),
                    "disk": root or config.leader.disk,
                    "state_disk": state or config.leader.state_disk,
                }
            ),
            "chef": config.chef.model_copy(
                update={
                    "instance_type": types.get(Role.CHEF, config.chef.instance_type),
                    "workstation_type": types.get(Role.WORKSTATION, config.chef.workstation_type),
                }
            ),
            "workers": config.workers.model_copy(update=workers),
        }
    )


def _leader_disks(leader: str, *, aws: Aws, names: Names) -> tuple[int, int]:
    """Bytes of the leader's root disk and of its state volume; 0 for one that is not there."""
    found = aws.pages(
        "ec2",
        "describe_volumes",
        "Volumes",
        Filters=[{"Name": f"tag:{TAG_DEPLOYMENT}", "Values": [names.deployment]}],
    )
    root = state = 0
    for volume in found:
        if tags_of(volume).get(TAG_RESOURCE) == "volume.leader":
            state = volume["Size"] * GB
        elif leader and leader in [a["InstanceId"] for a in volume.get("Attachments", [])]:
            root = volume["Size"] * GB
    return root, state


def _workers_disk(*, aws: Aws, names: Names) -> int:
    """Bytes of a new worker's disk as its launch template has it; 0 without one."""
    found = aws.pages(
        "ec2",
        "describe_launch_templates",
        "LaunchTemplates",
        Filters=[{"Name": f"tag:{TAG_DEPLOYMENT}", "Values": [names.deployment]}],
    )
    for template in found:
        versions = aws.call(
            "ec2",
            "describe_launch_template_versions",
            LaunchTemplateId=template["LaunchTemplateId"],
            Versions=["$Default"],
        )["LaunchTemplateVersions"]
        for version in versions:
            for block in version["LaunchTemplateData"].get("BlockDeviceMappings", []):
                return int(block.get("Ebs", {}).get("VolumeSize", 0)) * GB
    return 0
