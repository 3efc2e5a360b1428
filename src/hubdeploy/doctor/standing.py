"""Checks of what stands, as AWS sees it: drift, machines, agents, backups, versions."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from hubdeploy import __version__
from hubdeploy.config.names import Key, Phase, Role
from hubdeploy.doctor.check import Check, Stage
from hubdeploy.errors import AwsError
from hubdeploy.pipeline.step import Finding

BACKUP_AGE = timedelta(hours=36)
"""Backups are daily; one that is a day and a half old was missed."""


class Drift(Check):
    """Every resource is there and as configured."""

    name = "drift"
    title = "Everything is as configured"
    stage: ClassVar[Stage] = Stage.AFTER
    deadline = 60.0

    def find(self) -> Iterable[Finding]:
        return self.ctx.health()


class Machines(Check):
    """Instances run, pass EC2's status checks, and say that they are ready."""

    name = "machines.phase"
    title = "Machines are ready"
    stage: ClassVar[Stage] = Stage.AFTER

    def find(self) -> Iterable[Finding]:
        status = self.ctx.status
        roles = {m.role for m in status.machines}
        for role in (Role.CHEF, Role.WORKSTATION, Role.LEADER):
            if role not in roles:
                yield self.error(f"there is no {role}", hint="`hubdeploy up` makes it anew")
        for machine in status.machines:
            if machine.state != "running":
                yield self.warning(
                    f"{machine.label} ({machine.instance_id}) is {machine.state}",
                    hint=f"aws ec2 start-instances --instance-ids {machine.instance_id}"
                    if machine.state == "stopped"
                    else "",
                    subject=machine.label,
                )
            elif machine.phase == Phase.FAILED:
                yield self.error(
                    f"{machine.label} failed: {machine.detail}",
                    hint=f"hubdeploy logs boot --on {machine.label}",
                    subject=machine.label,
                )
            elif machine.phase != Phase.READY:
                yield self.warning(
                    f"{machine.label} is {machine.phase or 'booting'}"
                    + (f" ({machine.detail})" if machine.detail else ""),
                    hint=f"hubdeploy logs boot --on {machine.label}",
                    subject=machine.label,
                )


class StatusChecks(Check):
    """EC2's own checks of hardware and system."""

    name = "machines.ec2"
    title = "EC2's status checks pass"
    stage: ClassVar[Stage] = Stage.AFTER

    def find(self) -> Iterable[Finding]:
        ids = [m.instance_id for m in self.ctx.machines()]
        labels = {m.instance_id: m.label for m in self.ctx.machines()}
        if not ids:
            return
        for state in self.ctx.aws.pages(
            "ec2", "describe_instance_status", "InstanceStatuses", InstanceIds=ids
        ):
            label = labels[state["InstanceId"]]
            for kind in ("InstanceStatus", "SystemStatus"):
                if state.get(kind, {}).get("Status") == "impaired":
                    yield self.error(
                        f"{label}: EC2's {kind.removesuffix('Status').lower()} check fails",
                        hint=f"stop and start it: aws ec2 stop-instances --instance-ids "
                        f"{state['InstanceId']}",
                        subject=label,
                    )
            for event in state.get("Events", []):
                yield self.warning(
                    f"{label}: AWS announces {event.get('Code')}: {event.get('Description')}",
                    subject=label,
                )


class Agents(Check):
    """Every machine answers Run Command."""

    name = "machines.agent"
    title = "SSM agents are online"
    stage: ClassVar[Stage] = Stage.AFTER

    def find(self) -> Iterable[Finding]:
        from hubdeploy.remote.ssm import SsmChannel

        online = SsmChannel(aws=self.ctx.aws, bucket=self.ctx.names.bucket).online()
        for machine in self.ctx.machines():
            if machine.instance_id not in online:
                yield self.error(
                    f"{machine.label} does not answer Run Command",
                    hint="is it still booting? can it reach AWS (NAT, routes)?",
                    subject=machine.label,
                )


