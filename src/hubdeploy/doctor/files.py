"""The users' files as AWS has them: the file system and its mount targets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from hubdeploy.aws.inventory import tags_of
from hubdeploy.aws.lock import held
from hubdeploy.config.names import TAG_DEPLOYMENT
from hubdeploy.doctor.check import Check, Stage
from hubdeploy.pipeline.step import Finding, Step

TARGETS = "files.targets"
"""The step that makes mount targets."""


class FileSystem(Check):
    """The file system is available, with a mount target in every zone."""

    name = "efs"
    title = "The file system can be mounted"
    stage: ClassVar[Stage] = Stage.AFTER
    mending = 300.0
    """A mount target takes AWS a minute or two."""

    def find(self) -> Iterable[Finding]:
        systems = [
            system
            for system in self.ctx.aws.pages("efs", "describe_file_systems", "FileSystems")
            if tags_of(system).get(TAG_DEPLOYMENT) == self.ctx.names.deployment
            or system["FileSystemId"] == self.ctx.config.storage.file_system
        ]
        if not systems:
            yield self.error("there is no file system", hint="`hubdeploy up` makes it")
        for system in systems:
            name = system["FileSystemId"]
            if system["LifeCycleState"] != "available":
                yield self.error(
                    f"{name} is {system['LifeCycleState']}",
                    hint="one that is being made is there in a minute; else see the EFS console",
                    subject=name,
                )
            targets = self.ctx.aws.call("efs", "describe_mount_targets", FileSystemId=name)
            zones = {t["AvailabilityZoneName"] for t in targets["MountTargets"]}
            for zone in sorted({m.zone for m in self.ctx.machines()} - zones):
                yield self.error(
                    f"{name} has no mount target in {zone}, where machines run",
                    hint="--fix makes it, as `hubdeploy up` does",
                    subject=name,
                )
            for target in targets["MountTargets"]:
                if target["LifeCycleState"] != "available":
                    yield self.error(
                        f"mount target {target['MountTargetId']} is {target['LifeCycleState']}",
                        hint="one that is being made is there in a minute or two",
                        subject=name,
                    )

    def repair(self) -> str:
        """Make the mount targets that are missing, and nothing else."""
        from hubdeploy.pipeline import runner

        with held(self.ctx.aws, self.ctx.names, purpose="doctor --fix"):
            planned = runner.plan(self._steps(planning=True))
            missing = [change for change in planned.changes[TARGETS] if change.action.mutates]
            if len(planned.mutations) > len(missing):
                return "nothing: more than mount targets is missing, `hubdeploy up` makes it"
            runner.up(self._steps(planning=False))
        return f"{len(missing)} mount target{'' if len(missing) == 1 else 's'} made"

    def _steps(self, *, planning: bool) -> Sequence[Step[Any]]:
        """The step and all that it needs, of a run of its own."""
        from hubdeploy.pipeline.graph import upto
        from hubdeploy.steps import all_steps

        steps = all_steps(self.ctx.steps(planning=planning))
        needed = upto({step.name: step.needs for step in steps}, TARGETS)
        return [step for step in steps if step.name in needed]


CHECKS: tuple[type[Check], ...] = (FileSystem,)
