"""What a service does with the caller's own rights: actions of others that a call needs as well.

From the API references (EFS, CloudWatch, Cloud Map) and the pages on service-linked roles. Such a
role is demanded at every call that would make it: a rehearsal's account is a fresh one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from hubdeploy.sandbox.cloud.rights.ec2 import tags_of
from hubdeploy.sandbox.cloud.rights.needs import Need, records, resource_tags

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.calls import Call
    from hubdeploy.sandbox.cloud.server import Cloud

Finder = Callable[["Cloud", "Call"], Iterator[Need]]


def needs(cloud: Cloud, call: Call) -> Iterator[Need]:
    """All of it for *call*; nothing for most."""
    finder = _FINDERS.get(call.name)
    if finder is not None:
        yield from finder(cloud, call)


def _ec2(cloud: Cloud, call: Call, action: str, kind: str, ident: str) -> Need:
    tags = tags_of(cloud.backend("ec2", call.account, call.region), ident)
    return Need(
        action=f"ec2:{action}",
        resource=f"arn:aws:ec2:{call.region}:{call.account}:{kind}/{ident}",
        context={"ec2:Region": call.region, **resource_tags(tags, "ec2")},
    )


def _linked(call: Call, service: str, role: str) -> Need:
    return Need(
        action="iam:CreateServiceLinkedRole",
        resource=f"arn:aws:iam::{call.account}:role/aws-service-role/{service}/{role}",
        context={"iam:AWSServiceName": service},
    )


def _mount(cloud: Cloud, call: Call) -> Iterator[Need]:
    for action in ("DescribeSubnets", "DescribeNetworkInterfaces"):
        yield Need(action=f"ec2:{action}", resource="*")
    action = "CreateNetworkInterface"
    yield _ec2(cloud, call, action, "network-interface", "*")
    yield _ec2(cloud, call, action, "subnet", call.params["SubnetId"])
    for group in call.params.get("SecurityGroups") or []:
        yield _ec2(cloud, call, action, "security-group", group)
    yield from _files(cloud, call)


def _interface(cloud: Cloud, call: Call) -> str:
    efs = cloud.backend("efs", call.account, call.region)
    target = efs.mount_targets_by_id.get(call.params["MountTargetId"])
    return str(target.network_interface_id) if target else "*"


def _unmount(cloud: Cloud, call: Call) -> Iterator[Need]:
    ident = _interface(cloud, call)
    yield _ec2(cloud, call, "DeleteNetworkInterface", "network-interface", ident)


def _regroup(cloud: Cloud, call: Call) -> Iterator[Need]:
    action = "ModifyNetworkInterfaceAttribute"
    yield _ec2(cloud, call, action, "network-interface", _interface(cloud, call))
    for group in call.params.get("SecurityGroups") or []:
        yield _ec2(cloud, call, action, "security-group", group)


def _files(_cloud: Cloud, call: Call) -> Iterator[Need]:
    role = "AWSServiceRoleForAmazonElasticFileSystem"
    yield _linked(call, "elasticfilesystem.amazonaws.com", role)


def _alarm(_cloud: Cloud, call: Call) -> Iterator[Need]:
    actions = call.params.get("AlarmActions") or []
    if any(re.search(r":automate:[^:]+:ec2:", action) for action in actions):
        yield _linked(call, "events.amazonaws.com", "AWSServiceRoleForCloudWatchEvents")


def _group(_cloud: Cloud, call: Call) -> Iterator[Need]:
    yield _linked(call, "autoscaling.amazonaws.com", "AWSServiceRoleForAutoScaling")
    mixed = (call.params.get("MixedInstancesPolicy") or {}).get("InstancesDistribution") or {}
    if mixed.get("OnDemandPercentageAboveBaseCapacity", 100) < 100:
        yield _linked(call, "spot.amazonaws.com", "AWSServiceRoleForEC2Spot")


def _namespace(_cloud: Cloud, _call: Call) -> Iterator[Need]:
    """A private namespace is a hosted zone of the VPC (Cloud Map's API permissions reference)."""
    for action in ("CreateHostedZone", "GetHostedZone", "ListHostedZonesByName"):
        yield Need(action=f"route53:{action}", resource="*")
    for action in ("DescribeVpcs", "DescribeRegions"):
        yield Need(action=f"ec2:{action}", resource="*")


def _address(cloud: Cloud, call: Call) -> Iterator[Need]:
    """An instance's record in the namespace's zone; a health check where the service has one, and
    hubdeploy's have none (Cloud Map's API permissions reference and its policy for registrants)."""
    backend = cloud.backend("servicediscovery", call.account, call.region)
    service = backend.services.get(call.params["ServiceId"])
    space = backend.namespaces.get(service.namespace_id) if service else None
    if service is None or space is None or not space.dns_properties:
        return
    zone = f"arn:aws:route53:::hostedzone/{space.dns_properties['HostedZoneId'].rpartition('/')[2]}"
    yield Need(action="route53:ListHostedZonesByName", resource="*")
    yield Need(action="route53:GetHostedZone", resource=zone)
    yield Need(
        action="route53:ChangeResourceRecordSets",
        resource=zone,
        context=records([f"{service.name}.{space.name}"], ["A"]),
    )


_FINDERS: dict[str, Finder] = {
    "efs:CreateMountTarget": _mount,
    "efs:DeleteMountTarget": _unmount,
    "efs:ModifyMountTargetSecurityGroups": _regroup,
    "efs:PutBackupPolicy": _files,
    "cloudwatch:PutMetricAlarm": _alarm,
    "servicediscovery:CreatePrivateDnsNamespace": _namespace,
    "servicediscovery:RegisterInstance": _address,
    "servicediscovery:DeregisterInstance": _address,
    "autoscaling:CreateAutoScalingGroup": _group,
}
