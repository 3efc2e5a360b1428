"""Asks IAM whether a caller may do what the policy's statements grant.

IAM simulates actions by their full names, for an ARN and under condition keys of our choosing,
and does nothing. A statement is asked about as the pipeline will use it: with the deployment's
tag, the region, and the role's boundary as its own conditions name them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from hubdeploy.aws.session import Aws
from hubdeploy.operate.policy.grant import Grant

USED: dict[str, tuple[str, ...]] = {
    "autoscaling:Describe*": (
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeScalingActivities",
    ),
    "ec2:Describe*": (
        "ec2:DescribeAddresses",
        "ec2:DescribeAvailabilityZones",
        "ec2:DescribeImages",
        "ec2:DescribeInstanceStatus",
        "ec2:DescribeInstanceTypeOfferings",
        "ec2:DescribeInstanceTypes",
        "ec2:DescribeInstances",
        "ec2:DescribeInternetGateways",
        "ec2:DescribeKeyPairs",
        "ec2:DescribeLaunchTemplateVersions",
        "ec2:DescribeLaunchTemplates",
        "ec2:DescribeNatGateways",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeRegions",
        "ec2:DescribeRouteTables",
        "ec2:DescribeSecurityGroups",
        "ec2:DescribeSubnets",
        "ec2:DescribeVolumes",
        "ec2:DescribeVpcAttribute",
        "ec2:DescribeVpcEndpoints",
        "ec2:DescribeVpcs",
    ),
    "elasticfilesystem:Describe*": (
        "elasticfilesystem:DescribeAccessPoints",
        "elasticfilesystem:DescribeBackupPolicy",
        "elasticfilesystem:DescribeFileSystems",
        "elasticfilesystem:DescribeLifecycleConfiguration",
        "elasticfilesystem:DescribeMountTargetSecurityGroups",
        "elasticfilesystem:DescribeMountTargets",
    ),
    "s3:*": (
        "s3:CreateBucket",
        "s3:DeleteBucket",
        "s3:DeleteObjectVersion",
        "s3:GetBucketPolicy",
        "s3:GetBucketPublicAccessBlock",
        "s3:GetBucketTagging",
        "s3:GetBucketVersioning",
        "s3:GetEncryptionConfiguration",
        "s3:GetLifecycleConfiguration",
        "s3:GetObject",
        "s3:ListBucket",
        "s3:ListBucketVersions",
        "s3:PutBucketPolicy",
        "s3:PutBucketPublicAccessBlock",
        "s3:PutBucketTagging",
        "s3:PutBucketVersioning",
        "s3:PutEncryptionConfiguration",
        "s3:PutLifecycleConfiguration",
        "s3:PutObject",
    ),
}
"""What is called of the patterns that the policy grants; a test keeps it true."""


def principal(arn: str, *, aws: Aws) -> str:
    """The user or role to ask about: an assumed role's session is none, and its ARN lacks the
    role's path.

    Raises:
        AwsError: the role may not be read (``AccessDenied``).
    """
    match = re.fullmatch(r"arn:[^:]+:sts::\d+:assumed-role/([^/]+)/.+", arn)
    if match is None:
        return arn
    return str(aws.call("iam", "get_role", RoleName=match[1])["Role"]["Arn"])


def together(grants: Iterable[Grant]) -> list[Grant]:
    """Statements of one resource and condition as one, so that they are one question."""
    found: dict[str, Grant] = {}
    for grant in grants:
        key = f"{sorted(grant.resources)} {grant.condition}"
        before = found[key].actions if key in found else ()
        found[key] = Grant(
            sid=grant.sid,
            actions=(*before, *grant.actions),
            resources=grant.resources,
            condition=grant.condition,
        )
    return list(found.values())


def refused(grant: Grant, *, principal: str, aws: Aws) -> set[str]:
    """Actions of a statement that the principal may not do, on any of its resources.

    Raises:
        AwsError: the caller may not ask (``AccessDenied``).
    """
    # the policy grants on patterns; any one thing that fits stands for all
    resources = [item.replace("*", "example") for item in grant.resources if item != "*"]
    results = aws.pages(
        "iam",
        "simulate_principal_policy",
        "EvaluationResults",
        PolicySourceArn=principal,
        ActionNames=[name for action in grant.actions for name in USED.get(action, (action,))],
        ContextEntries=_context(grant),
        **({"ResourceArns": resources} if resources else {}),
    )
    return {r["EvalActionName"] for r in results if r["EvalDecision"] != "allowed"}


def _context(grant: Grant) -> list[dict[str, Any]]:
    entries = []
    for tests in grant.condition.values():
        for key, wanted in tests.items():
            value = wanted[0] if isinstance(wanted, list) else wanted
            entries.append(
                {
                    "ContextKeyName": key,
                    "ContextKeyType": "string",
                    "ContextKeyValues": [value],
                }
            )
    return entries
