"""AWS Backup's backups of the users' files: kept and named, or deleted with the files."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hubdeploy.pipeline.change import Action, Change
from hubdeploy.pipeline.runner import Outcome
from hubdeploy.pipeline.step import Step
from hubdeploy.sandbox.cloud.overlay.recovery import PROTECTED, VAULT, back_up
from hubdeploy.steps.backups import protects
from tests.plugins.aws import CloudAccount
from tests.steps.rig import Rig

OPEN: dict[str, Any] = {"Version": "2012-10-17", "Statement": []}


PARTS = ("deployment", "files.system", "files.backups")


class Files(Rig):
    """Of a deployment no more than its files and their backups."""

    def steps(self, **more: Any) -> list[Step[Any]]:
        return [step for step in super().steps(**more) if step.name in PARTS]


@pytest.fixture
def rig(cloud: CloudAccount) -> Rig:
    made = Files(cloud)
    made.up()
    for _ in range(2):
        back_up(cloud.cloud, cloud.account, cloud.region, made.outputs["file_system"])
    return made


def left(cloud: CloudAccount, file_system: str) -> int:
    """Backups of the file system that are there."""
    arn = f"arn:aws:elasticfilesystem:{cloud.region}:{cloud.account}:file-system/{file_system}"
    return len(
        cloud.aws.pages(
            "backup", "list_recovery_points_by_resource", "RecoveryPoints", ResourceArn=arn
        )
    )


def of_backups(outcome: Outcome) -> Change:
    """What was done with the backups."""
    (found,) = outcome.changes["files.backups"]
    return found


def test_with_the_files_their_backups_stay_and_are_named(rig: Rig, cloud: CloudAccount) -> None:
    file_system = rig.outputs["file_system"]
    kept = of_backups(rig.down())
    assert kept.action is Action.KEEP
    assert kept.title.startswith("2 backups up to ")
    assert file_system in kept.title
    assert VAULT in kept.title
    assert "35 days" in kept.reason
    assert left(cloud, file_system) == 2


def test_backups_that_the_account_protects_are_named_before_the_files_are_deleted(
    rig: Rig, cloud: CloudAccount
) -> None:
    file_system = rig.outputs["file_system"]
    kept = of_backups(rig.down(delete_files="demo"))
    assert kept.action is Action.KEEP
    assert "access policy" in kept.reason
    assert left(cloud, file_system) == 2
    assert cloud.aws.pages("efs", "describe_file_systems", "FileSystems") == []
    found = cloud.aws.call("backup", "get_backup_vault_access_policy", BackupVaultName=VAULT)
    assert json.loads(found["Policy"]) == PROTECTED


def test_backups_in_a_locked_vault_are_named_too(rig: Rig, cloud: CloudAccount) -> None:
    open_vault(cloud)
    cloud.aws.call("backup", "put_backup_vault_lock_configuration", BackupVaultName=VAULT)
    kept = of_backups(rig.down(delete_files="demo"))
    assert kept.action is Action.KEEP
    assert "locked" in kept.reason


def test_backups_go_with_the_files_where_the_vault_lets_them(rig: Rig, cloud: CloudAccount) -> None:
    file_system = rig.outputs["file_system"]
    open_vault(cloud)
    gone = of_backups(rig.down(delete_files="demo"))
    assert gone.action is Action.DELETE
    assert left(cloud, file_system) == 0


def test_another_deployments_backups_are_left_alone(rig: Rig, cloud: CloudAccount) -> None:
    open_vault(cloud)
    other = cloud.aws.call("efs", "create_file_system", CreationToken="other")["FileSystemId"]
    back_up(cloud.cloud, cloud.account, cloud.region, other)
    rig.down(delete_files="demo")
    assert left(cloud, other) == 1


def open_vault(cloud: CloudAccount) -> None:
    """As somebody does who wants backups to be deletable."""
    cloud.aws.call(
        "backup",
        "put_backup_vault_access_policy",
        BackupVaultName=VAULT,
        Policy=json.dumps(OPEN),
    )


@pytest.mark.parametrize(
    ("change", "protected"),
    [
        ({}, True),
        ({"Principal": "*"}, True),
        ({"Action": "backup:*"}, True),
        ({"Effect": "Allow"}, False),
        ({"Action": ["backup:StartCopyJob"]}, False),
        ({"Principal": {"AWS": ["arn:aws:iam::111122223333:role/guest"]}}, False),
        ({"Condition": {"StringNotLike": {"aws:userId": "AROAADMIN:*"}}}, False),
    ],
)
def test_a_policy_protects_if_it_denies_everybody(change: dict[str, Any], protected: bool) -> None:
    (statement,) = PROTECTED["Statement"]
    assert isinstance(statement, dict)
    assert protects({"Statement": [{**statement, **change}]}) is protected
    assert protects({"Statement": {**statement, **change}}) is protected
