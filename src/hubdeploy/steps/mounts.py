"""Mount targets: where machines reach the file system."""

from __future__ import annotations

from functools import partial
from typing import Any

from hubdeploy.errors import AwsError, ConfigError
from hubdeploy.pipeline.change import Changes, FieldChange
from hubdeploy.steps.base import Part
from hubdeploy.steps.files import own
from hubdeploy.steps.rules import FILES


class MountTargets(Part[list[dict[str, Any]]]):
    """One in every zone: a worker in a zone without one could not mount (aws/efs-utils#287)."""

    name = "files.targets"
    title = "Mount targets"
    needs = ("files.system", "network.subnets", "firewall")

    def observe(self) -> list[dict[str, Any]]:
        found = own(self)
        # one that this very run makes has none yet
        if not found:
            return []
        targets = self.ctx.aws.pages(
            "efs", "describe_mount_targets", "MountTargets", FileSystemId=found["FileSystemId"]
        )
        return [target for target in targets if target.get("LifeCycleState") != "deleted"]

    def changes(self, observed: list[dict[str, Any]]) -> Changes:
        file_system = self.outputs["file_system"]
        group = self.outputs["firewall"][FILES]
        by_subnet = {t["SubnetId"]: t for t in observed if t["LifeCycleState"] != "deleting"}
        made: list[str] = []
        for number, subnet in enumerate(self.outputs["subnets.machines"]):
            resource = f"files.target.{number + 1}"
            target = by_subnet.pop(subnet, None)
            if target is None:
                target_id = yield self.create(
                    resource,
                    f"mount target in {self.outputs['zones'][number]}",
                    partial(self._create, file_system, subnet, group),
                    {"subnet": subnet},
                )
                made.append(target_id)
                continue
            target_id = target["MountTargetId"]
            if target["LifeCycleState"] != "available":
                made.append(target_id)
            groups = self.call(
                "efs", "describe_mount_target_security_groups", MountTargetId=target_id
            )["SecurityGroups"]
            if groups != [group]:
                yield self.update(
                    resource,
                    f"security group of {resource}",
                    partial(
                        self.settle,
                        "efs",
                        "modify_mount_target_security_groups",
                        MountTargetId=target_id,
                        SecurityGroups=[group],
                    ),
                    (FieldChange(name="groups", old=" ".join(groups), new=group),),
                )
        if by_subnet and self.config.storage.file_system:
            raise ConfigError(
                f"file system {file_system} is mounted from other subnets "
                f"({', '.join(sorted(by_subnet))})",
                hint="a file system serves one VPC: remove those mount targets first",
            )
        if made:
            yield self.waiting(
                "files.targets", "mount targets", partial(self._available, file_system, made)
            )

    def _create(self, file_system: str, subnet: str, group: str) -> str:
        try:
            made = self.settle(
                "efs",
                "create_mount_target",
                FileSystemId=file_system,
                SubnetId=subnet,
                SecurityGroups=[group],
            )
        except AwsError as error:
            if error.code != "MountTargetConflict":
                raise
            found = self.call("efs", "describe_mount_targets", FileSystemId=file_system)
            for target in found["MountTargets"]:
                if target["SubnetId"] == subnet:
                    return str(target["MountTargetId"])
            raise
        return str(made["MountTargetId"])

    def _available(self, file_system: str, targets: list[str]) -> bool:
        def probe() -> bool | None:
            found = self.ctx.aws.pages(
                "efs", "describe_mount_targets", "MountTargets", FileSystemId=file_system
            )
            ready = {t["MountTargetId"] for t in found if t["LifeCycleState"] == "available"}
            return True if set(targets) <= ready else None

        return self.until(probe, what=f"mount targets of {file_system}")

    def destroy(self, observed: list[dict[str, Any]]) -> Changes:
        for target in observed:
            if target["LifeCycleState"] == "deleting":
                continue
            yield self.delete(
                "files.target",
                f"mount target {target['MountTargetId']}",
                partial(
                    self.remove,
                    "efs",
                    "delete_mount_target",
                    MountTargetId=target["MountTargetId"],
                ),
            )
        if observed:
            file_system = observed[0]["FileSystemId"]
            yield self.waiting(
                "files.targets", "mount targets to be gone", partial(self._gone, file_system)
            )

    def _gone(self, file_system: str) -> bool:
        def probe() -> bool | None:
            try:
                answer = self.call("efs", "describe_mount_targets", FileSystemId=file_system)
            except AwsError as error:
                if error.code == "FileSystemNotFound":
                    return True
                raise
            return None if answer["MountTargets"] else True

        return self.until(
            probe,
            what=f"mount targets of {file_system} to be gone",
            deadline=self.config.waits.delete,
        )
