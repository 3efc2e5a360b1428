"""SSM Run Command, dispatched to the machines.

moto answers 'Success' with empty output at once, for every instance. Here a command is sent to the
machines that are online, runs there, and is seen Pending, InProgress and ended in its own time.
"""

from __future__ import annotations

import logging
import threading
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hubdeploy.errors import SandboxError
from hubdeploy.sandbox.cloud import hosts
from hubdeploy.sandbox.cloud.fault import AwsFault
from hubdeploy.sandbox.cloud.hooks import Hooks

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.calls import Call
    from hubdeploy.sandbox.cloud.server import Cloud
    from hubdeploy.sandbox.machines.interface import CommandResult, Machines

log = logging.getLogger(__name__)
hooks = Hooks()
_DOCUMENT = "AWS-RunShellScript"
_STDERR_LIMIT = 8000
_FINAL = ("Success", "Failed", "TimedOut", "Cancelled")


@dataclass
class Invocation:
    """One command on one machine."""

    instance: str
    status: str = "Pending"
    details: str = "Pending"
    code: int = -1
    stdout: str = ""
    stderr: str = ""
    started: datetime | None = None
    ended: datetime | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    hidden: int = 0
    """Reads for which the invocation does not exist yet."""


@dataclass
class Command:
    ident: str
    params: dict[str, Any]
    requested: datetime
    invocations: dict[str, Invocation]

    @property
    def status(self) -> str:
        states = {one.status for one in self.invocations.values()}
        if states <= set(_FINAL):
            worst = ("Failed", "TimedOut", "Cancelled")
            return next((state for state in worst if state in states), "Success")
        return "Pending" if states == {"Pending"} else "InProgress"


def _commands(cloud: Cloud, call: Call) -> dict[str, Command]:
    return cloud.store(call.account, call.region, "commands", dict)


@hooks.take("ssm", "SendCommand")
def send(cloud: Cloud, call: Call) -> dict[str, Any]:
    params = call.params
    if params["DocumentName"] != _DOCUMENT:
        raise AwsFault("InvalidDocument", f"Document {params['DocumentName']} does not exist.")
    online = hosts.online(cloud, call.account, call.region)
    wanted = list(params.get("InstanceIds") or [])
    strangers = [ident for ident in wanted if ident not in online]
    if strangers:
        raise AwsFault(
            "InvalidInstanceId",
            f"Instances [[{', '.join(strangers)}]] not in a valid state for account",
        )
    targets = params.get("Targets") or []
    if targets:
        wanted += [i for i in online if i not in wanted and _matches(cloud, call, i, targets)]
    command = Command(
        ident=str(uuid.uuid4()),
        params=params,
        requested=datetime.now(UTC),
        invocations={
            ident: Invocation(ident, hidden=cloud.settings.missing_reads) for ident in wanted
        },
    )
    _commands(cloud, call)[command.ident] = command
    for invocation in command.invocations.values():
        threading.Thread(
            target=_perform,
            args=(cloud, call, command, invocation),
            name=f"command-{invocation.instance}",
            daemon=True,
        ).start()
    return {"Command": _command(command)}


def _matches(cloud: Cloud, call: Call, ident: str, targets: list[dict[str, Any]]) -> bool:
    instance = cloud.backend("ec2", call.account, call.region).get_instance(ident)
    tags = {tag["key"]: tag["value"] for tag in instance.get_tags()}
    for target in targets:
        key, values = target["Key"], target["Values"]
        if key.lower() == "instanceids":
            if ident not in values:
                return False
        elif tags.get(key.removeprefix("tag:")) not in values:
            return False
    return True


def _perform(cloud: Cloud, call: Call, command: Command, invocation: Invocation) -> None:
    from hubdeploy.sandbox.machines.interface import CommandResult

    parameters = command.params.get("Parameters") or {}
    script = "\n".join(parameters.get("commands", []))
    folder = "".join(parameters.get("workingDirectory", []))
    if folder:
        script = f"cd '{folder}' || exit 1\n{script}"
    timeout = float((parameters.get("executionTimeout") or ["3600"])[0])
    invocation.started = datetime.now(UTC)
    invocation.status = invocation.details = "InProgress"
    try:
        result = cloud_machines(cloud).run(
            invocation.instance, script, timeout=timeout, cancelled=invocation.cancelled
        )
    except SandboxError as error:
        result = CommandResult(code=-1, stdout="", stderr=f"{error}\n")
    _finish(cloud, call, command, invocation, result)


