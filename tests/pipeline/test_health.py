"""A step judges its part: healthy is what `up` would leave alone."""

from __future__ import annotations

from hubdeploy.pipeline import runner
from hubdeploy.pipeline.step import Severity
from hubdeploy.steps import all_steps
from tests.plugins.standing import Standing


def test_what_up_made_is_healthy_and_what_was_deleted_is_named(standing: Standing) -> None:
    assert runner.health(all_steps(standing.context(planning=True))) == []
    alarms = standing.aws.pages("cloudwatch", "describe_alarms", "MetricAlarms")
    name = alarms[0]["AlarmName"]
    standing.aws.call("cloudwatch", "delete_alarms", AlarmNames=[name])
    standing.cloud.calls.clear()
    (finding,) = runner.health(all_steps(standing.context(planning=True)))
    assert finding.message.startswith("to create: ")
    assert not standing.cloud.calls.mutations()


def test_what_up_would_wait_for_is_not_healthy_yet(standing: Standing) -> None:
    name = standing.names.parameters.hub_state
    standing.aws.call("ssm", "delete_parameter", Name=name)
    (finding,) = runner.health(all_steps(standing.context(planning=True)))
    assert finding.severity is Severity.WARNING
    assert finding.message == "not there yet: hub answers"
