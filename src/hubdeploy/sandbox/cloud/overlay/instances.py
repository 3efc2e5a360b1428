"""EC2 instances: launch templates merged in full, client tokens, states that follow the machines.

moto starts every instance 'running', forgets a launch template's profile and metadata options,
takes any image and ignores client tokens.
"""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any

from hubdeploy.sandbox.cloud import images
from hubdeploy.sandbox.cloud.fault import AwsFault
from hubdeploy.sandbox.cloud.hooks import Hooks
from hubdeploy.sandbox.cloud.overlay.templates import merge_template

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.calls import Call
    from hubdeploy.sandbox.cloud.server import Cloud

hooks = Hooks()

STATES = {
    "pending": 0,
    "running": 16,
    "shutting-down": 32,
    "terminated": 48,
    "stopping": 64,
    "stopped": 80,
}


def set_state(instance: Any, state: str, *, reason: str = "", code: str = "") -> None:
    instance._state.name = state
    instance._state.code = STATES[state]
    if reason:
        instance._reason = reason
        instance.state_reason.message = reason
        instance.state_reason.code = code or "Server.InternalError"


def check_capacity(cloud: Cloud, *, instance_type: str, zone: str) -> None:
    for key in (instance_type, zone, "*"):
        code = cloud.settings.capacity_errors.get(key)
        if code:
            raise AwsFault(
                code,
                f"We currently do not have sufficient {instance_type} capacity in the Availability "
                f"Zone you requested ({zone}).",
            )


def _tokens(cloud: Cloud, call: Call) -> dict[str, tuple[str, dict[str, Any]]]:
    return cloud.store(call.account, call.region, f"tokens:{call.name}", dict)


@hooks.take("ec2", "RunInstances")
def run_instances(cloud: Cloud, call: Call) -> dict[str, Any] | None:
    ec2 = cloud.backend("ec2", call.account, call.region)
    images.register(ec2, region=call.region)
    token = call.params.get("ClientToken")
    mark = json.dumps(call.params, sort_keys=True, default=str)
    tokens = _tokens(cloud, call)
    if token and token in tokens:
        if tokens[token][0] != mark:
            raise AwsFault(
                "IdempotentParameterMismatch",
                "Arguments on this idempotent request are inconsistent with arguments used in "
                "previous request(s).",
            )
        return tokens[token][1]
    params, template_tags = merge_template(cloud, call)
    # the token is ours to honour; moto keeps only the first interface's groups
    params["MinCount"] = params["MaxCount"]
    params["UserData"] = _encoded(params.get("UserData"))
    if params["UserData"] is None:
        del params["UserData"]
    zone = _zone(ec2, params)
    check_capacity(cloud, instance_type=params.get("InstanceType", "m1.small"), zone=zone)
    answer = cloud.forward(call, params)
    answer.pop("ResponseMetadata", None)
    for entry in answer["Instances"]:
        instance = ec2.get_instance(entry["InstanceId"])
        instance.add_tags(template_tags)
        instance.disable_api_termination = bool(params.get("DisableApiTermination"))
        if params.get("InstanceMarketOptions", {}).get("MarketType") == "spot":
            instance.lifecycle = entry["InstanceLifecycle"] = "spot"
        _name_root_device(instance, entry)
        _interfaces_end_with_it(instance, params)
        _associate_profile(ec2, instance, params.get("IamInstanceProfile"))
        instance.hubdeploy_born = time.monotonic()
        set_state(instance, "pending")
        entry["State"] = {"Code": 0, "Name": "pending"}
        entry["Tags"] = [{"Key": t["key"], "Value": t["value"]} for t in instance.get_tags()]
    if token:
        tokens[token] = (mark, answer)
    cloud.touch()
    return answer


def _encoded(value: Any) -> str | None:
    """User data as it travels: base64 text."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)


def subnet_of(params: dict[str, Any]) -> str | None:
    nics = params.get("NetworkInterfaces") or [{}]
    found = params.get("SubnetId") or nics[0].get("SubnetId")
    return str(found) if found else None


def _zone(ec2: Any, params: dict[str, Any]) -> str:
    subnet = subnet_of(params)
    if subnet:
        return str(ec2.get_subnet(subnet).availability_zone)
    return str(params.get("Placement", {}).get("AvailabilityZone", ""))


def _interfaces_end_with_it(instance: Any, params: dict[str, Any]) -> None:
    """As AWS does unless told otherwise; moto keeps an instance's interfaces after its end."""
    kept = {
        int(nic.get("DeviceIndex", 0))
        for nic in params.get("NetworkInterfaces") or []
        if nic.get("DeleteOnTermination") is False or nic.get("NetworkInterfaceId")
    }
    for index, eni in instance.nics.items():
        if index not in kept:
            eni.delete_on_termination = True


