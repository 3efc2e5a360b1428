"""The leader's own volume: attached, given a file system if it has none, grown, mounted."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

from hubdeploy.config.names import STATE_DIR
from hubdeploy.errors import AwsError, HubdeployError
from hubdeploy.node import release, system
from hubdeploy.node.aws import Cloud
from hubdeploy.node.waiting import wait_for

log = logging.getLogger(__name__)

DEVICE = "/dev/sdf"
"""As EC2 is told; the kernel may call it otherwise."""
UNIT = "srv-hubdeploy.mount"
_ATTACH = 600
_VOLUME = re.compile(r"vol-[0-9a-f]+")

_TEXT = """\
[Unit]
Description=hubdeploy: state of the hub
Before=docker.service hubdeploy-hub.service
[Mount]
What={device}
Where={where}
Type=ext4
Options=defaults,noatime,nofail,x-systemd.device-timeout=60s
[Install]
WantedBy=multi-user.target
"""


def candidates(volume: str) -> list[Path]:
    """Where the kernel may show the volume: by its id on NVMe, else by the device's name."""
    serial = volume.replace("-", "")
    return [
        Path(f"/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{serial}"),
        Path(DEVICE),
        Path(DEVICE.replace("/sd", "/xvd")),
    ]


def _device(volume: str) -> Path | None:
    return next((path for path in candidates(volume) if path.exists()), None)


def is_mounted(cloud: Cloud) -> bool:
    """Whether the state folder is there, and on its volume where the deployment has one."""
    folder = cloud.machine.path(STATE_DIR)
    if not release.settings(cloud)["state_volume"]:
        return folder.is_dir()
    return os.path.ismount(folder)


def attach(cloud: Cloud, volume: str) -> None:
    """Attach the volume to this machine; waits while an ended predecessor still holds it.

    Raises:
        WaitTimeout: another machine does not let go of it.
        AwsError: no such volume, or refused.
    """
    me = cloud.machine.identity.instance_id
    last = ""

    def attached() -> bool:
        nonlocal last
        found = cloud.call("ec2", "describe_volumes", VolumeIds=[volume])["Volumes"][0]
        holders = [one for one in found.get("Attachments", []) if one["State"] != "detached"]
        if holders:
            last = f"{holders[0]['State']} at {holders[0]['InstanceId']}"
            return bool(holders[0]["InstanceId"] == me and holders[0]["State"] == "attached")
        last = str(found["State"])
        if found["State"] == "available":
            try:
                cloud.call("ec2", "attach_volume", VolumeId=volume, InstanceId=me, Device=DEVICE)
            except AwsError as error:
                if error.code not in ("VolumeInUse", "IncorrectState"):
                    raise
        return False

    wait_for(
        f"the volume {volume}", attached, seconds=_ATTACH, every=2, seen=lambda: last or "nothing"
    )


def _is_blank(device: Path) -> bool:
    """No signature of a file system, partition table or the like, by two independent looks.

    Raises:
        HubdeployError: it cannot be told: then nothing is ever formatted.
    """
    probe = system.run(["blkid", "--probe", str(device)], check=False)
    if probe.returncode == 0:
        return False
    if probe.returncode != 2:
        raise HubdeployError(
            f"What is on {device} cannot be told: {probe.stdout.strip()}",
            hint="look at the volume by hand (blkid --probe, wipefs); nothing was written",
        )
    if system.run(["wipefs", "--no-act", str(device)]).stdout.strip():
        return False
    with device.open("rb") as file:
        return not file.read(1 << 20).strip(b"\0")


def mount(cloud: Cloud) -> bool:
    """Have the state folder, on its volume where the deployment has one; whether it was new.

    Raises:
        HubdeployError: no volume, or it holds something that is not ours.
    """
    folder = cloud.machine.path(STATE_DIR)
    volume = release.settings(cloud)["state_volume"]
    if is_mounted(cloud):
        if volume:
            _grow(volume)
        return False
    if not volume:
        folder.mkdir(parents=True, exist_ok=True)
        return True
    if not _VOLUME.fullmatch(volume):
        raise HubdeployError(f"{volume!r} is no volume's id", hint="run hubdeploy up again")
    attach(cloud, volume)
    device = wait_for(f"the device of {volume}", lambda: _device(volume), seconds=120, every=1)
    if _is_blank(device):
        log.info("a new file system on %s", device)
        system.run(["mkfs.ext4", "-q", "-L", "hubdeploy", str(device)], timeout=600)
    else:
        # -p mends what may be mended unasked; 1 says that it did
        check = system.run(["fsck.ext4", "-p", str(device)], check=False, timeout=1800)
        if check.returncode > 1:
            raise HubdeployError(
                f"The file system on {volume} is damaged: {check.stdout.strip()[-300:]}",
                hint="detach it, look at it on another machine, or restore a snapshot",
            )
    folder.mkdir(parents=True, exist_ok=True)
    text = _TEXT.format(device=device, where=STATE_DIR)
    system.unit(cloud.machine.root, UNIT, text)
    if not os.path.ismount(folder):
        raise HubdeployError(
            f"{STATE_DIR} is not mounted", hint=f"systemctl status {UNIT} on the leader"
        )
    _grow(volume)
    return True


def _grow(volume: str) -> None:
    """Fill a volume that was enlarged; nothing happens to one that was not."""
    device = _device(volume)
    if device is not None:
        system.run(["resize2fs", str(device)], check=False, timeout=600)
