"""What is left of a deployment, looked for anew and service by service.

The tagging API does not know IAM, Route 53, ECR, Cloud Map and some more, so each is asked itself.
What AWS made on the deployment's behalf counts too: network interfaces, log groups, disks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from hubdeploy.aws.groups import workers_groups
from hubdeploy.aws.inventory import Inventory, tags_of
from hubdeploy.config.names import TAG_DEPLOYMENT, TAG_KEEP, TAG_RESOURCE, Role
from hubdeploy.errors import AwsError
from hubdeploy.pipeline.step import Context
from hubdeploy.steps import alarms
from hubdeploy.steps.base import MISSING
from hubdeploy.steps.leader_parts import keeps_hub

_EC2: tuple[tuple[str, str, str, str], ...] = (
    ("describe_vpcs", "Vpcs", "VpcId", "VPC"),
    ("describe_subnets", "Subnets", "SubnetId", "subnet"),
    ("describe_internet_gateways", "InternetGateways", "InternetGatewayId", "internet gateway"),
    ("describe_nat_gateways", "NatGateways", "NatGatewayId", "NAT gateway"),
    ("describe_route_tables", "RouteTables", "RouteTableId", "route table"),
    ("describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId", "VPC endpoint"),
    ("describe_security_groups", "SecurityGroups", "GroupId", "security group"),
    ("describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId", "interface"),
    ("describe_addresses", "Addresses", "AllocationId", "Elastic IP"),
    ("describe_volumes", "Volumes", "VolumeId", "volume"),
    ("describe_launch_templates", "LaunchTemplates", "LaunchTemplateId", "launch template"),
    ("describe_key_pairs", "KeyPairs", "KeyPairId", "key pair"),
)
"""Operation, key of its items, key of an item's id, word for people."""

_ENDED = frozenset({"deleted", "deleting", "terminated"})


def find(ctx: Context) -> list[str]:
    """Human names of all that is left, sorted. What is kept on purpose and the lock do not
    count. About thirty reads, side by side."""
    fresh = Inventory(aws=ctx.aws, names=ctx.names)
    looks: list[Callable[[], Iterator[str]]] = [
        *(partial(_ec2, ctx, fresh, *row) for row in _EC2),
        partial(_instances, fresh),
        partial(_groups, ctx),
        partial(_bucket, ctx),
        partial(_iam, ctx),
        partial(_files, ctx),
        partial(_discovery, ctx),
        partial(_parameters, ctx),
        partial(_registry, ctx),
        partial(_logs, ctx),
        partial(_alarms, ctx),
    ]
    with ThreadPoolExecutor(8) as pool:
        return sorted(
            found for names in pool.map(lambda look: list(look()), looks) for found in names
        )


def _there(ctx: Context, service: str, operation: str, **params: Any) -> dict[str, Any] | None:
    try:
        return ctx.aws.call(service, operation, **params)
    except AwsError as error:
        if error.code in MISSING:
            return None
        raise


def _ec2(
    ctx: Context, fresh: Inventory, operation: str, key: str, field: str, word: str
) -> Iterator[str]:
    for item in fresh.ec2(operation, key):
        kept = keeps_hub(ctx) and TAG_KEEP in tags_of(item)
        if str(item.get("State", "")).lower() not in _ENDED and not kept:
            yield f"{word} {item[field]}"


def _instances(fresh: Inventory) -> Iterator[str]:
    for reservation in fresh.ec2("describe_instances", "Reservations"):
        for item in reservation["Instances"]:
            if item["State"]["Name"] != "terminated":
                yield f"instance {item['InstanceId']}"


def _groups(ctx: Context) -> Iterator[str]:
    for item in workers_groups(aws=ctx.aws, names=ctx.names):
        yield f"auto scaling group {item['AutoScalingGroupName']}"


def _bucket(ctx: Context) -> Iterator[str]:
    if _there(ctx, "s3", "get_bucket_versioning", Bucket=ctx.names.bucket) is not None:
        yield f"bucket {ctx.names.bucket}"


def _iam(ctx: Context) -> Iterator[str]:
    for role in Role:
        name = ctx.names.machine_role(role)
        found = _there(ctx, "iam", "get_role", RoleName=name)
        if found and tags_of(found["Role"]).get(TAG_DEPLOYMENT) == ctx.names.deployment:
            yield f"IAM role {name}"
        if _there(ctx, "iam", "get_instance_profile", InstanceProfileName=name):
            yield f"instance profile {name}"


def _files(ctx: Context) -> Iterator[str]:
    for item in ctx.aws.pages("efs", "describe_file_systems", "FileSystems"):
        tags = tags_of(item)
        if tags.get(TAG_DEPLOYMENT) != ctx.names.deployment or TAG_RESOURCE not in tags:
            continue
        name = item["FileSystemId"]
        if TAG_KEEP not in tags and item.get("LifeCycleState") not in _ENDED:
            yield f"file system {name}"
        if item.get("NumberOfMountTargets"):
            yield f"mount targets of {name}"


def _discovery(ctx: Context) -> Iterator[str]:
    for item in ctx.aws.pages(
        "servicediscovery",
        "list_namespaces",
        "Namespaces",
        Filters=[{"Name": "NAME", "Values": [ctx.names.namespace], "Condition": "EQ"}],
    ):
        yield f"namespace {item['Name']}"


def _parameters(ctx: Context) -> Iterator[str]:
    names = ctx.names.parameters
    for item in ctx.aws.pages(
        "ssm", "get_parameters_by_path", "Parameters", Path=names.root, Recursive=True
    ):
        kept = keeps_hub(ctx) and names.is_kept(item["Name"])
        if item["Name"] != names.lock and not kept:
            yield f"parameter {item['Name']}"


def _registry(ctx: Context) -> Iterator[str]:
    name = ctx.names.repository
    if _there(ctx, "ecr", "describe_repositories", repositoryNames=[name]):
        yield f"ECR repository {name}"


def _logs(ctx: Context) -> Iterator[str]:
    for item in ctx.aws.pages(
        "logs", "describe_log_groups", "logGroups", logGroupNamePrefix=ctx.names.log_group("")
    ):
        yield f"log group {item['logGroupName']}"


def _alarms(ctx: Context) -> Iterator[str]:
    for name in alarms.own(aws=ctx.aws, names=ctx.names):
        yield f"alarm {name}"
