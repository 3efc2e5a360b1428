"""Run Command reaches the machines, takes its time, and tells how it ended."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from hubdeploy.sandbox.machines.shell import said
from tests.sandbox.cloud.test_network_order import refused
from tests.sandbox.cloud.world import World, allow, tagged

SHELL = "AWS-RunShellScript"


def send(world: World, *lines: str, ids: list[str] | None = None, **more: Any) -> str:
    parameters = {"commands": list(lines), **more.pop("parameters", {})}
    if ids is not None:
        more["InstanceIds"] = ids
    answer = world.ssm.send_command(DocumentName=SHELL, Parameters=parameters, **more)
    return str(answer["Command"]["CommandId"])


def invocation(world: World, command: str, ident: str) -> dict[str, Any]:
    answer: dict[str, Any] = world.ssm.get_command_invocation(CommandId=command, InstanceId=ident)
    return answer


def ended(world: World, command: str, ident: str) -> dict[str, Any]:
    def done() -> dict[str, Any] | None:
        found = invocation(world, command, ident)
        return None if found["Status"] in ("Pending", "InProgress") else found

    answer: dict[str, Any] = world.cloud.wait(done, what="the command's end")
    return answer


def test_a_command_runs_on_the_machine_and_says_how_it_ended(world: World) -> None:
    ident = world.online()
    found = ended(world, send(world, "echo hello", "hostname", ids=[ident]), ident)
    name = "ip-" + world.instance(ident)["PrivateIpAddress"].replace(".", "-")
    assert found["Status"] == "Success"
    assert found["ResponseCode"] == 0
    assert found["StandardOutputContent"] == f"hello\n{name}\n"

    found = ended(world, send(world, "echo on; false && echo never || exit 3", ids=[ident]), ident)
    assert (found["Status"], found["ResponseCode"]) == ("Failed", 3)
    assert found["StandardOutputContent"] == "on\n"

    found = ended(world, send(world, "/no/such thing", ids=[ident]), ident)
    assert found["ResponseCode"] == 127
    assert "not a command" in found["StandardErrorContent"]


def test_a_command_takes_its_time_and_can_be_cancelled(world: World) -> None:
    ident = world.online()
    command = send(world, "sleep 30", ids=[ident])
    world.cloud.wait(lambda: invocation(world, command, ident)["Status"] == "InProgress")
    assert invocation(world, command, ident)["ResponseCode"] == -1
    world.ssm.cancel_command(CommandId=command)
    assert ended(world, command, ident)["Status"] == "Cancelled"


def test_a_command_that_exceeds_its_time_is_ended(world: World) -> None:
    ident = world.online()
    parameters = {"executionTimeout": ["1"]}
    command = send(world, "echo first", "sleep 30", ids=[ident], parameters=parameters)
    found = ended(world, command, ident)
    assert found["Status"] == "TimedOut"
    assert found["StatusDetails"] == "ExecutionTimedOut"
    assert found["StandardOutputContent"] == "first\n"


def test_targets_are_found_by_tag(world: World) -> None:
    workers = [
        world.online(TagSpecifications=tagged("instance", deployment="demo", role="x"))
        for _ in range(2)
    ]
    world.online(TagSpecifications=tagged("instance", deployment="other", role="x"))
    targets = [
        {"Key": "tag:hubdeploy:deployment", "Values": ["demo"]},
        {"Key": "tag:hubdeploy:role", "Values": ["x", "y"]},
    ]
    command = send(world, "true", Targets=targets)
    found = world.ssm.list_command_invocations(CommandId=command)["CommandInvocations"]
    assert sorted(one["InstanceId"] for one in found) == sorted(workers)
    for ident in workers:
        ended(world, command, ident)
    (one,) = world.ssm.list_commands(CommandId=command)["Commands"]
    assert (one["Status"], one["TargetCount"], one["CompletedCount"]) == ("Success", 2, 2)


def test_long_output_is_cut_and_kept_whole_in_the_bucket(world: World) -> None:
    ident = world.online()
    text = "x" * 30000
    world.cloud.machines.shell.commands["much"] = lambda _spec, _words: said(text)
    location = {"LocationConstraint": world.cloud.region}
    s3 = world.cloud.client("s3")
    s3.create_bucket(Bucket="outputs", CreateBucketConfiguration=location)
    command = send(
        world, "much", ids=[ident], OutputS3BucketName="outputs", OutputS3KeyPrefix="commands"
    )
    found = ended(world, command, ident)
    assert len(found["StandardOutputContent"]) < 25000
    assert found["StandardOutputContent"].endswith("--output truncated--")
    (item,) = s3.list_objects_v2(Bucket="outputs", Prefix=f"commands/{command}/")["Contents"]
    assert item["Key"].endswith("/stdout")
    assert s3.get_object(Bucket="outputs", Key=item["Key"])["Body"].read().decode() == text
    # the machine itself put it there, with its own role
    (put,) = world.cloud.calls.find("s3:PutObject", role="machine")
    assert put.params["Key"] == item["Key"]


def test_a_machine_whose_role_may_not_write_keeps_no_output(world: World) -> None:
    world.role("quiet", allow(["ssm:*", "ssmmessages:*"]))
    ident = world.online(IamInstanceProfile={"Name": "quiet"})
    location = {"LocationConstraint": world.cloud.region}
    s3 = world.cloud.client("s3")
    s3.create_bucket(Bucket="outputs", CreateBucketConfiguration=location)
    command = send(world, "echo hello", ids=[ident], OutputS3BucketName="outputs")
    assert ended(world, command, ident)["Status"] == "Success"
    assert "Contents" not in s3.list_objects_v2(Bucket="outputs")


def test_only_machines_whose_agent_is_online_take_commands(world: World) -> None:
    world.role("mute", allow("s3:*"))
    silent = world.running(IamInstanceProfile={"Name": "mute"})
    without = world.running(IamInstanceProfile=None)
    ident = world.online()
    found = world.ssm.describe_instance_information()["InstanceInformationList"]
    assert [entry["InstanceId"] for entry in found] == [ident]
    for other in (silent, without, "i-0123456789abcdef0"):
        request = {"InstanceIds": [other], "DocumentName": SHELL}
        assert refused(world.ssm.send_command, **request) == "InvalidInstanceId"


def test_the_agent_comes_online_after_the_machine(world: World) -> None:
    world.cloud.plan.agent = 0.4
    ident = world.running()
    assert world.ssm.describe_instance_information()["InstanceInformationList"] == []
    world.cloud.wait(
        lambda: world.ssm.describe_instance_information()["InstanceInformationList"],
        what="the agent",
    )
    world.ec2.stop_instances(InstanceIds=[ident])
    world.wait_for(ident, "stopped")
    (entry,) = world.ssm.describe_instance_information()["InstanceInformationList"]
    assert entry["PingStatus"] == "ConnectionLost"
    filters = [{"Key": "PingStatus", "Values": ["Online"]}]
    answer = world.ssm.describe_instance_information(Filters=filters)
    assert answer["InstanceInformationList"] == []


def test_an_invocation_may_be_unknown_at_first(world: World) -> None:
    ident = world.online()
    world.cloud.settings.missing_reads = 1
    command = send(world, "true", ids=[ident])
    with pytest.raises(ClientError, match="InvocationDoesNotExist"):
        invocation(world, command, ident)
    assert ended(world, command, ident)["Status"] == "Success"


def test_other_documents_are_refused(world: World) -> None:
    ident = world.online()
    request = {"InstanceIds": [ident], "DocumentName": "AWS-Nothing"}
    assert refused(world.ssm.send_command, **request) == "InvalidDocument"
