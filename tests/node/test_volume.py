"""The leader's volume: attached from wherever it is, and never formatted when it holds anything."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

from hubdeploy.config.names import Role
from hubdeploy.errors import AwsError, HubdeployError, WaitTimeout
from hubdeploy.node import volume
from tests.plugins.deployment import Site


def make(site: Site) -> str:
    """A volume in the instances' zone."""
    made = site.account.client("ec2").create_volume(
        AvailabilityZone=f"{site.account.region}a", Size=1
    )
    return str(made["VolumeId"])


def holder(site: Site, ident: str) -> list[str]:
    found = site.account.client("ec2").describe_volumes(VolumeIds=[ident])["Volumes"][0]
    return [one["InstanceId"] for one in found["Attachments"]]


def test_a_free_volume_is_attached_to_the_leader(site: Site) -> None:
    ident, me = make(site), site.instance(Role.LEADER)
    with site.machine(Role.LEADER, me, state_volume=ident) as cloud:
        volume.attach(cloud, ident)
        volume.attach(cloud, ident)
    assert holder(site, ident) == [me]


def test_the_new_leader_waits_until_the_old_one_lets_go(site: Site) -> None:
    ident, old, new = make(site), site.instance(Role.LEADER), site.instance(Role.LEADER)
    ec2 = site.account.client("ec2")
    ec2.attach_volume(VolumeId=ident, InstanceId=old, Device=volume.DEVICE)
    release = threading.Timer(1.0, lambda: ec2.detach_volume(VolumeId=ident, InstanceId=old))
    with site.machine(Role.LEADER, new, state_volume=ident) as cloud:
        release.start()
        volume.attach(cloud, ident)
    release.join()
    assert holder(site, ident) == [new]


def test_a_volume_that_is_not_let_go_of_names_its_holder(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    ident, old, new = make(site), site.instance(Role.LEADER), site.instance(Role.LEADER)
    site.account.client("ec2").attach_volume(VolumeId=ident, InstanceId=old, Device=volume.DEVICE)
    monkeypatch.setattr(volume, "_ATTACH", 0.2)
    stuck = pytest.raises(WaitTimeout, match=f"attached at {old}")
    with site.machine(Role.LEADER, new, state_volume=ident) as cloud, stuck:
        volume.attach(cloud, ident)


def test_another_deployments_volume_cannot_be_attached(site: Site) -> None:
    ours, theirs, me = make(site), make(site), site.instance(Role.LEADER)
    refused = pytest.raises(AwsError, match="UnauthorizedOperation")
    with site.machine(Role.LEADER, me, state_volume=ours) as cloud, refused:
        volume.attach(cloud, theirs)


def test_a_deployment_without_a_volume_has_a_folder(site: Site) -> None:
    with site.machine(Role.LEADER) as cloud:
        assert not volume.is_mounted(cloud)
        assert volume.mount(cloud) is True
        assert volume.is_mounted(cloud)
        assert volume.mount(cloud) is False


# ------------------------------------------------------------------------ what may be formatted


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    file = tmp_path / "disk"
    with file.open("wb") as body:
        body.truncate(16 << 20)
    return file


def test_a_new_volume_is_blank(disk: Path) -> None:
    assert volume._is_blank(disk)


@pytest.mark.parametrize("tool", ["mkfs.ext4", "mkswap"])
def test_a_volume_with_anything_known_on_it_is_not(disk: Path, tool: str) -> None:
    quiet = ["-q"] if tool == "mkfs.ext4" else []
    subprocess.run([tool, *quiet, str(disk)], check=True, capture_output=True)
    assert not volume._is_blank(disk)


def test_a_volume_with_unknown_bytes_is_not_blank_either(disk: Path) -> None:
    with disk.open("r+b") as body:
        body.seek(70_000)
        body.write(b"somebody's own format")
    assert not volume._is_blank(disk)


def test_a_disk_that_cannot_be_read_is_never_formatted(tmp_path: Path) -> None:
    with pytest.raises(HubdeployError):
        volume._is_blank(tmp_path / "missing")
