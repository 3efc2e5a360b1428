"""AWS Backup of the users' files: the daily plan, and what `down` does with the backups made.

EFS's automatic backups lie in a vault that all file systems of the account share, made by AWS and
not to be deleted. AWS gives it a policy by which nobody may delete a backup: each ends after 35
days. That protection is the account's, so `down` never lifts it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from typing import Any

from hubdeploy.errors import AwsError
from hubdeploy.pipeline.change import Action, Change, Changes, FieldChange
from hubdeploy.steps.base import IN_USE, MISSING, Part
from hubdeploy.steps.files import own

RESOURCE = "files.backups"
DELETE = "backup:DeleteRecoveryPoint"
BUSY = IN_USE | {"InvalidResourceStateException"}
"""The codes for a backup that is being made or restored just now."""
ENDS = "AWS Backup ends each after its time, those that EFS makes by itself after 35 days"


class Backups(Part[str]):
    """Whether there are daily backups; observed is EFS's word for it, e.g. ``ENABLED``."""

    name = "files.backups"
    title = "Backups of the files"
    needs = ("files.system",)

    def observe(self) -> str:
        found = own(self)
        # one that this very run makes has none yet
        if not found:
            return "DISABLED"
        try:
            answer = self.call("efs", "describe_backup_policy", FileSystemId=found["FileSystemId"])
        except AwsError as error:
            if error.code in MISSING | {"PolicyNotFound"}:
                return "DISABLED"
            raise
        return str(answer["BackupPolicy"]["Status"])

    def changes(self, observed: str) -> Changes:
        wanted = self.config.storage.backups
        if (observed in ("ENABLED", "ENABLING")) is wanted:
            return
        new = "ENABLED" if wanted else "DISABLED"
        yield self.update(
            RESOURCE,
            "daily backups of the file system",
            partial(
                self.settle,
                "efs",
                "put_backup_policy",
                FileSystemId=self.outputs["file_system"],
                BackupPolicy={"Status": new},
            ),
            (FieldChange(name="backups", old=observed, new=new),),
        )

    def destroy(self, observed: str) -> Changes:
        del observed
        found = own(self)
        if not found:
            return
        file_system = found["FileSystemId"]
        made = defaultdict[str, list[dict[str, Any]]](list)
        for point in self.ctx.aws.pages(
            "backup",
            "list_recovery_points_by_resource",
            "RecoveryPoints",
            ResourceArn=found["FileSystemArn"],
        ):
            if point["Status"] != "DELETING":
                made[point["BackupVaultName"]].append(point)
        for vault, points in made.items():
            title = f"{wording(points)} of {file_system} in the vault {vault}"
            if self.ctx.delete_files != self.names.deployment:
                yield self._kept(title, f"they stay with the files; {ENDS}")
            elif refusal := self._refusal(vault):
                yield self._kept(
                    title,
                    f"{refusal}, and that protects the whole account; {ENDS}. To end them sooner, "
                    "lift it, then delete them in AWS Backup",
                )
            else:
                yield self.delete(RESOURCE, title, partial(self._end, vault, points))

    def _kept(self, title: str, reason: str) -> Change:
        return Change(
            action=Action.KEEP, resource=RESOURCE, title=title, apply=lambda: None, reason=reason
        )

    def _refusal(self, vault: str) -> str:
        """Why the vault lets nobody delete a backup; empty if it does."""
        if self.call("backup", "describe_backup_vault", BackupVaultName=vault).get("Locked"):
            return "the vault is locked"
        try:
            answer = self.call("backup", "get_backup_vault_access_policy", BackupVaultName=vault)
        except AwsError as error:
            if error.code in MISSING:
                return ""
            raise
        refused = protects(json.loads(answer["Policy"]))
        return "the vault's access policy lets nobody delete a backup" if refused else ""

    def _end(self, vault: str, points: Iterable[dict[str, Any]]) -> None:
        for point in points:
            self.remove(
                "backup",
                "delete_recovery_point",
                wait_on=BUSY,
                BackupVaultName=vault,
                RecoveryPointArn=point["RecoveryPointArn"],
            )


def protects(policy: dict[str, Any]) -> bool:
    """Whether a vault's access policy, in IAM's form, forbids everybody to delete a backup.

    A denial with conditions may spare the caller: AWS decides about that one when asked.
    """
    for statement in _many(policy.get("Statement", [])):
        principal = statement.get("Principal")
        if isinstance(principal, dict):
            principal = principal.get("AWS")
        if (
            statement.get("Effect") == "Deny"
            and "*" in _many(principal)
            and {DELETE, "backup:*", "*"} & set(_many(statement.get("Action")))
            and not statement.get("Condition")
        ):
            return True
    return False


def _many(value: Any) -> list[Any]:
    """IAM writes a list of one as the one."""
    return value if isinstance(value, list) else [value]


def wording(points: list[dict[str, Any]]) -> str:
    """How many backups, and of when the newest is."""
    newest = max(point["CreationDate"] for point in points).date().isoformat()
    return f"a backup of {newest}" if len(points) == 1 else f"{len(points)} backups up to {newest}"
