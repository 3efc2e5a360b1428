"""All that is in an account, in a form in which two accounts can be compared.

Everything is read by AWS's own API, with its contents and without a look at tags, so that a thing
made twice, or without a tag, or with the wrong content shows. What the services that are read here
do not tell comes from moto itself: how many things each service that was ever touched holds. Ids
are replaced by logical names; what differs by nature (times, addresses, random ids) is left out.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any, Protocol

from moto.core.base_backend import BackendDict

from hubdeploy.aws.inventory import tags_of
from hubdeploy.aws.session import Aws
from hubdeploy.config.names import TAG_RESOURCE
from hubdeploy.errors import AwsError

EC2 = {
    "describe_vpcs": ("Vpcs", "VpcId"),
    "describe_subnets": ("Subnets", "SubnetId"),
    "describe_internet_gateways": ("InternetGateways", "InternetGatewayId"),
    "describe_nat_gateways": ("NatGateways", "NatGatewayId"),
    "describe_route_tables": ("RouteTables", "RouteTableId"),
    "describe_vpc_endpoints": ("VpcEndpoints", "VpcEndpointId"),
    "describe_security_groups": ("SecurityGroups", "GroupId"),
    "describe_network_interfaces": ("NetworkInterfaces", "NetworkInterfaceId"),
    "describe_addresses": ("Addresses", "AllocationId"),
    "describe_volumes": ("Volumes", "VolumeId"),
    "describe_snapshots": ("Snapshots", "SnapshotId"),
    "describe_launch_templates": ("LaunchTemplates", "LaunchTemplateId"),
    "describe_key_pairs": ("KeyPairs", "KeyPairId"),
}
_VOLATILE = frozenset(
    {
        # random, and no part of what was asked for
        "AssociationId",
        "AttachmentId",
        "ClientToken",
        "CreationToken",
        "CreatorRequestId",
        "InstanceProfileId",
        "KeyFingerprint",
        "KeyMaterial",
        "MacAddress",
        "ReservationId",
        "RoleId",
        "RouteTableAssociationId",
        "SecurityGroupRuleId",
        # moto's own notion of time and of how much is there
        "AvailableIpAddressCount",
        "SizeInBytes",
        "RoleLastUsed",
        "StateReasonData",
        "StateTransitionReason",
        "storedBytes",
        "HostedZoneId",
        "LatestVersionNumber",
        "VersionNumber",
        "AmiLaunchIndex",
    }
)
"""Fields that differ between two accounts in which the same was done."""
_ENDED = {"deleted", "deleting", "terminated", "shutting-down"}
_SHAPES = (
    (re.compile(r"\d{4}-\d\d-\d\d[T ][\d:.]+(\+00:00|Z)?"), "<time>"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"\b([a-z]+)-[0-9a-f]{8,17}\b"), r"<\1>"),
    (re.compile(r"\b(ns|srv)-[0-9a-z]{8,}\b"), r"<\1>"),
    (re.compile(r"\b\d+\.\d+\.\d+\.\d+\b(?!/)"), "<address>"),
    (re.compile(r"\b(ip|ec2)-\d+-\d+-\d+-\d+\b"), "<host>"),
    # digests of what holds the account's number or an id
    (re.compile(r"[0-9a-f]{16,}"), "<digest>"),
)
_HISTORY = frozenset(
    {
        # what moto keeps of things that are gone, or AWS brings of its own; the rest is read
        "ec2.amis",
        "ec2.launch_template_insert_order",
        "ec2.managed_prefix_lists",
        "ec2.nat_gateways",
        "ec2.network_acls",
        "ec2.reservations",
        "ec2.snapshots",
        "ec2.tags",
        "ecr.registry_scanning_configuration",
        "efs.creation_tokens",
        "efs.file_systems_by_id",
        "kms.keys",
        "route53.delegation_sets",
        "servicediscovery.operations",
        "sts.assumed_roles",
    }
)


class Account(Protocol):
    """Whose things are read, by whom."""

    account: str
    aws: Aws


def read(cloud: Account) -> dict[str, list[str]]:
    """Kind of thing -> canonical texts of all there are, sorted."""
    found: dict[str, list[Any]] = {}
    ids: dict[str, str] = {cloud.account: "<account>"}
    for kind, resource_id, item in _everything(cloud):
        found.setdefault(kind, []).append(item)
        logical = tags_of(item).get(TAG_RESOURCE) if isinstance(item, dict) else None
        if resource_id and logical:
            ids[resource_id] = f"<{logical}>"
    state = {
        kind: sorted(json.dumps(_canonical(item, ids), sort_keys=True) for item in items)
        for kind, items in sorted(found.items())
    }
    return {**state, "census": census(cloud.account)}


def census(account: str) -> list[str]:
    """``service.kind number`` of everything that any service of moto holds for the account."""
    found: dict[str, int] = {}
    for backends in BackendDict._instances:
        if account not in dict.keys(backends):
            continue
        for backend in dict.values(backends[account]):
            for name, things in vars(backend).items():
                kind = f"{backends.service_name}.{name}"
                if isinstance(things, (dict, list, set)) and kind not in _HISTORY:
                    found[kind] = found.get(kind, 0) + _number(things)
    return sorted(f"{kind} {number}" for kind, number in found.items() if number)


def _number(things: Any) -> int:
    """How many there are; moto nests by zone or region, and keeps versions in lists."""
    if isinstance(things, dict):
        return sum(_number(item) if isinstance(item, dict) else 1 for item in things.values())
    return len(things)


def differences(one: dict[str, list[str]], other: dict[str, list[str]]) -> list[str]:
    """What only one of them has; empty when they are the same."""
    found = []
    for sign, mine, theirs in (("+", one, other), ("-", other, one)):
        for kind in mine:
            rest = list(theirs.get(kind, []))
            for item in mine[kind]:
                if item in rest:
                    rest.remove(item)
                else:
                    found.append(f"{sign} {kind} {item}")
    return sorted(found)


def counts(state: dict[str, list[str]]) -> dict[str, int]:
    return {kind: len(items) for kind, items in state.items()}


def _canonical(value: Any, ids: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            _text(key, ids): _canonical(item, ids)
            for key, item in value.items()
            if key not in _VOLATILE
        }
    if isinstance(value, (list, tuple)):
        return sorted((_canonical(item, ids) for item in value), key=lambda x: json.dumps(x))
    if isinstance(value, str):
        return _text(value, ids)
    if isinstance(value, (int, float)):
        # milliseconds since 1970 are a time
        return "<time>" if value > 1e9 and value < 1e14 else value
    return value if value is None else str(type(value))


def _text(text: str, ids: dict[str, str]) -> str:
    for resource_id, logical in ids.items():
        text = text.replace(resource_id, logical)
    for shape, stands_for in _SHAPES:
        text = shape.sub(stands_for, text)
    return text


def _everything(cloud: Account) -> Iterator[tuple[str, str, Any]]:
    aws = cloud.aws
    for operation, (key, field) in EC2.items():
        more: dict[str, Any] = {"OwnerIds": ["self"]} if key == "Snapshots" else {}
        for item in aws.pages("ec2", operation, key, **more):
            # the embedded AWS's own images bring snapshots
            if "for AMI" in str(item.get("Description", "")):
                continue
            if str(item.get("State", "")).lower() not in _ENDED:
                yield key, item[field], item
    for reservation in aws.pages("ec2", "describe_instances", "Reservations"):
        for item in reservation["Instances"]:
            if item["State"]["Name"] not in _ENDED:
                yield "Instances", item["InstanceId"], item
    for item in aws.pages("autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups"):
        yield "AutoScalingGroups", "", {**item, "Instances": len(item["Instances"])}
    yield from _buckets(cloud)
    yield from _iam(cloud)
    for item in aws.pages("efs", "describe_file_systems", "FileSystems"):
        name = item["FileSystemId"]
        yield "FileSystems", name, item
        for target in aws.pages("efs", "describe_mount_targets", "MountTargets", FileSystemId=name):
            yield "MountTargets", "", target
    for item in aws.pages("efs", "describe_access_points", "AccessPoints"):
        yield "AccessPoints", item["AccessPointId"], item
    for item in aws.pages("servicediscovery", "list_namespaces", "Namespaces"):
        yield "Namespaces", "", item
    for item in aws.pages("servicediscovery", "list_services", "Services"):
        yield "Services", "", item
    for item in aws.pages("ssm", "describe_parameters", "Parameters"):
        yield "Parameters", "", _parameter(cloud, item["Name"], item["Type"])
    for item in aws.pages("ecr", "describe_repositories", "repositories"):
        yield "repositories", "", item
    for item in aws.pages("logs", "describe_log_groups", "logGroups"):
        yield "logGroups", "", item
    for template in aws.pages("ec2", "describe_launch_templates", "LaunchTemplates"):
        (version,) = aws.pages(
            "ec2",
            "describe_launch_template_versions",
            "LaunchTemplateVersions",
            LaunchTemplateId=template["LaunchTemplateId"],
            Versions=["$Default"],
        )
        data = version["LaunchTemplateData"]
        script = base64.b64decode(data["UserData"]).decode()
        version["LaunchTemplateData"] = {**data, "UserData": script}
        yield "LaunchTemplateVersions", "", version
    for item in aws.pages("cloudwatch", "describe_alarms", "MetricAlarms"):
        yield "MetricAlarms", "", item
    for zone in aws.pages("route53", "list_hosted_zones", "HostedZones"):
        for item in aws.pages(
            "route53", "list_resource_record_sets", "ResourceRecordSets", HostedZoneId=zone["Id"]
        ):
            if item["Type"] not in ("NS", "SOA"):
                yield "Records", "", item


def _parameter(cloud: Account, name: str, kind: str) -> dict[str, Any]:
    """With its value, unless that is random: a secret's."""
    value = cloud.aws.call("ssm", "get_parameter", Name=name)["Parameter"]["Value"]
    try:
        value = json.loads(value)
    except ValueError:
        value = re.sub(r"AAAA\S+", "<key>", value)
    if isinstance(value, dict):
        # what a machine says of itself, and the lock says of the process
        value = {key: item for key, item in value.items() if key not in ("pid", "detail", "log")}
    return {"name": name, "type": kind, "value": "" if kind == "SecureString" else value}


