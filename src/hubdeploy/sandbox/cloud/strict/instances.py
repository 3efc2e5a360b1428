"""What EC2 asks of instances, volumes and launch templates."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from hubdeploy.sandbox.cloud import images
from hubdeploy.sandbox.cloud.fault import AwsFault
from hubdeploy.sandbox.cloud.hooks import Hooks
from hubdeploy.sandbox.cloud.overlay.instances import subnet_of
from hubdeploy.sandbox.cloud.overlay.templates import merge_template

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.calls import Call
    from hubdeploy.sandbox.cloud.server import Cloud

hooks = Hooks()
VCPUS = "L-1216C47A"
VCPUS_DEFAULT = 256
"""AWS starts new accounts lower and raises them; the rehearsal's account is an older one."""
_USER_DATA_LIMIT = 16384


def _ec2(cloud: Cloud, call: Call) -> Any:
    return cloud.backend("ec2", call.account, call.region)


@hooks.amend("iam", "CreateInstanceProfile", "AddRoleToInstanceProfile")
def profile_made(cloud: Cloud, call: Call, _result: dict[str, Any]) -> None:
    born: dict[str, float] = cloud.store(call.account, "aws", "profiles", dict)
    born[call.params["InstanceProfileName"]] = time.monotonic()


def check_profile(cloud: Cloud, account: str, profile: dict[str, str] | None) -> None:
    """Refuse a profile that is missing, has no role, or is too new to be known everywhere."""
    if not profile:
        return
    name, arn = profile.get("Name"), profile.get("Arn")
    field = "name" if name else "arn"
    value = name or str(arn)
    name = name or str(arn).rpartition("/")[2]
    held = cloud.backend("iam", account, "aws").instance_profiles.values()
    found = next((p for p in held if p.name == name), None)
    born: dict[str, float] = cloud.store(account, "aws", "profiles", dict)
    age = time.monotonic() - born.get(name, 0.0)
    if found is None or age < cloud.settings.profile_delay:
        raise AwsFault(
            "InvalidParameterValue",
            f"Value ({value}) for parameter iamInstanceProfile.{field} is invalid. Invalid IAM "
            f"Instance Profile {field}",
        )
    if not found.roles:
        raise AwsFault(
            "InvalidParameterValue",
            f"Value ({value}) for parameter iamInstanceProfile.{field} is invalid. IAM Instance "
            f'Profile "{found.arn}" has no associated IAM Roles',
        )


def _known_type(name: str) -> Any:
    from moto.ec2.models.instance_types import INSTANCE_TYPES

    if name not in INSTANCE_TYPES:
        raise AwsFault("InvalidParameterValue", f"Invalid value '{name}' for InstanceType.")
    return INSTANCE_TYPES[name]


@hooks.check("ec2", "RunInstances")
def run_instances(cloud: Cloud, call: Call) -> None:
    ec2 = _ec2(cloud, call)
    images.register(ec2, region=call.region)
    params, _ = merge_template(cloud, call)
    image = params.get("ImageId")
    if not image:
        raise AwsFault("MissingParameter", "The request must contain the parameter ImageId")
    if image not in ec2.amis:
        raise AwsFault("InvalidAMIID.NotFound", f"The image id '[{image}]' does not exist")
    kind = _known_type(params.get("InstanceType", "m1.small"))
    architectures = kind["ProcessorInfo"]["SupportedArchitectures"]
    if ec2.amis[image].architecture not in architectures:
        raise AwsFault(
            "InvalidParameterValue",
            f"The architecture '{','.join(architectures)}' of the specified instance type does not "
            f"match the architecture '{ec2.amis[image].architecture}' of the specified AMI.",
        )
    check_profile(cloud, call.account, params.get("IamInstanceProfile"))
    _check_groups(ec2, params)
    _check_key(ec2, params)
    _check_vcpus(cloud, ec2, kind, count=int(params["MaxCount"]))
    data = str(params.get("UserData") or "")
    if len(data) > _USER_DATA_LIMIT * 4 // 3 + 4:
        raise AwsFault("InvalidUserData.Malformed", "User data is limited to 16384 bytes")


def _check_groups(ec2: Any, params: dict[str, Any]) -> None:
    subnet_id = subnet_of(params)
    if subnet_id is None:
        return
    vpc = ec2.get_subnet(subnet_id).vpc_id
    wanted = list(params.get("SecurityGroupIds") or [])
    for nic in params.get("NetworkInterfaces") or []:
        wanted += nic.get("Groups") or []
    for ident in wanted:
        group = ec2.get_security_group_from_id(ident)
        if group is None:
            raise AwsFault("InvalidGroup.NotFound", f"The security group '{ident}' does not exist")
        if group.vpc_id != vpc:
            raise AwsFault(
                "InvalidParameter",
                f"Security group {ident} and subnet {subnet_id} belong to different networks.",
            )


