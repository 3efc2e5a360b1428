"""The rights that the operator needs, as one list: it makes ``hubdeploy policy``, and the doctor
asks IAM for each of them before ``up``.

Reads that AWS cannot scope are allowed on everything; whatever changes something is bound to the
deployment: by ARN where its name is ours to choose, by the tag ``hubdeploy:deployment`` elsewhere.
Creating EC2 objects is allowed in the region: a subnet's creation touches its VPC and routes as
well, and tags are demanded when they are made, which later calls are bound to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hubdeploy.config.names import TAG_DEPLOYMENT, Names, Role

PARTITION = "aws"


@dataclass(frozen=True, kw_only=True)
class Grant:
    """One statement: what may be done, to what, under which condition, and what for."""

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...] = ("*",)
    condition: dict[str, dict[str, Any]] = field(default_factory=dict)

    def statement(self) -> dict[str, Any]:
        """IAM's JSON form."""
        made: dict[str, Any] = {
            "Sid": self.sid,
            "Effect": "Allow",
            "Action": sorted(self.actions),
            "Resource": sorted(self.resources) if len(self.resources) > 1 else self.resources[0],
        }
        return {**made, "Condition": self.condition} if self.condition else made


def document(names: Names, *, boundary: str | None = None, files: bool = True) -> dict[str, Any]:
    """The policy. ``boundary``: roles may only be made with this permissions boundary;
    ``files`` false: without the right to delete the file system."""
    statements = [grant.statement() for grant in grants(names, boundary=boundary, files=files)]
    return {"Version": "2012-10-17", "Statement": statements}


def grants(names: Names, *, boundary: str | None, files: bool) -> Iterator[Grant]:
    """All statements, in a stable order."""
    yield from _reading()
    yield from _network(names)
    yield from _machines(names)
    yield from _roles(names, boundary)
    yield from _storage(names, files)
    yield from _services(names)


def actions(names: Names) -> list[str]:
    """Every action by name, for the simulation of the operator's rights."""
    return sorted({a for g in grants(names, boundary=None, files=True) for a in g.actions})


def _tagged(names: Names, *more: str) -> dict[str, dict[str, Any]]:
    keys = (f"aws:ResourceTag/{TAG_DEPLOYMENT}", *more)
    return {"StringEquals": dict.fromkeys(keys, names.deployment)}


def _requested(names: Names) -> dict[str, dict[str, Any]]:
    return {"StringEquals": {f"aws:RequestTag/{TAG_DEPLOYMENT}": names.deployment}}


def _region(names: Names) -> dict[str, dict[str, Any]]:
    return {"StringEquals": {"aws:RequestedRegion": names.region}}


def _arn(names: Names, service: str, rest: str) -> str:
    return f"arn:{PARTITION}:{service}:{names.region}:{names.account}:{rest}"


def _reading() -> Iterator[Grant]:
    yield Grant(
        sid="Read",
        actions=(
            "autoscaling:Describe*",
            "cloudwatch:DescribeAlarms",
            "cloudwatch:ListTagsForResource",
            "ec2:Describe*",
            "ec2:GetConsoleOutput",
            "ecr:DescribeRepositories",
            "ecr:ListTagsForResource",
            "elasticfilesystem:Describe*",
            "elasticfilesystem:ListTagsForResource",
            "iam:GetInstanceProfile",
            "iam:GetRole",
            "iam:GetRolePolicy",
            "iam:ListAttachedRolePolicies",
            "iam:ListInstanceProfilesForRole",
            "iam:ListRolePolicies",
            "iam:ListRoles",
            "iam:ListInstanceProfiles",
            "iam:SimulatePrincipalPolicy",
            "logs:DescribeLogGroups",
            "logs:ListTagsForResource",
            "pricing:GetProducts",
            "route53:GetChange",
            "route53:GetHostedZone",
            "route53:ListHostedZones",
            "route53:ListHostedZonesByName",
            "route53:ListResourceRecordSets",
            "servicediscovery:GetInstance",
            "servicediscovery:GetNamespace",
            "servicediscovery:GetOperation",
            "servicediscovery:GetService",
            "servicediscovery:ListInstances",
            "servicediscovery:ListNamespaces",
            "servicediscovery:ListServices",
            "servicediscovery:ListTagsForResource",
            "servicequotas:GetAWSDefaultServiceQuota",
            "servicequotas:GetServiceQuota",
            "ssm:DescribeInstanceInformation",
            "ssm:DescribeParameters",
            "ssm:ListCommandInvocations",
            "ssm:ListCommands",
            "ssm:GetCommandInvocation",
            "ssm:CancelCommand",
            "sts:GetCallerIdentity",
        ),
    )


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
    "AttachVolume",
    "AuthorizeSecurityGroupEgress",
    "AuthorizeSecurityGroupIngress",
    "CreateLaunchTemplateVersion",
    "CreateRoute",
    "CreateTags",
    "DeleteInternetGateway",
    "DeleteKeyPair",
    "DeleteLaunchTemplate",
    "DeleteLaunchTemplateVersions",
    "DeleteNatGateway",
    "DeleteNetworkInterface",
    "DeleteRoute",
    "DeleteRouteTable",
    "DeleteSecurityGroup",
    "DeleteSubnet",
    "DeleteTags",
    "DeleteVolume",
    "DeleteVpc",
    "DeleteVpcEndpoints",
    "DetachInternetGateway",
    "DetachVolume",
    "DisassociateAddress",
    "DisassociateRouteTable",
    "ModifyInstanceAttribute",
    "ModifyInstanceMetadataOptions",
    "ModifyLaunchTemplate",
    "ModifySubnetAttribute",
    "ModifyVolume",
    "ModifyVpcAttribute",
    "ModifyVpcEndpoint",
    "RebootInstances",
    "ReleaseAddress",
    "ReplaceRoute",
    "RevokeSecurityGroupEgress",
    "RevokeSecurityGroupIngress",
    "StartInstances",
    "StopInstances",
    "TerminateInstances",
)