def _finish(
    cloud: Cloud, call: Call, command: Command, invocation: Invocation, result: CommandResult
) -> None:
    _upload(cloud, call, command, invocation, result)
    invocation.code, invocation.stdout, invocation.stderr = (
        result.code,
        result.stdout,
        result.stderr,
    )
    invocation.ended = datetime.now(UTC)
    if result.cancelled:
        invocation.details = "Cancelled"
    elif result.timed_out:
        invocation.details = "Execution Timed Out"
    else:
        invocation.details = "Success" if result.code == 0 else "Failed"
    invocation.status = "TimedOut" if result.timed_out else invocation.details
    cloud.touch()


def cloud_machines(cloud: Cloud) -> Machines:
    if cloud.machines is None:
        raise SandboxError("The embedded AWS has no machines.")
    return cloud.machines


def _upload(
    cloud: Cloud, call: Call, command: Command, invocation: Invocation, result: CommandResult
) -> None:
    """The agent uploads the full output with the machine's own role; a refusal is silent there."""
    bucket = command.params.get("OutputS3BucketName")
    if not bucket:
        return
    prefix = command.params.get("OutputS3KeyPrefix", "").strip("/")
    folder = f"{command.ident}/{invocation.instance}/awsrunShellScript/0.awsrunShellScript"
    credentials = hosts.credentials(cloud, call.account, call.region, invocation.instance)
    if credentials is None:
        return
    for name, text in (("stdout", result.stdout), ("stderr", result.stderr)):
        if not text:
            continue
        key = "/".join(filter(None, (prefix, folder, name)))
        try:
            cloud.invoke(
                "s3",
                "PutObject",
                {"Bucket": bucket, "Key": key, "Body": text.encode()},
                region=call.region,
                credentials=credentials,
            )
        except AwsFault as fault:
            log.warning("output of %s not kept in the bucket: %s", invocation.instance, fault)


def _find(cloud: Cloud, call: Call) -> tuple[Command, Invocation]:
    command = _commands(cloud, call).get(call.params["CommandId"])
    invocation = command.invocations.get(call.params["InstanceId"]) if command else None
    if command is None or invocation is None:
        raise AwsFault("InvocationDoesNotExist", "")
    if invocation.hidden > 0:
        invocation.hidden -= 1
        raise AwsFault("InvocationDoesNotExist", "")
    return command, invocation


@hooks.take("ssm", "GetCommandInvocation")
def get(cloud: Cloud, call: Call) -> dict[str, Any]:
    command, one = _find(cloud, call)
    stdout, limit = one.stdout, cloud.settings.command_output_limit
    if len(stdout) > limit:
        stdout = stdout[:limit] + "\n--output truncated--"
    stderr = one.stderr
    if len(stderr) > _STDERR_LIMIT:
        stderr = stderr[:_STDERR_LIMIT] + "\n--error truncated--"
    answer = {
        "CommandId": command.ident,
        "InstanceId": one.instance,
        "Comment": command.params.get("Comment", ""),
        "DocumentName": _DOCUMENT,
        "PluginName": "aws:runShellScript",
        "ResponseCode": one.code,
        "Status": one.status,
        "StatusDetails": one.details.replace(" ", "")
        if one.details != "Cancelled"
        else "Cancelled",
        "StandardOutputContent": stdout,
        "StandardErrorContent": stderr,
        "ExecutionStartDateTime": _stamp(one.started),
        "ExecutionEndDateTime": _stamp(one.ended),
    }
    bucket = command.params.get("OutputS3BucketName")
    if bucket:
        answer["StandardOutputUrl"] = f"https://s3.{call.region}.amazonaws.com/{bucket}"
    return answer


def _stamp(moment: datetime | None) -> str:
    return "" if moment is None else moment.isoformat(timespec="milliseconds")


