"""The users' files: EFS with a mount target in every zone, kept by ``down``."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

from hubdeploy.aws.inventory import tags_of
from hubdeploy.config.names import (
    NOTEBOOK_GID,
    NOTEBOOK_UID,
    TAG_DEPLOYMENT,
    TAG_KEEP,
    TAG_RESOURCE,
)
from hubdeploy.errors import AwsError, ConfigError
from hubdeploy.pipeline.change import Action, Change, Changes, FieldChange
from hubdeploy.steps.base import Part, pairs

RESOURCE = "files"
DAYS = {
    7: "AFTER_7_DAYS",
    14: "AFTER_14_DAYS",
    30: "AFTER_30_DAYS",
    60: "AFTER_60_DAYS",
    90: "AFTER_90_DAYS",
}
WARM = "AFTER_1_ACCESS"


def own(part: Part[Any]) -> dict[str, Any]:
    """The deployment's file system: the one named in the configuration, else the one tagged."""
    found = part.ctx.inventory.once(
        "file systems",
        lambda: part.ctx.aws.pages("efs", "describe_file_systems", "FileSystems"),
    )
    named = part.config.storage.file_system
    for item in found:
        if item.get("LifeCycleState") in ("deleting", "deleted"):
            continue
        tags = tags_of(item)
        ours = (
            tags.get(TAG_DEPLOYMENT) == part.names.deployment and tags.get(TAG_RESOURCE) == RESOURCE
        )
        if item["FileSystemId"] == named or (named is None and ours):
            return dict(item)
    return {}


