"""Run Command through the embedded AWS: outputs, codes, offline machines, deadlines, throttling."""

from __future__ import annotations

import _thread
import threading
import time

import pytest
from tests.plugins.standing import Standing

from hubdeploy.errors import RemoteError
from hubdeploy.operate import status
from hubdeploy.remote.channel import Target, worst
from hubdeploy.remote.ssm import SsmChannel, one
from hubdeploy.sandbox.machines.interface import CommandResult


@pytest.fixture
def targets(standing: Standing) -> list[Target]:
    return [m.target for m in status.machines(aws=standing.aws, names=standing.names)]


@pytest.fixture
def channel(standing: Standing) -> SsmChannel:
    return SsmChannel(aws=standing.aws, bucket=standing.names.bucket, every=0.2)


def test_every_machine_answers_in_the_order_asked(
    channel: SsmChannel, targets: list[Target]
) -> None:
    results = channel.run(targets, "echo hello", deadline=10)
    assert [r.target for r in results] == targets
    assert {r.stdout.strip() for r in results} == {"hello"}
    assert worst(results) == 0


def test_the_worst_exit_code_is_kept(channel: SsmChannel, targets: list[Target]) -> None:
    results = channel.run(targets[:2], "exit 3", deadline=10)
    assert [r.code for r in results] == [3, 3]
    assert worst(results) == 3
    with pytest.raises(RemoteError, match="leader: exit code 3"):
        one(results[:1])


def test_of_several_machines_the_worst_counts(
    standing: Standing, channel: SsmChannel, targets: list[Target]
) -> None:
    standing.cloud.machines.shell.commands["differs"] = lambda spec, _: CommandResult(
        code=7 if spec.instance_id == targets[1].instance_id else 0, stdout="", stderr=""
    )
    assert worst(channel.run(targets, "differs", deadline=10)) == 7


def test_ctrl_c_ends_the_command_on_the_machine_too(
    standing: Standing, channel: SsmChannel, targets: list[Target]
) -> None:
    pressed = threading.Timer(1.5, _thread.interrupt_main)
    pressed.start()
    with pytest.raises(KeyboardInterrupt):
        channel.run(targets[:1], "sleep 60", deadline=60)
    pressed.join()
    assert len(standing.cloud.calls.find("ssm:CancelCommand")) == 1


def test_a_machine_without_agent_is_named_and_does_not_hold_up_the_rest(
    standing: Standing, channel: SsmChannel, targets: list[Target]
) -> None:
    stopped = next(t for t in targets if t.label == "workstation")
    standing.aws.call("ec2", "stop_instances", InstanceIds=[stopped.instance_id])
    standing.cloud.wait(lambda: stopped.instance_id not in channel.online(), what="the stop")
    began = time.monotonic()
    results = channel.run(targets, "true", deadline=30)
    assert time.monotonic() - began < 5
    assert {r.target.label: r.problem for r in results if r.problem} == {"workstation": "offline"}


def test_a_command_past_its_deadline_runs_no_longer(
    standing: Standing, channel: SsmChannel, targets: list[Target]
) -> None:
    results = channel.run(targets[:1], "sleep 30", deadline=1)
    assert (results[0].code, results[0].problem) == (None, "timed out")

    # the machine itself may have ended it a moment before it was cancelled
    def ended() -> bool:
        found = standing.aws.pages("ssm", "list_command_invocations", "CommandInvocations")
        states = [i["Status"] for i in found if i["InstanceId"] == targets[0].instance_id]
        return bool(states) and set(states) <= {"Cancelled", "TimedOut"}

    standing.cloud.wait(ended, what="the command's end")


def test_output_too_long_for_the_api_comes_from_the_bucket(
    channel: SsmChannel, targets: list[Target]
) -> None:
    text = "0123456789" * 4000
    result = one(channel.run(targets[:1], f"echo {text}", deadline=10))
    assert result.stdout.strip() == text


def test_throttling_is_waited_out(
    standing: Standing, channel: SsmChannel, targets: list[Target]
) -> None:
    standing.cloud.faults.inject("ssm", "SendCommand", "ThrottlingException", times=2)
    assert one(channel.run(targets[:1], "echo ok", deadline=10)).stdout.strip() == "ok"


def test_more_machines_than_one_call_takes_are_sent_in_batches(
    standing: Standing, channel: SsmChannel, targets: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubdeploy.remote.ssm.BATCH", 2)
    assert all(r.ok for r in channel.run(targets, "true", deadline=10))
    assert len(standing.cloud.calls.find("ssm:SendCommand")) == 3