def _network(names: Names) -> Iterator[Grant]:
    yield Grant(
        sid="Ec2Create",
        actions=tuple(f"ec2:{name}" for name in _CREATE),
        condition=_region(names),
    )
    yield Grant(
        sid="Ec2TagOnCreate",
        actions=("ec2:CreateTags",),
        resources=(_arn(names, "ec2", "*/*"),),
        condition={"StringEquals": {"ec2:CreateAction": [*_CREATE, "CreateFleet"]}},
    )
    yield Grant(
        sid="Ec2Change",
        actions=tuple(f"ec2:{name}" for name in _CHANGE),
        condition=_tagged(names),
    )
    yield Grant(
        sid="Record",
        actions=("route53:ChangeResourceRecordSets",),
        resources=(f"arn:{PARTITION}:route53:::hostedzone/*",),
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
        condition=_requested(names),
    )
    yield Grant(
        sid="NamesChange",
        actions=(
            "servicediscovery:CreateService",
            "servicediscovery:DeleteNamespace",
            "servicediscovery:DeleteService",
            "servicediscovery:DeregisterInstance",
            "servicediscovery:UpdateService",
        ),
        resources=(
            _arn(names, "servicediscovery", "namespace/*"),
            _arn(names, "servicediscovery", "service/*"),
        ),
    )


def _machines(names: Names) -> Iterator[Grant]:
    group = "autoScalingGroup:*:autoScalingGroupName/" + names.workers_group("*")
    yield Grant(
        sid="Group",
        actions=(
            "autoscaling:CreateAutoScalingGroup",
            "autoscaling:CreateOrUpdateTags",
            "autoscaling:DeleteAutoScalingGroup",
            "autoscaling:DeleteTags",
            "autoscaling:SetDesiredCapacity",
            "autoscaling:SetInstanceProtection",
            "autoscaling:SuspendProcesses",
            "autoscaling:ResumeProcesses",
            "autoscaling:TerminateInstanceInAutoScalingGroup",
            "autoscaling:UpdateAutoScalingGroup",
        ),
        resources=(_arn(names, "autoscaling", group),),
    )
    yield Grant(
        sid="CommandsOnOurMachines",
        actions=("ssm:SendCommand", "ssm:StartSession"),
        resources=(_arn(names, "ec2", "instance/*"),),
        condition=_tagged(names),
    )
    yield Grant(
        sid="CommandsOfTheseKinds",
        actions=("ssm:SendCommand", "ssm:StartSession"),
        resources=(
            f"arn:{PARTITION}:ssm:{names.region}::document/AWS-RunShellScript",
            _arn(names, "ssm", "document/SSM-SessionManagerRunShell"),
            # the way to the Chef server
            f"arn:{PARTITION}:ssm:{names.region}::document/AWS-StartPortForwardingSession",
        ),
    )
    yield Grant(
        sid="OwnSessions",
        actions=("ssm:TerminateSession", "ssm:ResumeSession"),
        resources=(_arn(names, "ssm", "session/*"),),
    )
    parameters = names.parameters.root.lstrip("/")
    yield Grant(
        sid="Parameters",
        actions=(
            "ssm:AddTagsToResource",
            "ssm:DeleteParameter",
            "ssm:DeleteParameters",
            "ssm:GetParameter",
            "ssm:GetParameters",
            "ssm:GetParametersByPath",
            "ssm:ListTagsForResource",
            "ssm:PutParameter",
        ),
        resources=(
            _arn(names, "ssm", f"parameter/{parameters}"),
            _arn(names, "ssm", f"parameter/{parameters}/*"),
        ),
    )
    yield Grant(
        sid="MachineImages",
        actions=("ssm:GetParameter", "ssm:GetParameters"),
        resources=(f"arn:{PARTITION}:ssm:{names.region}::parameter/aws/service/*",),
    )