def _buckets(cloud: Account) -> Iterator[tuple[str, str, Any]]:
    for item in cloud.aws.call("s3", "list_buckets")["Buckets"]:
        name = item["Name"]
        settings = {
            operation: _setting(cloud, operation, name)
            for operation in (
                "get_bucket_tagging",
                "get_bucket_versioning",
                "get_public_access_block",
                "get_bucket_encryption",
                "get_bucket_lifecycle_configuration",
                "get_bucket_policy",
            )
        }
        yield "Buckets", "", settings
        keys = [
            entry["Key"]
            for entry in cloud.aws.pages("s3", "list_objects_v2", "Contents", Bucket=name)
        ]
        # named by their content, which holds ids: that there is one of each kind is what counts
        for key in sorted({re.sub(r"[0-9a-f]{64}", "*", key) for key in keys}):
            yield "Objects", "", key


def _setting(cloud: Account, operation: str, bucket: str) -> Any:
    try:
        answer = cloud.aws.call("s3", operation, Bucket=bucket)
    except AwsError as error:
        return error.code
    answer.pop("ResponseMetadata")
    return json.loads(json.dumps(answer, default=str).replace(cloud.account, "ACCOUNT"))


def _iam(cloud: Account) -> Iterator[tuple[str, str, Any]]:
    aws = cloud.aws
    for item in aws.pages("iam", "list_roles", "Roles"):
        name = item["RoleName"]
        inline = aws.pages("iam", "list_role_policies", "PolicyNames", RoleName=name)
        others = aws.pages("iam", "list_attached_role_policies", "AttachedPolicies", RoleName=name)
        documents = {
            policy: aws.call("iam", "get_role_policy", RoleName=name, PolicyName=policy)[
                "PolicyDocument"
            ]
            for policy in inline
        }
        yield "Roles", "", {**item, "policies": documents, "attached": others}
    for item in aws.pages("iam", "list_instance_profiles", "InstanceProfiles"):
        roles = [role["RoleName"] for role in item["Roles"]]
        yield "InstanceProfiles", "", {"name": item["InstanceProfileName"], "roles": roles}
