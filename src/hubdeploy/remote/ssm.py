"""Run Command: the first channel. Needs no open port; every command is in the account's trail."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from hubdeploy.aws.hints import THROTTLED
from hubdeploy.aws.session import Aws
from hubdeploy.aws.waiting import retry_codes, wait_until
from hubdeploy.config.names import Key
from hubdeploy.errors import AwsError, RemoteError, WaitTimeout
from hubdeploy.remote.channel import OFFLINE, Result, Target

BATCH = 50
"""Instances that one SendCommand takes by id."""
INLINE = 24_000
"""Characters of output that GetCommandInvocation returns; what is longer is in the bucket."""
DELIVERY = 30
"""Seconds that Run Command waits for an agent; its minimum."""
_RUNNING = frozenset({"Pending", "InProgress", "Delayed", "Cancelling"})
_PROBLEMS = {
    "TimedOut": "timed out",
    "DeliveryTimedOut": OFFLINE,
    "ExecutionTimedOut": "timed out",
    "Undeliverable": OFFLINE,
    "Terminated": "terminated",
    "Cancelled": "cancelled",
    "InvalidPlatform": "not a Linux machine",
    "AccessDenied": "access denied",
}


@dataclass(kw_only=True)
class SsmChannel:
    """Commands by SSM's ``AWS-RunShellScript``.

    ``bucket`` takes outputs too long for the API (under :attr:`Key.COMMANDS`, which expires).
    """

    aws: Aws
    bucket: str
    every: float = 1.0
    name: str = field(default="ssm", init=False)

    def run(self, targets: Sequence[Target], command: str, *, deadline: float) -> list[Result]:
        """See :class:`~hubdeploy.remote.channel.Channel`. Machines whose agent is not online are
        reported as such at once instead of holding the others up."""
        online = self.online()
        reachable = [t for t in targets if t.instance_id in online]
        found: dict[str, Result] = {}
        until = time.monotonic() + deadline
        for batch in _batches(reachable, BATCH):
            found |= self._batch(batch, command, until=until, deadline=deadline)
        return [
            found.get(t.instance_id) or Result(target=t, code=None, problem=OFFLINE)
            for t in targets
        ]

    def online(self) -> set[str]:
        """Ids of the account's instances whose agent answers now."""
        found = self.aws.pages(
            "ssm",
            "describe_instance_information",
            "InstanceInformationList",
            Filters=[{"Key": "PingStatus", "Values": ["Online"]}],
        )
        return {item["InstanceId"] for item in found}

    def _batch(
        self, targets: Sequence[Target], command: str, *, until: float, deadline: float
    ) -> dict[str, Result]:
        sent = retry_codes(
            lambda: self.aws.call(
                "ssm",
                "send_command",
                InstanceIds=[t.instance_id for t in targets],
                DocumentName="AWS-RunShellScript",
                Parameters={
                    "commands": [command],
                    "executionTimeout": [str(max(1, int(deadline)))],
                },
                TimeoutSeconds=DELIVERY,
                OutputS3BucketName=self.bucket,
                OutputS3KeyPrefix=Key.COMMANDS,
            ),
            what="Run Command to take the command",
            codes=THROTTLED,
            deadline=max(0.0, until - time.monotonic()),
        )
        command_id = sent["Command"]["CommandId"]
        try:
            states = self._watch(command_id, wanted=len(targets), until=until)
        except BaseException:
            self._cancel(command_id)
            raise
        if any(status in _RUNNING for status in states.values()) or len(states) < len(targets):
            self._cancel(command_id)
        return {t.instance_id: self._result(t, command_id, states) for t in targets}

    def _watch(self, command_id: str, *, wanted: int, until: float) -> dict[str, str]:
        """Each instance's last status, once all have ended or at ``until``."""
        states: dict[str, str] = {}

        def ended() -> bool | None:
            found = self.aws.pages(
                "ssm", "list_command_invocations", "CommandInvocations", CommandId=command_id
            )
            states.update((i["InstanceId"], _status(i)) for i in found)
            over = sum(status not in _RUNNING for status in states.values())
            return True if over >= wanted else None

        # at the deadline the caller cancels what still runs, and says so of each machine
        with suppress(WaitTimeout):
            wait_until(
                ended,
                what=f"the command {command_id}",
                deadline=max(0.0, until - time.monotonic()),
                every=self.every,
            )
        return states

    def _cancel(self, command_id: str) -> None:
        try:
            self.aws.call("ssm", "cancel_command", CommandId=command_id)
        except AwsError as error:
            if error.code != "InvalidCommandId":
                raise

    def _result(self, target: Target, command_id: str, states: dict[str, str]) -> Result:
        status = states.get(target.instance_id, "Pending")
        if status in _RUNNING:
            return Result(target=target, code=None, problem="timed out")
        got = self.aws.call(
            "ssm", "get_command_invocation", CommandId=command_id, InstanceId=target.instance_id
        )
        code = int(got.get("ResponseCode", -1))
        problem = _PROBLEMS.get(status, "")
        return Result(
            target=target,
            code=None if problem or code < 0 else code,
            stdout=self._whole(got, "StandardOutputContent", "stdout"),
            stderr=self._whole(got, "StandardErrorContent", "stderr"),
            problem=problem or ("failed" if code < 0 else ""),
        )

    def _whole(self, got: dict[str, Any], name: str, stream: str) -> str:
        text = str(got.get(name, ""))
        if len(text) < INLINE - 1000:
            return text
        prefix = f"{Key.COMMANDS}/{got['CommandId']}/{got['InstanceId']}/"
        objects = self.aws.pages(
            "s3", "list_objects_v2", "Contents", Bucket=self.bucket, Prefix=prefix
        )
        for item in objects:
            if item["Key"].endswith(f"/{stream}"):
                body = self.aws.call("s3", "get_object", Bucket=self.bucket, Key=item["Key"])
                return str(body["Body"].read().decode("utf-8", "replace"))
        return text


def _status(invocation: dict[str, Any]) -> str:
    detailed = str(invocation.get("StatusDetails", "")).replace(" ", "")
    return detailed if detailed in _PROBLEMS else str(invocation["Status"])


def _batches(items: Sequence[Target], size: int) -> Iterator[Sequence[Target]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def one(results: Sequence[Result]) -> Result:
    """The only result, which has to be a success; :class:`RemoteError` tells what went wrong."""
    (result,) = results
    if not result.ok:
        said = (result.stderr or result.stdout).strip().splitlines()
        reason = result.problem or f"exit code {result.code}"
        raise RemoteError(
            f"{result.target.label}: {reason}" + (f": {said[-1]}" if said else ""),
            hint="`hubdeploy doctor` says which machines can be reached",
        )
    return result