def _roles(names: Names, boundary: str | None) -> Iterator[Grant]:
    roles = tuple(
        f"arn:{PARTITION}:iam::{names.account}:role/{names.instance(role)}" for role in Role
    )
    profiles = tuple(arn.replace(":role/", ":instance-profile/") for arn in roles)
    bound = {"StringEquals": {"iam:PermissionsBoundary": boundary}} if boundary else {}
    yield Grant(
        sid="MachineRolesMake",
        actions=("iam:CreateRole", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy"),
        resources=roles,
        condition=bound,
    )
    yield Grant(
        sid="MachineRoles",
        actions=(
            "iam:DeleteRole",
            "iam:DeleteRolePermissionsBoundary",
            "iam:DeleteRolePolicy",
            "iam:DetachRolePolicy",
            "iam:TagRole",
            "iam:UntagRole",
            "iam:UpdateAssumeRolePolicy",
        )
        if not boundary
        # without the boundary's removal, or the bound could be shaken off
        else (
            "iam:DeleteRole",
            "iam:DeleteRolePolicy",
            "iam:DetachRolePolicy",
            "iam:TagRole",
            "iam:UntagRole",
            "iam:UpdateAssumeRolePolicy",
        ),
        resources=roles,
    )
    yield Grant(
        sid="MachineProfiles",
        actions=(
            "iam:AddRoleToInstanceProfile",
            "iam:CreateInstanceProfile",
            "iam:DeleteInstanceProfile",
            "iam:RemoveRoleFromInstanceProfile",
            "iam:TagInstanceProfile",
        ),
        resources=profiles,
    )
    yield Grant(
        sid="GiveMachinesTheirRole",
        actions=("iam:PassRole",),
        resources=roles,
        condition={"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
    )
    yield Grant(
        sid="AwsOwnRoles",
        actions=("iam:CreateServiceLinkedRole",),
        resources=(f"arn:{PARTITION}:iam::{names.account}:role/aws-service-role/*",),
        condition={
            "StringEquals": {
                "iam:AWSServiceName": [
                    "autoscaling.amazonaws.com",
                    "elasticfilesystem.amazonaws.com",
                    "spot.amazonaws.com",
                ]
            }
        },
    )


def _storage(names: Names, files: bool) -> Iterator[Grant]:
    bucket = f"arn:{PARTITION}:s3:::{names.bucket}"
    yield Grant(sid="Bucket", actions=("s3:*",), resources=(bucket, f"{bucket}/*"))
    yield Grant(
        sid="FilesMake",
        actions=(
            "elasticfilesystem:CreateAccessPoint",
            "elasticfilesystem:CreateFileSystem",
            "elasticfilesystem:TagResource",
        ),
        condition=_requested(names),
    )
    delete = ("elasticfilesystem:DeleteFileSystem",) if files else ()
    yield Grant(
        sid="Files",
        actions=(
            "elasticfilesystem:CreateMountTarget",
            "elasticfilesystem:DeleteAccessPoint",
            "elasticfilesystem:DeleteMountTarget",
            "elasticfilesystem:ModifyMountTargetSecurityGroups",
            "elasticfilesystem:PutBackupPolicy",
            "elasticfilesystem:PutLifecycleConfiguration",
            "elasticfilesystem:TagResource",
            "elasticfilesystem:UntagResource",
            "elasticfilesystem:UpdateFileSystem",
            *delete,
        ),
        condition=_tagged(names),
    )


def _services(names: Names) -> Iterator[Grant]:
    yield Grant(
        sid="NotebookImages",
        actions=(
            "ecr:BatchDeleteImage",
            "ecr:CreateRepository",
            "ecr:DeleteLifecyclePolicy",
            "ecr:DeleteRepository",
            "ecr:DescribeImages",
            "ecr:GetLifecyclePolicy",
            "ecr:ListImages",
            "ecr:PutImageScanningConfiguration",
            "ecr:PutImageTagMutability",
            "ecr:PutLifecyclePolicy",
            "ecr:TagResource",
        ),
        resources=(_arn(names, "ecr", f"repository/{names.repository}"),),
    )
    yield Grant(
        sid="Logs",
        actions=(
            "logs:CreateLogGroup",
            "logs:DeleteLogGroup",
            "logs:FilterLogEvents",
            "logs:PutRetentionPolicy",
            "logs:TagLogGroup",
            "logs:TagResource",
        ),
        resources=(_arn(names, "logs", f"log-group:/hubdeploy/{names.deployment}/*"),),
    )
    yield Grant(
        sid="Alarms",
        actions=(
            "cloudwatch:DeleteAlarms",
            "cloudwatch:PutMetricAlarm",
            "cloudwatch:TagResource",
        ),
        resources=(_arn(names, "cloudwatch", f"alarm:{names.prefix}-*"),),
    )
