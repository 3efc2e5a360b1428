"""Machines: their groups, commands, parameters and roles."""

from __future__ import annotations

from collections.abc import Iterator

from hubdeploy.config.names import Names, Role
from hubdeploy.operate.policy.grant import Grant, arn, tagged
from hubdeploy.steps.base import partition

LINKED = (
    "autoscaling.amazonaws.com",
    # mount targets and backups; AWS Backup's own role is then made by this one
    "elasticfilesystem.amazonaws.com",
    # alarms that recover a machine
    "events.amazonaws.com",
    "spot.amazonaws.com",
)
"""Services whose own role in the account is made when first needed."""


def machines(names: Names) -> Iterator[Grant]:
    # what AWS itself publishes belongs to no account
    ssm = f"arn:{partition(names.region)}:ssm:{names.region}:"
    group = "autoScalingGroup:*:autoScalingGroupName/" + names.workers_group("*")
    yield Grant(
        sid="Group",
        actions=(
            "autoscaling:CreateAutoScalingGroup",
            "autoscaling:CreateOrUpdateTags",
            "autoscaling:DeleteAutoScalingGroup",
            "autoscaling:SetDesiredCapacity",
            "autoscaling:SetInstanceProtection",
            "autoscaling:SuspendProcesses",
            "autoscaling:ResumeProcesses",
            "autoscaling:UpdateAutoScalingGroup",
        ),
        resources=(arn(names, "autoscaling", group),),
    )
    yield Grant(
        sid="CommandsOnOurMachines",
        actions=("ssm:SendCommand", "ssm:StartSession"),
        resources=(arn(names, "ec2", "instance/*"),),
        condition=tagged(names),
    )
    yield Grant(
        sid="CommandsOfTheseKinds",
        actions=("ssm:SendCommand", "ssm:StartSession"),
        resources=(
            f"{ssm}:document/AWS-RunShellScript",
            arn(names, "ssm", "document/SSM-SessionManagerRunShell"),
            # the way to the Chef server
            f"{ssm}:document/AWS-StartPortForwardingSession",
        ),
    )
    yield Grant(
        sid="OwnSessions",
        # the session manager plugin takes up a session whose connection broke
        actions=("ssm:ResumeSession", "ssm:TerminateSession"),
        resources=(arn(names, "ssm", "session/*"),),
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
            "ssm:PutParameter",
        ),
        resources=(
            arn(names, "ssm", f"parameter/{parameters}"),
            arn(names, "ssm", f"parameter/{parameters}/*"),
        ),
    )
    yield Grant(
        sid="MachineImages",
        actions=("ssm:GetParameter", "ssm:GetParameters"),
        resources=(f"{ssm}:parameter/aws/service/*",),
    )


def _ec2(names: Names) -> str:
    """EC2 as IAM calls it, which in China is another name."""
    return "ec2.amazonaws.com" + (".cn" if partition(names.region) == "aws-cn" else "")


def roles(names: Names, boundary: str | None) -> Iterator[Grant]:
    iam = f"arn:{partition(names.region)}:iam::{names.account}"
    own = tuple(f"{iam}:role/{names.machine_role(role)}" for role in Role)
    profiles = tuple(f"{iam}:instance-profile/{names.machine_role(role)}" for role in Role)
    bound = {"StringEquals": {"iam:PermissionsBoundary": boundary}} if boundary else {}
    yield Grant(
        sid="MachineRolesMake",
        actions=("iam:CreateRole", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy"),
        resources=own,
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
            "iam:UpdateAssumeRolePolicy",
        )
        if not boundary
        # without the boundary's removal, or the bound could be shaken off
        else (
            "iam:DeleteRole",
            "iam:DeleteRolePolicy",
            "iam:DetachRolePolicy",
            "iam:TagRole",
            "iam:UpdateAssumeRolePolicy",
        ),
        resources=own,
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
        resources=own,
        condition={"StringEquals": {"iam:PassedToService": _ec2(names)}},
    )
    yield Grant(
        sid="AwsOwnRoles",
        # in an account that has none yet, AWS makes its role with the rights of who first needs it
        actions=("iam:CreateServiceLinkedRole",),
        resources=tuple(f"{iam}:role/aws-service-role/{service}/*" for service in LINKED),
        condition={"StringEquals": {"iam:AWSServiceName": list(LINKED)}},
    )