def _name_root_device(instance: Any, entry: dict[str, Any]) -> None:
    """moto calls every root volume /dev/sda1, whatever the image says."""
    blocks, root = instance.block_device_mapping, instance.root_device_name
    if root not in blocks and "/dev/sda1" in blocks:
        blocks[root] = blocks.pop("/dev/sda1")
        for mapping in entry.get("BlockDeviceMappings", []):
            if mapping["DeviceName"] == "/dev/sda1":
                mapping["DeviceName"] = root


def _associate_profile(ec2: Any, instance: Any, profile: dict[str, str] | None) -> None:
    if not profile or ec2.iam_instance_profile_associations.get(instance.id):
        return
    ec2.associate_iam_instance_profile(
        instance_id=instance.id,
        iam_instance_profile_name=profile.get("Name"),
        iam_instance_profile_arn=profile.get("Arn"),
    )


def end(instance: Any) -> None:
    """moto's end of an instance, with what AWS also lets go: addresses; data volumes stay."""
    ec2 = instance.ec2_backend
    instance.disable_api_termination = False
    if instance.state not in ("terminated", "shutting-down"):
        instance.terminate()
    release(ec2, instance)


def release(ec2: Any, instance: Any) -> None:
    for address in ec2.addresses:
        if address.instance is instance:
            address.instance = address.eni = address.association_id = None


@hooks.amend("ec2", "TerminateInstances")
def terminated(cloud: Cloud, call: Call, result: dict[str, Any]) -> None:
    ec2 = cloud.backend("ec2", call.account, call.region)
    for entry in result["TerminatingInstances"]:
        release(ec2, ec2.get_instance(entry["InstanceId"]))
    _on_the_way(cloud, call, result["TerminatingInstances"], "shutting-down", final="terminated")


@hooks.amend("ec2", "StopInstances")
def stopped(cloud: Cloud, call: Call, result: dict[str, Any]) -> None:
    _on_the_way(cloud, call, result["StoppingInstances"], "stopping", final="stopped")


@hooks.amend("ec2", "StartInstances")
def started(cloud: Cloud, call: Call, result: dict[str, Any]) -> None:
    _on_the_way(cloud, call, result["StartingInstances"], "pending", final="running")


def _on_the_way(
    cloud: Cloud, call: Call, entries: list[dict[str, Any]], state: str, *, final: str
) -> None:
    ec2 = cloud.backend("ec2", call.account, call.region)
    for entry in entries:
        previous = entry["PreviousState"]["Name"]
        done = previous in (final, state)
        now = previous if done else state
        set_state(ec2.get_instance(entry["InstanceId"]), now)
        entry["CurrentState"] = {"Code": STATES[now], "Name": now}
    cloud.touch()


@hooks.amend("ec2", "DescribeInstanceStatus")
def statuses(cloud: Cloud, _call: Call, result: dict[str, Any]) -> None:
    for entry in result["InstanceStatuses"]:
        ident = entry["InstanceId"]
        if ident in cloud.settings.impaired:
            for part in ("InstanceStatus", "SystemStatus"):
                entry[part] = {"Status": "impaired", "Details": []}
        code = cloud.settings.announced.get(ident)
        if code:
            entry["Events"] = [{"Code": code, "Description": "The hardware is to be retired"}]


@hooks.amend("ec2", "RebootInstances")
def rebooted(cloud: Cloud, call: Call, _result: dict[str, Any]) -> None:
    queue: list[str] = cloud.store(call.account, call.region, "reboots", list)
    queue.extend(call.params["InstanceIds"])
    cloud.touch()


@hooks.amend("ec2", "AttachVolume", "DetachVolume", "CreateTags", "DeleteTags")
def followed(cloud: Cloud, _call: Call, _result: dict[str, Any]) -> None:
    cloud.touch()


@hooks.take("ec2", "DetachVolume")
def detach(cloud: Cloud, call: Call) -> dict[str, Any] | None:
    """The instance need not be named."""
    volume = cloud.backend("ec2", call.account, call.region).volumes.get(call.params["VolumeId"])
    if call.params.get("InstanceId") or volume is None:
        return None
    if volume.attachment is None:
        raise AwsFault("IncorrectState", f"Volume '{volume.id}' is in the 'available' state.")
    answer = cloud.forward(call, {**call.params, "InstanceId": volume.attachment.instance.id})
    answer.pop("ResponseMetadata", None)
    cloud.touch()
    return answer


@hooks.take("ec2", "DescribeImages")
def describe_images(cloud: Cloud, call: Call) -> None:
    images.register(cloud.backend("ec2", call.account, call.region), region=call.region)


@hooks.take("ec2", "GetConsoleOutput")
def console(cloud: Cloud, call: Call) -> dict[str, Any]:
    ident = call.params["InstanceId"]
    cloud.backend("ec2", call.account, call.region).get_instance(ident)
    read = getattr(cloud.machines, "console", None)
    text = read(ident) if read is not None else ""
    return {"InstanceId": ident, "Output": base64.b64encode(text[-65536:].encode()).decode()}