class FileSystem(Part[dict[str, Any]]):
    """The file system itself; one that an earlier ``down`` kept is taken up again."""

    name = "files.system"
    title = "File system"
    needs = ("deployment",)

    def observe(self) -> dict[str, Any]:
        found = own(self)
        if not found:
            return {}
        file_system = found["FileSystemId"]
        lifecycle = self.call(
            "efs", "describe_lifecycle_configuration", FileSystemId=file_system
        ).get("LifecyclePolicies", [])
        points = self.ctx.aws.pages(
            "efs", "describe_access_points", "AccessPoints", FileSystemId=file_system
        )
        return {
            **found,
            "lifecycle": lifecycle,
            "points": [
                point
                for point in points
                if tags_of(point).get(TAG_DEPLOYMENT) == self.names.deployment
                and point.get("LifeCycleState", "available") in ("available", "creating")
            ],
        }

    def changes(self, observed: dict[str, Any]) -> Changes:
        storage = self.config.storage
        file_system = observed.get("FileSystemId")
        if file_system is None:
            if storage.file_system:
                raise ConfigError(
                    f"storage.file_system: there is no file system {storage.file_system} here",
                    hint=f"look in {self.config.region}, or leave it out to have a new one",
                )
            file_system = yield self.create(
                RESOURCE,
                "encrypted file system for the users' files",
                self._create,
                {"throughput": storage.throughput, "encrypted": True},
            )
        else:
            if observed.get("LifeCycleState") == "creating":
                yield self.waiting(RESOURCE, "file system", partial(self._available, file_system))
            yield from self._adopt(observed, file_system)
            yield from self._throughput(observed, file_system)
        yield from self._lifecycle(observed, file_system)
        yield from self._access_point(observed, file_system)
        self.outputs["file_system"] = file_system

    def _create(self) -> str:
        try:
            made = self.call(
                "efs",
                "create_file_system",
                CreationToken=self.names.prefix,
                PerformanceMode="generalPurpose",
                Encrypted=True,
                ThroughputMode=self.config.storage.throughput,
                Tags=pairs(self.tags(RESOURCE)),
            )
            file_system = str(made["FileSystemId"])
        except AwsError as error:
            # made by a run that was killed at this very call, and not yet listed
            if error.code != "FileSystemAlreadyExists":
                raise
            found = self.call("efs", "describe_file_systems", CreationToken=self.names.prefix)[
                "FileSystems"
            ]
            if not found:
                raise
            file_system = str(found[0]["FileSystemId"])
        return self._available(file_system)

    def _available(self, file_system: str) -> str:
        def probe() -> str | None:
            found = self.settle("efs", "describe_file_systems", FileSystemId=file_system)
            state = found["FileSystems"][0]["LifeCycleState"] if found["FileSystems"] else ""
            return file_system if state in ("available", "updating") else None

        return self.until(probe, what=f"file system {file_system}")

    def _adopt(self, observed: dict[str, Any], file_system: str) -> Changes:
        tags = self.tags(RESOURCE)
        old = tags_of(observed)
        owner = old.get(TAG_DEPLOYMENT, self.names.deployment)
        if owner != self.names.deployment:
            raise ConfigError(
                f"file system {file_system} belongs to the deployment {owner}",
                hint="two deployments must not share one; take another or none",
            )
        if TAG_KEEP in old:
            yield self.update(
                RESOURCE,
                f"take up the file system {file_system} that was kept on {old[TAG_KEEP][:10]}",
                partial(
                    self.settle,
                    "efs",
                    "untag_resource",
                    ResourceId=file_system,
                    TagKeys=[TAG_KEEP],
                ),
                (FieldChange(name=TAG_KEEP, old=old[TAG_KEEP]),),
            )
        yield from self.retag(
            old,
            tags,
            lambda new: self.settle("efs", "tag_resource", ResourceId=file_system, Tags=pairs(new)),
        )

    def _throughput(self, observed: dict[str, Any], file_system: str) -> Changes:
        old, new = observed.get("ThroughputMode", "bursting"), self.config.storage.throughput
        if old != new:
            yield self.update(
                RESOURCE,
                "throughput of the file system",
                partial(
                    self.settle,
                    "efs",
                    "update_file_system",
                    FileSystemId=file_system,
                    ThroughputMode=new,
                ),
                (FieldChange(name="throughput", old=old, new=new),),
            )

    def _lifecycle(self, observed: dict[str, Any], file_system: str) -> Changes:
        days = self.config.storage.cold_after_days
        wanted: list[dict[str, str]] = []
        if days:
            wanted = [
                {"TransitionToIA": DAYS[days]},
                {"TransitionToPrimaryStorageClass": WARM},
            ]
        # AWS answers with one policy of two keys or with two of one
        old = {key: value for item in observed.get("lifecycle", []) for key, value in item.items()}
        new = {key: value for item in wanted for key, value in item.items()}
        if old != new:
            yield self.update(
                RESOURCE,
                "when files become cold",
                partial(
                    self.settle,
                    "efs",
                    "put_lifecycle_configuration",
                    FileSystemId=file_system,
                    LifecyclePolicies=wanted,
                ),
                (
                    FieldChange(
                        name="cold after",
                        old=old.get("TransitionToIA", "never"),
                        new=new.get("TransitionToIA", "never"),
                    ),
                ),
            )

    def _access_point(self, observed: dict[str, Any], file_system: str) -> Changes:
        points = observed.get("points", [])
        if points:
            point = points[0]["AccessPointId"]
            self.outputs["access_point"] = point
            yield from self.retag(
                tags_of(points[0]),
                self.tags("files.homes"),
                lambda new: self.settle("efs", "tag_resource", ResourceId=point, Tags=pairs(new)),
            )
        else:
            self.outputs["access_point"] = yield self.create(
                "files.homes",
                "access point of the users' homes",
                partial(self._create_point, file_system),
            )

    def _create_point(self, file_system: str) -> str:
        owner = {"Uid": NOTEBOOK_UID, "Gid": NOTEBOOK_GID}
        made = self.settle(
            "efs",
            "create_access_point",
            # the token of a point that was deleted is free again; a kept file system is another's
            ClientToken=f"{self.names.prefix}-{file_system}"[:64],
            FileSystemId=file_system,
            PosixUser=owner,
            RootDirectory={
                "Path": "/home",
                "CreationInfo": {
                    "OwnerUid": owner["Uid"],
                    "OwnerGid": owner["Gid"],
                    "Permissions": "0711",
                },
            },
            Tags=pairs(self.tags("files.homes")),
        )
        return str(made["AccessPointId"])

    def destroy(self, observed: dict[str, Any]) -> Changes:
        if not observed:
            return
        file_system = observed["FileSystemId"]
        for point in observed["points"]:
            yield self.delete(
                "files.homes",
                f"access point {point['AccessPointId']}",
                partial(
                    self.remove,
                    "efs",
                    "delete_access_point",
                    AccessPointId=point["AccessPointId"],
                ),
            )
        if self.ctx.delete_files and self.ctx.delete_files == self.names.deployment:
            yield self.delete(
                RESOURCE,
                f"file system {file_system} WITH ALL USERS' FILES",
                partial(self._end, file_system),
            )
            return
        kept = tags_of(observed).get(TAG_KEEP)
        yield Change(
            action=Action.KEEP,
            resource=RESOURCE,
            title=f"file system {file_system} with the users' files",
            apply=partial(self._keep, file_system) if kept is None else lambda: None,
            reason=(
                f"the next `hubdeploy up` of {self.names.deployment} finds it by its tags; "
                f'another deployment takes it with file_system = "{file_system}" in [storage]; '
                f"`hubdeploy down --delete-files {self.names.deployment}` deletes it"
            ),
        )

    def _keep(self, file_system: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        tags = {**self.tags(RESOURCE), TAG_KEEP: now}
        self.settle("efs", "tag_resource", ResourceId=file_system, Tags=pairs(tags))

    def _end(self, file_system: str) -> None:
        self.remove("efs", "delete_file_system", FileSystemId=file_system)

        def probe() -> bool | None:
            try:
                found = self.call("efs", "describe_file_systems", FileSystemId=file_system)
            except AwsError as error:
                if error.code == "FileSystemNotFound":
                    return True
                raise
            return None if found["FileSystems"] else True

        self.until(
            probe,
            what=f"file system {file_system} to be gone",
            deadline=self.config.waits.delete,
        )