class Group(Check):
    """The groups' launches succeed, and there are as many workers as there should be."""

    name = "workers.group"
    title = "The workers' groups are well"
    stage: ClassVar[Stage] = Stage.AFTER

    def find(self) -> Iterable[Finding]:
        group = self.ctx.status.group
        if group is None:
            yield self.error("there is no workers' group", hint="`hubdeploy up` makes it")
            return
        recent = datetime.now(UTC) - timedelta(hours=1)
        for kind in (group.instance_type for group in self.ctx.status.groups):
            for activity in self._activities(kind):
                if activity["StatusCode"] == "Failed" and activity["StartTime"] > recent:
                    yield self.error(
                        f"a worker could not be launched: {activity.get('StatusMessage', '')}",
                        hint="`hubdeploy doctor --only aws` checks quotas and types",
                        subject=kind,
                    )
                    break
        if group.in_service < group.minimum:
            yield self.warning(
                f"{group.in_service} workers are in service, at least {group.minimum} should be",
                hint="they may be booting: hubdeploy status",
            )

    def _activities(self, kind: str) -> list[dict[str, Any]]:
        answer = self.ctx.aws.call(
            "autoscaling",
            "describe_scaling_activities",
            AutoScalingGroupName=self.ctx.names.workers_group(kind),
            MaxRecords=20,
        )
        return list(answer["Activities"])


class Backups(Check):
    """The hub's and the Chef server's backups are not old."""

    name = "backups"
    title = "Backups are fresh"
    stage: ClassVar[Stage] = Stage.AFTER

    def find(self) -> Iterable[Finding]:
        for title, role, prefix in (
            ("the hub's database", Role.LEADER, Key.HUB_BACKUP),
            ("the Chef server", Role.CHEF, Key.CHEF_BACKUP),
        ):
            young = self._younger_than_a_backup(role)
            newest = self._newest(prefix)
            if newest is None and not young:
                yield self.error(
                    f"there is no backup of {title}", hint=f"hubdeploy logs --on {role}"
                )
            elif newest is not None and datetime.now(UTC) - newest > BACKUP_AGE and not young:
                yield self.error(
                    f"the newest backup of {title} is of {newest:%Y-%m-%d %H:%M}",
                    hint=f"hubdeploy run --on {role} 'systemctl list-timers'",
                )

    def _newest(self, prefix: str) -> datetime | None:
        try:
            objects = self.ctx.aws.pages(
                "s3", "list_objects_v2", "Contents", Bucket=self.ctx.names.bucket, Prefix=prefix
            )
        except AwsError as error:
            if error.code == "NoSuchBucket":
                return None
            raise
        return max((item["LastModified"] for item in objects), default=None)

    def _younger_than_a_backup(self, role: Role) -> bool:
        launched = [datetime.fromisoformat(m.launched) for m in self.ctx.machines(role)]
        return bool(launched) and datetime.now(UTC) - min(launched) < BACKUP_AGE


class Versions(Check):
    """This CLI, the published wheel and the workstation's cookbooks belong together."""

    name = "versions"
    title = "CLI, wheel and cookbooks agree"
    stage: ClassVar[Stage] = Stage.AFTER

    def find(self) -> Iterable[Finding]:
        names = self.ctx.names.parameters
        found = self.ctx.aws.call(
            "ssm", "get_parameters", Names=[names.release, names.workstation_state]
        )["Parameters"]
        values = {item["Name"]: json.loads(item["Value"]) for item in found}
        release, done = values.get(names.release, {}), values.get(names.workstation_state, {})
        if not release:
            yield self.error("nothing is published for the machines", hint="run `hubdeploy up`")
            return
        if release.get("version") != __version__:
            yield self.warning(
                f"this is hubdeploy {__version__}, the machines are to run "
                f"{release.get('version')}",
                hint="`hubdeploy up` brings them to this version",
            )
        for part in ("cookbooks", "settings"):
            if done and done.get(part) != release.get(part, {}).get("sha256"):
                yield self.error(
                    f"the workstation has not published the newest {part}",
                    hint="hubdeploy logs workstation",
                )
        yield from self._machines(release)

    def _machines(self, release: dict[str, Any]) -> Iterable[Finding]:
        """Each machine against the release; machines name digests in full or by their first
        digits."""
        for label, facts in self.ctx.facts.items():
            behind = [
                part
                for part, digest in (facts.get("release") or {}).items()
                if digest and not str(release.get(part, {}).get("sha256", "")).startswith(digest)
            ]
            version = facts.get("version", release.get("version"))
            if behind or version != release.get("version"):
                yield self.warning(
                    f"{label} runs hubdeploy {version}"
                    + (f", and not the newest {', '.join(sorted(behind))}" if behind else "")
                    + f"; the release is {release.get('version')}",
                    hint="at its next converge, or now: hubdeploy run --on "
                    f"{label} 'hubdeploy-node converge'",
                    subject=label,
                )


CHECKS: tuple[type[Check], ...] = (
    Drift,
    Machines,
    StatusChecks,
    Agents,
    Group,
    Backups,
    Versions,
)