def _check_key(ec2: Any, params: dict[str, Any]) -> None:
    name = params.get("KeyName")
    if name and name not in ec2.key_pairs:
        raise AwsFault("InvalidKeyPair.NotFound", f"The key pair '{name}' does not exist")


def _check_vcpus(cloud: Cloud, ec2: Any, kind: dict[str, Any], *, count: int) -> None:
    limit = int(cloud.settings.quotas.get(VCPUS, VCPUS_DEFAULT))
    sizes: dict[str, int] = {}
    used = 0
    for instance in ec2.all_instances():
        if instance.state not in ("pending", "running") or instance.lifecycle == "spot":
            continue
        name = instance.instance_type
        if name not in sizes:
            sizes[name] = int(_known_type(name)["VCpuInfo"]["DefaultVCpus"])
        used += sizes[name]
    if used + count * int(kind["VCpuInfo"]["DefaultVCpus"]) > limit:
        raise AwsFault(
            "VcpuLimitExceeded",
            f"You have requested more vCPU capacity than your current vCPU limit of {limit} allows "
            "for the instance bucket that the specified instance type belongs to. Please visit "
            "http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit.",
        )


def _instance(ec2: Any, ident: str) -> Any:
    found = ec2.get_instance_by_id(ident)
    if found is None:
        raise AwsFault("InvalidInstanceID.NotFound", f"The instance ID '{ident}' does not exist")
    return found


@hooks.check("ec2", "StartInstances", "StopInstances", "RebootInstances")
def right_state(cloud: Cloud, call: Call) -> None:
    allowed = {
        "StartInstances": ("stopped", "running", "pending"),
        "StopInstances": ("running", "stopped", "stopping"),
        "RebootInstances": ("running",),
    }[call.operation]
    for ident in call.params["InstanceIds"]:
        state = _instance(_ec2(cloud, call), ident).state
        if state not in allowed:
            raise AwsFault(
                "IncorrectInstanceState",
                f"The instance '{ident}' is not in a state from which it can be "
                f"{call.operation.removesuffix('Instances').lower()}ed.",
            )


@hooks.check("ec2", "ModifyInstanceAttribute")
def modify_instance(cloud: Cloud, call: Call) -> None:
    """Type and user data can only be changed while the instance is stopped."""
    instance = _instance(_ec2(cloud, call), call.params["InstanceId"])
    if ("InstanceType" in call.params or "UserData" in call.params) and instance.state != "stopped":
        raise AwsFault(
            "IncorrectInstanceState", f"The instance '{instance.id}' is not in the 'stopped' state."
        )


@hooks.check("ec2", "AssociateAddress")
def associate_address(cloud: Cloud, call: Call) -> None:
    ident = call.params.get("InstanceId")
    if ident and _instance(_ec2(cloud, call), ident).state not in (
        "running",
        "stopped",
        "stopping",
    ):
        raise AwsFault(
            "InvalidInstanceID",
            f"The pending instance '{ident}' is not in a valid state for this operation.",
        )
    if not call.params.get("AllowReassociation"):
        for address in _ec2(cloud, call).addresses:
            if address.allocation_id == call.params.get("AllocationId") and address.association_id:
                if ident and address.instance is not None and address.instance.id == ident:
                    return
                raise AwsFault(
                    "Resource.AlreadyAssociated",
                    f"resource {address.allocation_id} is already associated with associate-id "
                    f"{address.association_id}",
                )


@hooks.check("ec2", "AttachVolume")
def attach_volume(cloud: Cloud, call: Call) -> None:
    ec2 = _ec2(cloud, call)
    volume = ec2.volumes.get(call.params["VolumeId"])
    if volume is None:
        raise AwsFault(
            "InvalidVolume.NotFound", f"The volume '{call.params['VolumeId']}' does not exist."
        )
    instance = _instance(ec2, call.params["InstanceId"])
    if volume.attachment is not None:
        raise AwsFault("VolumeInUse", f"{volume.id} is already attached to an instance")
    zone = getattr(volume.zone, "name", volume.zone)
    if zone != instance.placement.zone:
        raise AwsFault(
            "InvalidVolume.ZoneMismatch",
            f"The volume '{volume.id}' is not in the same availability zone as instance "
            f"'{instance.id}'",
        )
    if instance.state not in ("running", "stopped", "stopping"):
        raise AwsFault("IncorrectState", f"Instance '{instance.id}' is not 'running'.")


@hooks.check("ec2", "TerminateInstances")
def terminate(cloud: Cloud, call: Call) -> None:
    """All or none: one protected instance keeps the request from ending any."""
    for ident in call.params["InstanceIds"]:
        if _instance(_ec2(cloud, call), ident).disable_api_termination:
            raise AwsFault(
                "OperationNotPermitted",
                f"The instance '{ident}' may not be terminated. Modify its 'disableApiTermination' "
                "instance attribute and try again.",
            )
