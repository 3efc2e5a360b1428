"""Facts about EC2 instances that several parts need: spec, role, whether the agent is online."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from hubdeploy.sandbox.cloud.rights.policy import evaluate
from hubdeploy.sandbox.cloud.rights.roles import policies_of

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.credentials import Credentials
    from hubdeploy.sandbox.cloud.server import Cloud
    from hubdeploy.sandbox.machines.interface import MachineSpec

AGENT_ACTIONS = (
    "ssm:UpdateInstanceInformation",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
)
"""Without these the SSM agent on a real machine never comes online."""


def instances(cloud: Cloud, account: str, region: str) -> list[Any]:
    """moto's instance objects of a site; makes no backend where there is none."""
    from moto.ec2.models import ec2_backends

    if account not in dict.keys(ec2_backends):
        return []
    if region not in dict.keys(ec2_backends[account]):
        return []
    found: list[Any] = cloud.backend("ec2", account, region).all_instances()
    return found


def role_of(cloud: Cloud, account: str, region: str, instance_id: str) -> str | None:
    """Name of the role in the instance's profile."""
    ec2 = cloud.backend("ec2", account, region)
    for association in ec2.iam_instance_profile_associations.values():
        if association.instance.id == instance_id:
            roles = association.iam_instance_profile.roles
            return str(roles[0].name) if roles else None
    return None


def credentials(cloud: Cloud, account: str, region: str, instance_id: str) -> Credentials | None:
    """What the metadata server gives to the machine now; None without a role."""
    role = role_of(cloud, account, region, instance_id)
    if role is None:
        return None
    return cloud.role_credentials(account, role, session=instance_id)


def spec_of(cloud: Cloud, account: str, region: str, instance: Any) -> MachineSpec:
    """The machine that has to stand behind an instance."""
    from datetime import UTC

    from hubdeploy.sandbox.machines.interface import MachineSpec

    ec2 = cloud.backend("ec2", account, region)
    vpc = ec2.get_vpc(instance.vpc_id) if instance.vpc_id else None
    data = instance.user_data
    key = ec2.key_pairs.get(instance.key_name) if instance.key_name else None
    public = getattr(key, "material_public", None) or ""
    # moto holds a key that was imported as bytes, one that it made as text
    public = public.decode() if isinstance(public, bytes) else str(public)
    return MachineSpec(
        instance_id=instance.id,
        image_id=instance.image_id,
        instance_type=instance.instance_type,
        private_ip=instance.private_ip,
        vpc_cidr=vpc.cidr_block if vpc is not None else "10.0.0.0/8",
        hostname="ip-" + instance.private_ip.replace(".", "-"),
        tags=tags_of(instance),
        user_data=base64.b64decode(str(data)) if data else b"",
        zone=instance.placement.zone,
        region=region,
        account=account,
        role_name=role_of(cloud, account, region, instance.id),
        launched=instance.launch_time.replace(tzinfo=UTC),
        key_names=(instance.key_name,) if instance.key_name else (),
        public_keys=(public,) if public else (),
        spot=instance.lifecycle == "spot",
        volumes=data_volumes(instance),
    )


def tags_of(instance: Any) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in instance.get_tags()}


def data_volumes(instance: Any) -> dict[str, str]:
    """Volumes other than the root one: id -> device."""
    return {
        block.volume_id: device
        for device, block in instance.block_device_mapping.items()
        if device != instance.root_device_name and block.volume_id
    }


def pings(cloud: Cloud, account: str, region: str) -> dict[str, str]:
    """SSM's view: instance id -> ``Online`` or ``ConnectionLost``.

    An agent registers when its machine runs and its role lets it; afterwards it stays known.
    """
    known: dict[str, bool] = cloud.store(account, region, "agents", dict)
    machines = cloud.machines
    result = {}
    for instance in instances(cloud, account, region):
        if instance.state == "terminated":
            known.pop(instance.id, None)
            continue
        up = (
            instance.state == "running"
            and machines is not None
            and machines.state(instance.id) == "running"
            and getattr(machines, "agent_ready", _always)(instance.id)
        )
        if up and not known.get(instance.id):
            known[instance.id] = up = _agent_allowed(cloud, account, region, instance.id)
        if known.get(instance.id):
            result[instance.id] = "Online" if up else "ConnectionLost"
    return result


def _always(_instance_id: str) -> bool:
    return True


def _agent_allowed(cloud: Cloud, account: str, region: str, instance_id: str) -> bool:
    role = role_of(cloud, account, region, instance_id)
    if role is None:
        return False
    if cloud.settings.unlimited_rights:
        return True
    policies = policies_of(cloud, account, role)
    return all(evaluate(policies, action, "*").allowed for action in AGENT_ACTIONS)


def online(cloud: Cloud, account: str, region: str) -> list[str]:
    return [i for i, status in pings(cloud, account, region).items() if status == "Online"]
