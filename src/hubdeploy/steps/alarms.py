"""CloudWatch alarms: a machine that fails AWS's checks, a disk that fills up."""

from __future__ import annotations

from functools import partial
from typing import Any

from hubdeploy.aws.session import Aws
from hubdeploy.config.names import Names, Role
from hubdeploy.pipeline.change import Changes, differences
from hubdeploy.steps.base import Part, pairs, partition

BATCH = 100
NAMESPACE = "hubdeploy"
DISK_METRIC = "DiskUsedPercent"
DISK_FULL = 85
"""Per cent of the leader's state volume or root disk."""
SINGLE = (Role.CHEF, Role.WORKSTATION, Role.LEADER)


def own(*, aws: Aws, names: Names) -> dict[str, dict[str, Any]]:
    """The deployment's alarms by name."""
    prefix = names.alarm("")
    found = aws.pages("cloudwatch", "describe_alarms", "MetricAlarms", AlarmNamePrefix=prefix)
    return {
        item["AlarmName"]: item
        for item in found
        # the alarms of a deployment called NAME-alarm-x begin in the same way
        if "-alarm-" not in item["AlarmName"].removeprefix(prefix)
    }


class Alarms(Part[dict[str, dict[str, Any]]]):
    """Status checks of the single machines, and the leader's disk."""

    name = "alarms"
    title = "Alarms"
    needs = ("machine.chef-server", "machine.workstation", "machine.leader")

    def observe(self) -> dict[str, dict[str, Any]]:
        return own(aws=self.ctx.aws, names=self.names)

    def wanted(self) -> dict[str, dict[str, Any]]:
        """Alarms by name, as they are put."""
        region = self.config.region
        recover = f"arn:{partition(region)}:automate:{region}:ec2:recover"
        found = {}
        for role in SINGLE:
            # a failing host is AWS's to mend: the instance comes up on another, disks and all
            found[f"{role}-host"] = {
                "Namespace": "AWS/EC2",
                "MetricName": "StatusCheckFailed_System",
                "Dimensions": [{"Name": "InstanceId", "Value": self.outputs[f"instance.{role}"]}],
                "Statistic": "Maximum",
                "Period": 60,
                "EvaluationPeriods": 2,
                "Threshold": 1.0,
                "ComparisonOperator": "GreaterThanOrEqualToThreshold",
                "TreatMissingData": "missing",
                "AlarmActions": [recover],
                "AlarmDescription": f"the host of the {role} fails AWS's status check",
            }
        found[f"{Role.LEADER}-system"] = {
            **found[f"{Role.LEADER}-host"],
            "MetricName": "StatusCheckFailed_Instance",
            "EvaluationPeriods": 5,
            "AlarmActions": [],
            "AlarmDescription": "the leader's system does not answer AWS's status check",
        }
        found[f"{Role.LEADER}-disk"] = {
            "Namespace": NAMESPACE,
            "MetricName": DISK_METRIC,
            "Dimensions": [
                {"Name": "Deployment", "Value": self.names.deployment},
                {"Name": "Role", "Value": Role.LEADER.value},
            ],
            "Statistic": "Maximum",
            "Period": 300,
            "EvaluationPeriods": 2,
            "Threshold": float(DISK_FULL),
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            "TreatMissingData": "notBreaching",
            "AlarmActions": [],
            "AlarmDescription": f"a disk of the leader is {DISK_FULL} per cent full",
        }
        return {self.names.alarm(name): alarm for name, alarm in found.items()}

    def changes(self, observed: dict[str, dict[str, Any]]) -> Changes:
        prefix = self.names.alarm("")
        wanted = self.wanted()
        self.outputs["alarms"] = {name: f"alarm.{name.removeprefix(prefix)}" for name in wanted}
        for name, alarm in wanted.items():
            resource = self.outputs["alarms"][name]
            apply = partial(self._put, name, resource, alarm)
            seen = observed.get(name)
            if seen is None:
                yield self.create(resource, f"alarm: {alarm['AlarmDescription']}", apply)
                continue
            fields = differences(_comparable(seen), _comparable(alarm))
            if fields:
                yield self.update(resource, f"alarm: {alarm['AlarmDescription']}", apply, fields)

    def _put(self, name: str, resource: str, alarm: dict[str, Any]) -> None:
        tags = pairs(self.tags(resource))
        self.call("cloudwatch", "put_metric_alarm", AlarmName=name, Tags=tags, **alarm)

    def destroy(self, observed: dict[str, dict[str, Any]]) -> Changes:
        names = sorted(observed)
        if names:
            yield self.delete("alarms", f"{len(names)} alarms", partial(self._end, names))

    def _end(self, names: list[str]) -> None:
        for start in range(0, len(names), BATCH):
            self.remove("cloudwatch", "delete_alarms", AlarmNames=names[start : start + BATCH])


def _comparable(alarm: dict[str, Any]) -> dict[str, Any]:
    return {
        "metric": alarm.get("MetricName"),
        "of": " ".join(sorted(str(item["Value"]) for item in alarm.get("Dimensions", []))),
        "threshold": float(alarm.get("Threshold", 0)),
        "period": int(alarm.get("Period", 0)),
        "periods": int(alarm.get("EvaluationPeriods", 0)),
        "actions": " ".join(alarm.get("AlarmActions", [])),
    }
