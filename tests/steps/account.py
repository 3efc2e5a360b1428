"""All that is in an account, in a form in which two accounts can be compared.

Everything is read by AWS's own API, without a look at tags, so that a thing made twice, or without
a tag, shows. Ids are replaced by logical names; what differs by nature (times, addresses, random
ids) is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from hubdeploy.aws.inventory import tags_of
from hubdeploy.config.names import TAG_RESOURCE
from hubdeploy.errors import AwsError
from tests.plugins.aws import CloudAccount

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
_VOLATILE = re.compile(
    r"(Time|Date|Created|Ip|IpAddress|Dns|DnsName|Mac|MacAddress|Association|AssociationId|"
    r"AttachmentId|ReservationId|ETag|Version|Arn|arn|ARN|RoleId|ProfileId|CreatorRequestId|"
    r"LastUsed|createdAt|creationTime|StateReason|StateTransitionReason|Status|OwnerId|"
    r"RequesterId|ClientToken|HostedZoneId|Id|SizeInBytes|Size|State|Iops|Throughput|Groups|Zone|"
    r"AvailableIpAddressCount|Reason|StateUpdatedTimestamp|CreationToken|DnsProperties|"
    r"PrivateIpAddresses|RoleLastUsed|InstanceCount|ServiceCount|AvailabilityZoneId)$"
)
_KEPT = {"SubnetId", "VpcId", "GatewayId", "NatGatewayId", "GroupId", "InstanceId", "FileSystemId"}
_ENDED = {"deleted", "deleting", "terminated", "shutting-down"}


def read(cloud: CloudAccount) -> dict[str, list[str]]:
    """Kind of thing -> canonical texts of all there are, sorted."""
    found: dict[str, list[Any]] = {}
    ids: dict[str, str] = {cloud.account: "<account>"}
    for kind, resource_id, item in _everything(cloud):
        found.setdefault(kind, []).append(item)
        logical = tags_of(item).get(TAG_RESOURCE) if isinstance(item, dict) else None
        if resource_id and logical:
            ids[resource_id] = f"<{logical}>"
    return {
        kind: sorted(json.dumps(_canonical(item, ids), sort_keys=True) for item in items)
        for kind, items in sorted(found.items())
    }


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
            key: _canonical(item, ids)
            for key, item in value.items()
            if key in _KEPT or not _VOLATILE.search(key)
        }
    if isinstance(value, (list, tuple)):
        return sorted((_canonical(item, ids) for item in value), key=lambda x: json.dumps(x))
    if isinstance(value, str):
        text = ids.get(value, value)
        for resource_id, logical in ids.items():
            if resource_id in text:
                text = text.replace(resource_id, logical)
        if re.fullmatch(r"[0-9a-f]{16}", text):
            # digests of what holds the account's number
            return "digest"
        # what is left are things without a name: their ids differ from run to run
        return re.sub(
            r"\b(i|vol|eni|ami|sg|subnet|vpc|rtb|acl|dopt|fsmt)-[0-9a-f]{8,}", r"\1-*", text
        )
    return value if isinstance(value, (int, float, bool, type(None))) else str(type(value))


def _everything(cloud: CloudAccount) -> Iterator[tuple[str, str, Any]]:
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
        # machines' own parameters bear their ids
        yield "Parameters", "", re.sub(r"i-[0-9a-f]{8,}", "i-*", item["Name"])
    for item in aws.pages("ecr", "describe_repositories", "repositories"):
        yield "repositories", "", item
    for item in aws.pages("logs", "describe_log_groups", "logGroups"):
        yield "logGroups", "", item
    for item in aws.pages("cloudwatch", "describe_alarms", "MetricAlarms"):
        yield "MetricAlarms", "", item
    for zone in aws.pages("route53", "list_hosted_zones", "HostedZones"):
        for item in aws.pages(
            "route53", "list_resource_record_sets", "ResourceRecordSets", HostedZoneId=zone["Id"]
        ):
            if item["Type"] == "A":
                yield "Records", "", item["Name"]


def _buckets(cloud: CloudAccount) -> Iterator[tuple[str, str, Any]]:
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


def _setting(cloud: CloudAccount, operation: str, bucket: str) -> Any:
    try:
        answer = cloud.aws.call("s3", operation, Bucket=bucket)
    except AwsError as error:
        return error.code
    answer.pop("ResponseMetadata")
    return json.loads(json.dumps(answer, default=str).replace(cloud.account, "ACCOUNT"))


def _iam(cloud: CloudAccount) -> Iterator[tuple[str, str, Any]]:
    for item in cloud.aws.pages("iam", "list_roles", "Roles"):
        name = item["RoleName"]
        inline = cloud.aws.call("iam", "list_role_policies", RoleName=name)["PolicyNames"]
        yield "Roles", "", {"name": name, "inline": inline}
    for item in cloud.aws.pages("iam", "list_instance_profiles", "InstanceProfiles"):
        roles = [role["RoleName"] for role in item["Roles"]]
        yield "InstanceProfiles", "", {"name": item["InstanceProfileName"], "roles": roles}
