"""Instances of the deployment as they are, for all steps that ask."""

from __future__ import annotations

from typing import Any

from hubdeploy.aws.inventory import tags_of
from hubdeploy.config.names import TAG_ROLE, Role
from hubdeploy.errors import AwsError
from hubdeploy.steps.base import Part

ALIVE = frozenset({"pending", "running", "stopping", "stopped"})


def every(part: Part[Any]) -> list[dict[str, Any]]:
    """All instances with the deployment's tag, those just ended included."""
    return [
        instance
        for reservation in part.ctx.inventory.ec2("describe_instances", "Reservations")
        for instance in reservation["Instances"]
    ]


def of_role(part: Part[Any], role: Role) -> list[dict[str, Any]]:
    """Those of one kind, newest first."""
    found = [item for item in every(part) if tags_of(item).get(TAG_ROLE) == role]
    return sorted(found, key=lambda item: str(item.get("LaunchTime", "")), reverse=True)


def alive(part: Part[Any], role: Role) -> list[dict[str, Any]]:
    return [item for item in of_role(part, role) if item["State"]["Name"] in ALIVE]


def end(part: Part[Any], instance_ids: list[str], *, what: str) -> None:
    """Terminate and wait until they are gone, with their network interfaces and root disks."""
    if not instance_ids:
        return
    known = {item["InstanceId"]: item["State"]["Name"] for item in every(part)}
    going = [item for item in instance_ids if known.get(item) != "shutting-down"]
    if going:
        part.remove("ec2", "terminate_instances", wait_on=(), InstanceIds=going)

    def probe() -> bool | None:
        found = part.ctx.aws.pages(
            "ec2",
            "describe_instances",
            "Reservations",
            Filters=[{"Name": "instance-id", "Values": instance_ids}],
        )
        states = {item["State"]["Name"] for entry in found for item in entry["Instances"]}
        return True if states <= {"terminated"} else None

    part.until(probe, what=f"{what} to be gone", deadline=part.config.waits.delete)


def state_of(part: Part[Any], instance_id: str) -> str:
    """The state now, asked anew; ``pending`` while EC2 does not know it yet."""
    try:
        found = part.call("ec2", "describe_instances", InstanceIds=[instance_id])
    except AwsError as error:
        if error.code == "InvalidInstanceID.NotFound":
            return "pending"
        raise
    states = [item["State"]["Name"] for r in found["Reservations"] for item in r["Instances"]]
    return states[0] if states else "pending"
