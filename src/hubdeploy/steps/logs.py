"""CloudWatch log groups of the machines' units."""

from __future__ import annotations

from functools import partial
from typing import Any

from hubdeploy.errors import AwsError
from hubdeploy.pipeline.change import Changes, FieldChange
from hubdeploy.steps.base import Part

RETENTION = 30
"""Days."""
UNITS = ("cloud-init", "converge", "hub", "nginx", "chef", "agent", "system")
"""As the node agent sorts what it ships."""


class Logs(Part[dict[str, dict[str, Any]]]):
    """One group a unit; a stream a machine."""

    name = "logs"
    title = "Log groups"
    needs = ("deployment",)

    def observe(self) -> dict[str, dict[str, Any]]:
        found = self.ctx.aws.pages(
            "logs",
            "describe_log_groups",
            "logGroups",
            logGroupNamePrefix=self.names.log_group(""),
        )
        return {item["logGroupName"]: item for item in found}

    def changes(self, observed: dict[str, dict[str, Any]]) -> Changes:
        for unit in UNITS:
            group = self.names.log_group(unit)
            resource = f"logs.{unit}"
            seen = observed.get(group)
            if seen is None:
                yield self.create(
                    resource, f"log group {group}", partial(self._create, group, unit)
                )
                continue
            old = seen.get("retentionInDays")
            if old != RETENTION:
                yield self.update(
                    resource,
                    f"how long {group} is kept",
                    partial(
                        self.settle,
                        "logs",
                        "put_retention_policy",
                        logGroupName=group,
                        retentionInDays=RETENTION,
                    ),
                    (FieldChange(name="days", old=str(old or ""), new=str(RETENTION)),),
                )
        self.outputs["log_groups"] = {unit: self.names.log_group(unit) for unit in UNITS}

    def _create(self, group: str, unit: str) -> None:
        try:
            self.call(
                "logs", "create_log_group", logGroupName=group, tags=self.tags(f"logs.{unit}")
            )
        except AwsError as error:
            if error.code != "ResourceAlreadyExistsException":
                raise
        self.settle("logs", "put_retention_policy", logGroupName=group, retentionInDays=RETENTION)

    def destroy(self, observed: dict[str, dict[str, Any]]) -> Changes:
        for group in observed:
            yield self.delete(
                f"logs.{group.rpartition('/')[2]}",
                f"log group {group}",
                partial(self.remove, "logs", "delete_log_group", logGroupName=group),
            )
