"""What the other services refuse: names taken or being deleted, things in use, limits of size."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hubdeploy.sandbox.cloud import groups
from hubdeploy.sandbox.cloud.fault import AwsFault
from hubdeploy.sandbox.cloud.hooks import Hooks
from hubdeploy.sandbox.cloud.overlay.templates import launch_template_data
from hubdeploy.sandbox.cloud.strict.instances import check_profile

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.calls import Call
    from hubdeploy.sandbox.cloud.server import Cloud

hooks = Hooks()
_POLICY_LIMIT = 10240
_PARAMETER_LIMIT = 4096


# ---- Auto Scaling ----------------------------------------------------------------------------


def _held(cloud: Cloud, call: Call) -> dict[str, Any]:
    found: dict[str, Any] = cloud.backend(
        "autoscaling", call.account, call.region
    ).autoscaling_groups
    return found


@hooks.check("autoscaling", "CreateAutoScalingGroup")
def create_group(cloud: Cloud, call: Call) -> None:
    name = call.params["AutoScalingGroupName"]
    if name in groups.site_of(cloud, call.account, call.region).deleting:
        raise AwsFault(
            "AlreadyExists", f"AutoScalingGroup by this name already exists - {name} pending delete"
        )
    if name in _held(cloud, call):
        raise AwsFault(
            "AlreadyExists",
            f"AutoScalingGroup by this name already exists - A group with the name {name} already "
            "exists",
        )
    _check_sizes(call, low=None, high=None)
    _check_template(cloud, call)
    _check_subnets(cloud, call)


@hooks.check("autoscaling", "UpdateAutoScalingGroup")
def update_group(cloud: Cloud, call: Call) -> None:
    name = call.params["AutoScalingGroupName"]
    group = _held(cloud, call).get(name)
    if group is None:
        return
    if name in groups.site_of(cloud, call.account, call.region).deleting:
        raise AwsFault(
            "ScalingActivityInProgress", f"The group {name} is being deleted and cannot be updated."
        )
    _check_sizes(call, low=group.min_size, high=group.max_size)
    _check_template(cloud, call)


def _check_sizes(call: Call, *, low: int | None, high: int | None) -> None:
    least = int(call.params.get("MinSize", low or 0))
    most = int(call.params.get("MaxSize", high or 0))
    if least > most:
        raise AwsFault(
            "ValidationError",
            f"Max bound, {most}, must be greater than or equal to min bound, {least}",
        )
    wanted = call.params.get("DesiredCapacity")
    if wanted is not None and not least <= int(wanted) <= most:
        raise AwsFault(
            "ValidationError",
            f"Desired capacity:{wanted} must be between the specified min size:{least} and max "
            f"size:{most}",
        )


def _check_template(cloud: Cloud, call: Call) -> None:
    """AWS reads the template when the group is made, with the errors of a launch."""
    spec = call.params.get("LaunchTemplate")
    policy = call.params.get("MixedInstancesPolicy")
    if policy:
        spec = policy.get("LaunchTemplate", {}).get("LaunchTemplateSpecification")
    if not spec:
        return
    try:
        _, version = launch_template_data(cloud, call, spec)
        check_profile(cloud, call.account, version.data.get("IamInstanceProfile"))
    except AwsFault as fault:
        raise AwsFault(
            "ValidationError",
            f"You must use a valid fully-formed launch template. {fault.message}",
        ) from fault


def _check_subnets(cloud: Cloud, call: Call) -> None:
    ec2 = cloud.backend("ec2", call.account, call.region)
    known = {ident for zone in ec2.subnets.values() for ident in zone}
    for subnet in filter(None, (call.params.get("VPCZoneIdentifier") or "").split(",")):
        if subnet.strip() not in known:
            raise AwsFault("ValidationError", f"The subnet ID '{subnet.strip()}' does not exist")


# ---- Cloud Map -------------------------------------------------------------------------------


@hooks.check("servicediscovery", "CreatePrivateDnsNamespace")
def create_namespace(cloud: Cloud, call: Call) -> None:
    held = cloud.backend("servicediscovery", call.account, call.region).namespaces.values()
    for namespace in held:
        if namespace.name == call.params["Name"]:
            raise AwsFault(
                "NamespaceAlreadyExists", f"The namespace {namespace.name} already exists."
            )


@hooks.check("servicediscovery", "DeleteNamespace")
def delete_namespace(cloud: Cloud, call: Call) -> None:
    held = cloud.backend("servicediscovery", call.account, call.region).services.values()
    if any(service.namespace_id == call.params["Id"] for service in held):
        raise AwsFault("ResourceInUse", "Namespace is associated with one or more services.")


@hooks.check("servicediscovery", "CreateService")
def create_service(cloud: Cloud, call: Call) -> None:
    held = cloud.backend("servicediscovery", call.account, call.region).services.values()
    name, space = call.params["Name"], call.params.get("NamespaceId")
    if any(service.name == name and service.namespace_id == space for service in held):
        raise AwsFault("ServiceAlreadyExists", "Service already exists.")


@hooks.check("servicediscovery", "DeleteService")
def delete_service(cloud: Cloud, call: Call) -> None:
    held = cloud.backend("servicediscovery", call.account, call.region).services
    service = held.get(call.params["Id"])
    if service is None:
        raise AwsFault("ServiceNotFound", f"Service not found: {call.params['Id']}", status=404)
    if service.instances:
        raise AwsFault("ResourceInUse", "Service contains registered instances; delete them first.")


# ---- IAM, SSM, EFS ---------------------------------------------------------------------------


@hooks.check("iam", "PutRolePolicy")
def put_role_policy(cloud: Cloud, call: Call) -> None:
    """All inline policies of a role together may hold 10240 characters, white space not counted."""
    roles = cloud.backend("iam", call.account, "aws").roles.values()
    role = next((role for role in roles if role.name == call.params["RoleName"]), None)
    if role is None:
        return
    documents = {name: _text(value) for name, value in role.policies.items()}
    documents[call.params["PolicyName"]] = call.params["PolicyDocument"]
    size = sum(len("".join(text.split())) for text in documents.values())
    if size > _POLICY_LIMIT:
        raise AwsFault(
            "LimitExceeded",
            f"Maximum policy size of {_POLICY_LIMIT} bytes exceeded for role {role.name}",
            status=409,
        )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@hooks.check("ssm", "PutParameter")
def put_parameter(_cloud: Cloud, call: Call) -> None:
    params = call.params
    if len(params["Value"].encode()) > _PARAMETER_LIMIT and params.get("Tier") in (
        None,
        "Standard",
    ):
        raise AwsFault(
            "ValidationException",
            "Standard tier parameters support a maximum parameter value of 4096 characters.",
        )
    if params.get("Overwrite") and params.get("Tags"):
        raise AwsFault(
            "ValidationException",
            "Invalid request: tags and overwrite can't be used together. To create a parameter "
            "with tags, please remove overwrite flag.",
        )


@hooks.check("ssm", "GetParameters", "DeleteParameters")
def ten_at_most(_cloud: Cloud, call: Call) -> None:
    if len(call.params["Names"]) > 10:
        raise AwsFault(
            "ValidationException",
            f"1 validation error detected: Value '{call.params['Names']}' at 'names' failed to "
            "satisfy constraint: Member must have length less than or equal to 10.",
        )


@hooks.check("efs", "CreateMountTarget")
def create_mount_target(cloud: Cloud, call: Call) -> None:
    efs = cloud.backend("efs", call.account, call.region)
    found = efs.file_systems_by_id.get(call.params["FileSystemId"])
    if found is not None and found.life_cycle_state != "available":
        raise AwsFault(
            "IncorrectFileSystemLifeCycleState",
            f"File system '{found.file_system_id}' is not available.",
        )