@hooks.take("ssm", "ListCommandInvocations")
def listed(cloud: Cloud, call: Call) -> dict[str, Any]:
    ident, instance = call.params.get("CommandId"), call.params.get("InstanceId")
    found = []
    for command in _commands(cloud, call).values():
        if ident and command.ident != ident:
            continue
        for one in command.invocations.values():
            if instance and one.instance != instance:
                continue
            entry: dict[str, Any] = {
                "CommandId": command.ident,
                "InstanceId": one.instance,
                "DocumentName": _DOCUMENT,
                "RequestedDateTime": command.requested,
                "Status": one.status,
                "StatusDetails": one.details.replace(" ", ""),
                "CommandPlugins": [],
            }
            if call.params.get("Details"):
                # as on AWS: the first 2500 characters only
                plugin = {
                    "Name": "aws:runShellScript",
                    "Status": one.status,
                    "ResponseCode": one.code,
                    "Output": (one.stdout + one.stderr)[:2500],
                }
                entry["CommandPlugins"] = [plugin]
            found.append(entry)
    return {"CommandInvocations": found}


@hooks.take("ssm", "ListCommands")
def list_commands(cloud: Cloud, call: Call) -> dict[str, Any]:
    ident = call.params.get("CommandId")
    commands = _commands(cloud, call).values()
    return {"Commands": [_command(c) for c in commands if not ident or c.ident == ident]}


@hooks.take("ssm", "CancelCommand")
def cancel(cloud: Cloud, call: Call) -> dict[str, Any]:
    command = _commands(cloud, call).get(call.params["CommandId"])
    if command is None:
        raise AwsFault("InvalidCommandId", "")
    wanted = call.params.get("InstanceIds") or list(command.invocations)
    for ident in wanted:
        command.invocations[ident].cancelled.set()
    return {}


def _command(command: Command) -> dict[str, Any]:
    ended = [one for one in command.invocations.values() if one.status in _FINAL]
    return {
        "CommandId": command.ident,
        "DocumentName": _DOCUMENT,
        "Parameters": command.params.get("Parameters") or {},
        "InstanceIds": command.params.get("InstanceIds") or [],
        "Targets": command.params.get("Targets") or [],
        "RequestedDateTime": command.requested,
        "Status": command.status,
        "StatusDetails": command.status,
        "TargetCount": len(command.invocations),
        "CompletedCount": len(ended),
        "ErrorCount": len([one for one in ended if one.status != "Success"]),
        "OutputS3BucketName": command.params.get("OutputS3BucketName", ""),
        "OutputS3KeyPrefix": command.params.get("OutputS3KeyPrefix", ""),
        "TimeoutSeconds": command.params.get("TimeoutSeconds", 3600),
    }


@hooks.take("ssm", "DescribeInstanceInformation")
def information(cloud: Cloud, call: Call) -> dict[str, Any]:
    ec2 = cloud.backend("ec2", call.account, call.region)
    wanted: dict[str, list[str]] = {}
    for item in call.params.get("Filters") or []:
        wanted[item["Key"]] = item["Values"]
    for item in call.params.get("InstanceInformationFilterList") or []:
        wanted[item["key"]] = item["valueSet"]
    entries = []
    for ident, status in sorted(hosts.pings(cloud, call.account, call.region).items()):
        instance = ec2.get_instance(ident)
        tags = {tag["key"]: tag["value"] for tag in instance.get_tags()}
        facts = {"InstanceIds": ident, "PingStatus": status, "PlatformTypes": "Linux"}
        if not all(
            (tags.get(key.removeprefix("tag:")) if key.startswith("tag:") else facts.get(key))
            in values
            for key, values in wanted.items()
        ):
            continue
        entries.append(
            {
                "InstanceId": ident,
                "PingStatus": status,
                "LastPingDateTime": datetime.now(UTC),
                "AgentVersion": "3.3.0.0",
                "IsLatestVersion": True,
                "PlatformType": "Linux",
                "PlatformName": "Debian GNU/Linux",
                "PlatformVersion": "12",
                "ResourceType": "EC2Instance",
                "IPAddress": instance.private_ip,
                "ComputerName": instance.private_dns_name,
            }
        )
    return _page(call, entries)


def _page(call: Call, entries: list[dict[str, Any]]) -> dict[str, Any]:
    start = int(call.params.get("NextToken") or 0)
    size = int(call.params.get("MaxResults") or 50)
    answer: dict[str, Any] = {"InstanceInformationList": entries[start : start + size]}
    if start + size < len(entries):
        answer["NextToken"] = str(start + size)
    return answer
