"""Eventual consistency: what was just made is unknown for a while (aws/aws-parallelcluster#7265).

Off unless ``settings.missing_reads`` says how many calls that name a new thing do not find it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hubdeploy.sandbox.cloud.fault import AwsFault
from hubdeploy.sandbox.cloud.hooks import Hooks

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.calls import Call
    from hubdeploy.sandbox.cloud.server import Cloud

hooks = Hooks()
_MADE = {
    "CreateVpc": ("Vpc", "VpcId"),
    "CreateSubnet": ("Subnet", "SubnetId"),
    "CreateInternetGateway": ("InternetGateway", "InternetGatewayId"),
    "CreateRouteTable": ("RouteTable", "RouteTableId"),
    "CreateNatGateway": ("NatGateway", "NatGatewayId"),
    "CreateVpcEndpoint": ("VpcEndpoint", "VpcEndpointId"),
    "CreateLaunchTemplate": ("LaunchTemplate", "LaunchTemplateId"),
    "CreateSecurityGroup": ("", "GroupId"),
    "AllocateAddress": ("", "AllocationId"),
    "CreateVolume": ("", "VolumeId"),
}
_CODE = {
    "vpc": "InvalidVpcID.NotFound",
    "subnet": "InvalidSubnetID.NotFound",
    "igw": "InvalidInternetGatewayID.NotFound",
    "rtb": "InvalidRouteTableID.NotFound",
    "nat": "NatGatewayNotFound",
    "vpce": "InvalidVpcEndpointId.NotFound",
    "lt": "InvalidLaunchTemplateId.NotFound",
    "sg": "InvalidGroup.NotFound",
    "eipalloc": "InvalidAllocationID.NotFound",
    "vol": "InvalidVolume.NotFound",
    "i": "InvalidInstanceID.NotFound",
}
_USERS = (
    *("CreateSubnet", "CreateSecurityGroup", "CreateRouteTable", "AttachInternetGateway"),
    *("AssociateRouteTable", "CreateRoute", "CreateNatGateway", "CreateVpcEndpoint"),
    *("AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress", "ModifyVpcAttribute"),
    *("RevokeSecurityGroupEgress", "ModifySubnetAttribute", "CreateTags", "AssociateAddress"),
    *("AttachVolume", "ModifyInstanceAttribute", "ModifyInstanceMetadataOptions", "RunInstances"),
    *("DescribeVpcs", "DescribeSubnets", "DescribeInternetGateways", "DescribeRouteTables"),
    *("DescribeNatGateways", "DescribeVpcEndpoints", "DescribeLaunchTemplates", "DescribeVolumes"),
    *("DescribeSecurityGroups", "DescribeAddresses", "DescribeInstances", "DescribeVpcAttribute"),
    *("DescribeInstanceStatus", "CreateLaunchTemplateVersion", "ModifyLaunchTemplate"),
)


def _hidden(cloud: Cloud, call: Call) -> dict[str, int]:
    return cloud.store(call.account, call.region, "late", dict)


@hooks.amend("ec2", *_MADE)
def made(cloud: Cloud, call: Call, result: dict[str, Any]) -> None:
    if cloud.settings.missing_reads:
        outer, field = _MADE[call.operation]
        ident = (result[outer] if outer else result)[field]
        _hidden(cloud, call)[ident] = cloud.settings.missing_reads


def hide_instance(cloud: Cloud, call: Call, ident: str) -> None:
    if cloud.settings.missing_reads:
        _hidden(cloud, call)[ident] = cloud.settings.missing_reads


@hooks.check("ec2", *_USERS)
def used(cloud: Cloud, call: Call) -> None:
    if not cloud.settings.missing_reads or call.principal.service:
        return
    hidden = _hidden(cloud, call)
    for ident in _idents(call.params):
        if hidden.get(ident, 0) > 0:
            hidden[ident] -= 1
            code = _CODE[ident.partition("-")[0]]
            raise AwsFault(code, f"The ID '{ident}' does not exist")


def _idents(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value] if value.partition("-")[0] in _CODE else []
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [ident for part in inner for ident in _idents(part)]
