"""Files, bucket, images, logs and alarms."""

from __future__ import annotations

from collections.abc import Iterator

from hubdeploy.config.names import Names
from hubdeploy.operate.policy.grant import Grant, arn, region, requested, tagged
from hubdeploy.steps.base import partition


def storage(names: Names, files: bool) -> Iterator[Grant]:
    bucket = f"arn:{partition(names.region)}:s3:::{names.bucket}"
    yield Grant(sid="Bucket", actions=("s3:*",), resources=(bucket, f"{bucket}/*"))
    yield Grant(
        sid="FilesMake",
        actions=(
            "elasticfilesystem:CreateAccessPoint",
            "elasticfilesystem:CreateFileSystem",
            "elasticfilesystem:TagResource",
        ),
        condition=requested(names),
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
        condition=tagged(names),
    )
    if files:
        yield Grant(
            sid="Backups",
            actions=("backup:DeleteRecoveryPoint",),
            resources=(arn(names, "backup", "recovery-point:*"),),
            condition=tagged(names),
        )
    yield from _mounting(names)


def _mounting(names: Names) -> Iterator[Grant]:
    """What EFS does to its network interfaces with the caller's rights (EFS API reference).

    The interfaces carry no tags of ours; what they are put into does.
    """
    yield Grant(
        sid="MountTargetPlace",
        actions=("ec2:CreateNetworkInterface", "ec2:ModifyNetworkInterfaceAttribute"),
        resources=(arn(names, "ec2", "security-group/*"), arn(names, "ec2", "subnet/*")),
        condition=tagged(names),
    )
    yield Grant(
        sid="MountTargetInterface",
        actions=(
            "ec2:CreateNetworkInterface",
            # EC2 itself refuses for one that is in use by anybody else
            "ec2:DeleteNetworkInterface",
            "ec2:ModifyNetworkInterfaceAttribute",
        ),
        resources=(arn(names, "ec2", "network-interface/*"),),
        condition=region(names),
    )


def services(names: Names) -> Iterator[Grant]:
    yield Grant(
        sid="NotebookImages",
        actions=(
            "ecr:CreateRepository",
            "ecr:DeleteRepository",
            "ecr:DescribeImages",
            "ecr:GetLifecyclePolicy",
            "ecr:PutImageScanningConfiguration",
            "ecr:PutLifecyclePolicy",
            "ecr:TagResource",
        ),
        resources=(arn(names, "ecr", f"repository/{names.repository}"),),
    )
    yield Grant(
        sid="Logs",
        actions=(
            "logs:CreateLogGroup",
            "logs:DeleteLogGroup",
            "logs:DescribeLogStreams",
            "logs:GetLogEvents",
            "logs:ListTagsForResource",
            "logs:PutRetentionPolicy",
            "logs:TagResource",
        ),
        resources=(arn(names, "logs", f"log-group:/hubdeploy/{names.deployment}/*"),),
    )
    yield Grant(
        sid="Alarms",
        actions=(
            "cloudwatch:DeleteAlarms",
            "cloudwatch:PutMetricAlarm",
            "cloudwatch:TagResource",
        ),
        resources=(arn(names, "cloudwatch", f"alarm:{names.alarm('*')}"),),
    )
