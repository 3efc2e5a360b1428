"""EFS: backup policies, throughput changes, life cycle states, metered size."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hubdeploy.sandbox.cloud.fault import AwsFault
from hubdeploy.sandbox.cloud.hooks import Hooks

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.calls import Call
    from hubdeploy.sandbox.cloud.server import Cloud

hooks = Hooks()


def _efs(cloud: Cloud, call: Call) -> Any:
    return cloud.backend("efs", call.account, call.region)


def _found(cloud: Cloud, call: Call) -> Any:
    ident = call.params["FileSystemId"]
    found = _efs(cloud, call).file_systems_by_id.get(ident)
    if found is None:
        raise AwsFault("FileSystemNotFound", f"File system '{ident}' does not exist.")
    return found


def _ready(cloud: Cloud, call: Call) -> dict[str, float]:
    """File system or mount target -> when it becomes available."""
    return cloud.store(call.account, call.region, "efs-ready", dict)


def set_size(cloud: Cloud, account: str, region: str, file_system: str, size: int) -> None:
    """The metered size in bytes, from now on (tests, and the sandbox's own measurement)."""
    measured: dict[str, int] = cloud.store(account, region, "efs-size", dict)
    measured[file_system] = size


@hooks.amend("efs", "CreateFileSystem")
def created(cloud: Cloud, call: Call, result: dict[str, Any]) -> None:
    if not cloud.settings.efs_delay:
        return
    found = _efs(cloud, call).file_systems_by_id[result["FileSystemId"]]
    found.life_cycle_state = result["LifeCycleState"] = "creating"
    _ready(cloud, call)[result["FileSystemId"]] = time.monotonic() + cloud.settings.efs_delay


@hooks.take("efs", "DescribeFileSystems", "CreateMountTarget", "DeleteFileSystem")
def settle(cloud: Cloud, call: Call) -> None:
    ready = _ready(cloud, call)
    for ident, moment in list(ready.items()):
        found = _efs(cloud, call).file_systems_by_id.get(ident)
        if found is not None and time.monotonic() >= moment:
            found.life_cycle_state = "available"
            del ready[ident]


@hooks.amend("efs", "CreateMountTarget")
def target_created(cloud: Cloud, call: Call, result: dict[str, Any]) -> None:
    ec2 = cloud.backend("ec2", call.account, call.region)
    eni = ec2.enis.get(result.get("NetworkInterfaceId", ""))
    if eni is not None:
        target = result["MountTargetId"]
        eni.description = f"EFS mount target for {call.params['FileSystemId']} ({target})"
        eni.status, eni.requester_managed, eni.interface_type = "in-use", True, "efs"
    if cloud.settings.efs_delay:
        result["LifeCycleState"] = "creating"
        moment = time.monotonic() + cloud.settings.efs_delay
        _ready(cloud, call)[result["MountTargetId"]] = moment


@hooks.amend("efs", "DescribeMountTargets")
def targets(cloud: Cloud, call: Call, result: dict[str, Any]) -> None:
    ready = _ready(cloud, call)
    for entry in result["MountTargets"]:
        moment = ready.get(entry["MountTargetId"])
        if moment is not None and time.monotonic() < moment:
            entry["LifeCycleState"] = "creating"


@hooks.take("efs", "PutBackupPolicy")
def put_backup_policy(cloud: Cloud, call: Call) -> dict[str, Any]:
    found = _found(cloud, call)
    status = call.params["BackupPolicy"]["Status"]
    found._backup = status in ("ENABLED", "ENABLING")
    return {"BackupPolicy": {"Status": "ENABLED" if found._backup else "DISABLED"}}


@hooks.take("efs", "DescribeBackupPolicy")
def backup_policy(cloud: Cloud, call: Call) -> dict[str, Any]:
    return {"BackupPolicy": {"Status": "ENABLED" if _found(cloud, call)._backup else "DISABLED"}}


@hooks.take("efs", "UpdateFileSystem")
def update(cloud: Cloud, call: Call) -> dict[str, Any]:
    found = _found(cloud, call)
    if call.params.get("ThroughputMode"):
        found.throughput_mode = call.params["ThroughputMode"]
    if call.params.get("ProvisionedThroughputInMibps"):
        found.provisioned_throughput_in_mibps = call.params["ProvisionedThroughputInMibps"]
    info: dict[str, Any] = found.info_json()
    info["CreationTime"] = datetime.fromtimestamp(found.creation_time, UTC)
    info["SizeInBytes"] = {"Value": found.size_in_bytes["Value"]}
    return {key: value for key, value in info.items() if value is not None}


@hooks.amend("efs", "DescribeFileSystems")
def sizes(cloud: Cloud, call: Call, result: dict[str, Any]) -> None:
    measured: dict[str, int] = cloud.store(call.account, call.region, "efs-size", dict)
    for entry in result["FileSystems"]:
        # AWS meters 6 KiB for an empty file system
        size = measured.get(entry["FileSystemId"], 6144)
        entry["SizeInBytes"] = {
            "Value": size,
            "ValueInStandard": size,
            "ValueInIA": 0,
            "Timestamp": datetime.now(UTC),
        }
        if entry.get("ProvisionedThroughputInMibps") is None:
            entry.pop("ProvisionedThroughputInMibps", None)


@hooks.take("efs", "DescribeLifecycleConfiguration", "PutLifecycleConfiguration")
def must_exist(cloud: Cloud, call: Call) -> None:
    _found(cloud, call)
