"""EC2's objects and the names in DNS and Cloud Map."""

from __future__ import annotations

from collections.abc import Iterator

from hubdeploy.config.names import Names
from hubdeploy.operate.policy.grant import Grant, arn, region, requested, tagged
from hubdeploy.steps.base import partition

_CREATE = (
    "AllocateAddress",
    "AssociateRouteTable",
    "AttachInternetGateway",
    "CreateInternetGateway",
    "CreateLaunchTemplate",
    "CreateNatGateway",
    "CreateRouteTable",
    "CreateSecurityGroup",
    "CreateSubnet",
    "CreateVolume",
    "CreateVpc",
    "CreateVpcEndpoint",
    "ImportKeyPair",
    "RunInstances",
)
_CHANGE = (
    "AssociateAddress",
    "AuthorizeSecurityGroupEgress",
    "AuthorizeSecurityGroupIngress",
    "CreateLaunchTemplateVersion",
    "CreateRoute",
    "CreateTags",
    "DeleteInternetGateway",
    "DeleteKeyPair",
    "DeleteLaunchTemplate",
    "DeleteNatGateway",
    "DeleteNetworkInterface",
    "DeleteRouteTable",
    "DeleteSecurityGroup",
    "DeleteSubnet",
    "DeleteTags",
    "DeleteVolume",
    "DeleteVpc",
    "DeleteVpcEndpoints",
    "DetachInternetGateway",
    "DisassociateAddress",
    "DisassociateRouteTable",
    "ModifyInstanceAttribute",
    "ModifyInstanceMetadataOptions",
    "ModifyLaunchTemplate",
    "ModifySubnetAttribute",
    "ModifyVolume",
    "ModifyVpcAttribute",
    "ModifyVpcEndpoint",
    "ReleaseAddress",
    "ReplaceRoute",
    "RevokeSecurityGroupEgress",
    "RevokeSecurityGroupIngress",
    "StartInstances",
    "TerminateInstances",
)


def network(names: Names) -> Iterator[Grant]:
    yield Grant(
        sid="Ec2Create",
        actions=tuple(f"ec2:{name}" for name in _CREATE),
        condition=region(names),
    )
    yield Grant(
        sid="Ec2TagOnCreate",
        actions=("ec2:CreateTags",),
        resources=(arn(names, "ec2", "*/*"),),
        condition={"StringEquals": {"ec2:CreateAction": [*_CREATE, "CreateFleet"]}},
    )
    yield Grant(
        sid="Ec2Change",
        actions=tuple(f"ec2:{name}" for name in _CHANGE),
        condition=tagged(names),
    )
    yield Grant(
        sid="Record",
        actions=("route53:ChangeResourceRecordSets",),
        resources=(f"arn:{partition(names.region)}:route53:::hostedzone/*",),
    )
    yield Grant(
        sid="Names",
        # Cloud Map keeps its private namespace as a hosted zone of the VPC
        actions=(
            "route53:AssociateVPCWithHostedZone",
            "route53:CreateHostedZone",
            "route53:DeleteHostedZone",
            "servicediscovery:CreatePrivateDnsNamespace",
        ),
    )
    yield Grant(
        sid="NamesTag",
        # asked for when a namespace or a service is made, which has no ARN yet then
        actions=("servicediscovery:TagResource",),
        condition=requested(names),
    )
    yield Grant(
        sid="NamesChange",
        actions=(
            "servicediscovery:CreateService",
            "servicediscovery:DeleteNamespace",
            "servicediscovery:DeleteService",
            "servicediscovery:DeregisterInstance",
        ),
        resources=(
            arn(names, "servicediscovery", "namespace/*"),
            arn(names, "servicediscovery", "service/*"),
        ),
    )
