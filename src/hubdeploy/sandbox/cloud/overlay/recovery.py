"""AWS Backup, of which moto lacks the backups: EFS's own vault and what lies in it."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hubdeploy.sandbox.cloud.fault import AwsFault
from hubdeploy.sandbox.cloud.hooks import Hooks

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.calls import Call
    from hubdeploy.sandbox.cloud.server import Cloud

hooks = Hooks()
VAULT = "aws/efs/automatic-backup-vault"
"""Shared by all file systems of an account that EFS backs up by itself."""
PROTECTED = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Deny",
            "Principal": {"AWS": "*"},
            "Action": [
                "backup:DeleteBackupVault",
                "backup:DeleteBackupVaultAccessPolicy",
                "backup:DeleteRecoveryPoint",
                "backup:StartCopyJob",
                "backup:StartRestoreJob",
                "backup:UpdateRecoveryPointLifecycle",
            ],
            "Resource": "*",
        }
    ],
}
"""The access policy that AWS gives to :data:`VAULT`."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One backup; it bears the tags that its resource had."""

    resource: str
    vault: str
    tags: dict[str, str] = field(default_factory=dict)
    made: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(kw_only=True)
class Vault:
    policy: str
    locked: bool = False


def _points(cloud: Cloud, account: str, region: str) -> dict[str, Point]:
    """By ARN."""
    return cloud.store(account, region, "backup-points", dict)


def _vaults(cloud: Cloud, account: str, region: str) -> dict[str, Vault]:
    """By name."""
    return cloud.store(account, region, "backup-vaults", dict)


def _vault(cloud: Cloud, call: Call) -> Vault:
    name = call.params["BackupVaultName"]
    found = _vaults(cloud, call.account, call.region).get(name)
    if found is None:
        raise AwsFault("ResourceNotFoundException", f"Backup vault {name} does not exist.")
    return found


def back_up(cloud: Cloud, account: str, region: str, file_system: str) -> str:
    """What AWS does each night with a file system; returns the backup's ARN."""
    with cloud.lock:
        vaults = _vaults(cloud, account, region)
        vaults.setdefault(VAULT, Vault(policy=json.dumps(PROTECTED)))
        efs = cloud.backend("efs", account, region)
        tags = {tag["Key"]: tag["Value"] for tag in efs.list_tags_for_resource(file_system)}
        arn = f"arn:aws:backup:{region}:{account}:recovery-point:{uuid.uuid4()}"
        resource = efs.file_systems_by_id[file_system].file_system_arn
        _points(cloud, account, region)[arn] = Point(resource=resource, vault=VAULT, tags=tags)
        return arn


def tags_of(cloud: Cloud, account: str, region: str, point: str) -> dict[str, str]:
    """The tags of a backup; none if there is no such backup."""
    found = _points(cloud, account, region).get(point)
    return found.tags if found else {}


@hooks.take("backup", "ListRecoveryPointsByResource")
def points(cloud: Cloud, call: Call) -> dict[str, Any]:
    return {
        "RecoveryPoints": [
            {
                "RecoveryPointArn": arn,
                "BackupVaultName": point.vault,
                "CreationDate": point.made,
                "Status": "COMPLETED",
            }
            for arn, point in _points(cloud, call.account, call.region).items()
            if point.resource == call.params["ResourceArn"]
        ]
    }


@hooks.take("backup", "DescribeBackupVault")
def describe(cloud: Cloud, call: Call) -> dict[str, Any]:
    name = call.params["BackupVaultName"]
    return {"BackupVaultName": name, "Locked": _vault(cloud, call).locked}


@hooks.take("backup", "GetBackupVaultAccessPolicy")
def policy(cloud: Cloud, call: Call) -> dict[str, Any]:
    name = call.params["BackupVaultName"]
    return {"BackupVaultName": name, "Policy": _vault(cloud, call).policy}


@hooks.take("backup", "PutBackupVaultAccessPolicy")
def put_policy(cloud: Cloud, call: Call) -> dict[str, Any]:
    _vault(cloud, call).policy = call.params["Policy"]
    return {}


@hooks.take("backup", "PutBackupVaultLockConfiguration")
def lock(cloud: Cloud, call: Call) -> dict[str, Any]:
    _vault(cloud, call).locked = True
    return {}


@hooks.take("backup", "DeleteRecoveryPoint")
def delete(cloud: Cloud, call: Call) -> dict[str, Any]:
    found, arn = _points(cloud, call.account, call.region), call.params["RecoveryPointArn"]
    vault = _vault(cloud, call)
    if arn not in found:
        raise AwsFault("ResourceNotFoundException", f"There is no recovery point {arn}.")
    if _refused(vault.policy):
        raise AwsFault("AccessDeniedException", "Insufficient privileges to perform this action.")
    if vault.locked:
        raise AwsFault("InvalidRequestException", "The vault is locked.")
    del found[arn]
    return {}


def _refused(policy: str) -> bool:
    return any(
        statement["Effect"] == "Deny" and "backup:DeleteRecoveryPoint" in statement["Action"]
        for statement in json.loads(policy)["Statement"]
    )
