"""Reads, which AWS can scope only in part: allowed on everything."""

from __future__ import annotations

from collections.abc import Iterator

from hubdeploy.operate.policy.grant import Grant


def reading() -> Iterator[Grant]:
    yield Grant(
        sid="Read",
        actions=(
            "autoscaling:Describe*",
            "backup:DescribeBackupVault",
            "backup:GetBackupVaultAccessPolicy",
            "backup:ListRecoveryPointsByResource",
            "cloudwatch:DescribeAlarms",
            "ec2:Describe*",
            "ecr:DescribeRepositories",
            "ecr:ListTagsForResource",
            "elasticfilesystem:Describe*",
            "iam:GetInstanceProfile",
            "iam:GetRole",
            "iam:GetRolePolicy",
            "iam:ListAttachedRolePolicies",
            "iam:ListRolePolicies",
            "iam:SimulatePrincipalPolicy",
            "logs:DescribeLogGroups",
            "pricing:GetProducts",
            "route53:GetHostedZone",
            "route53:ListHostedZones",
            "route53:ListHostedZonesByName",
            "route53:ListResourceRecordSets",
            "servicediscovery:GetOperation",
            "servicediscovery:ListInstances",
            "servicediscovery:ListNamespaces",
            "servicediscovery:ListServices",
            "servicequotas:GetAWSDefaultServiceQuota",
            "servicequotas:GetServiceQuota",
            "ssm:DescribeInstanceInformation",
            "ssm:ListCommandInvocations",
            "ssm:GetCommandInvocation",
            "ssm:CancelCommand",
        ),
    )
