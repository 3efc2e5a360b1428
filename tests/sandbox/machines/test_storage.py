"""EBS volumes, the shared file system and the registry as machines see them."""

from __future__ import annotations

import pytest

from hubdeploy.sandbox.images import catalog
from tests.plugins.machines import REGION, REGISTRY, Lab, LabMachine

pytestmark = pytest.mark.docker

EFS = f"fs-0123.efs.{REGION}.amazonaws.com"
BY_ID = "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_"


@pytest.fixture(scope="module")
def pair(lab: Lab) -> list[LabMachine]:
    lab.cloud.names[EFS] = ["10.0.0.5"]
    return lab.boot_all(2)


MOUNT_UNIT = f"""[Mount]
What={BY_ID}vol0feed
Where=/srv/hubdeploy
Type=ext4
[Install]
WantedBy=multi-user.target
"""


def test_a_volume_survives_the_replacement_of_its_instance(lab: Lab) -> None:
    first = lab.boot(lab.spec(volumes={"vol-0feed": "/dev/sdf"}))
    assert first.run(f"blkid {BY_ID}vol0feed").code == 2, "a new volume is blank"
    first.put("/etc/systemd/system/srv-hubdeploy.mount", MOUNT_UNIT)
    first.out(
        f"mkfs.ext4 -q {BY_ID}vol0feed && systemctl daemon-reload"
        " && systemctl enable --now srv-hubdeploy.mount && echo kept > /srv/hubdeploy/file"
    )
    assert "ext4" in first.out("findmnt -n -o FSTYPE /srv/hubdeploy")
    lab.machines.terminate(first.id)
    first.wait("gone")

    second = lab.boot()
    assert second.run(f"test -e {BY_ID}vol0feed").code == 1
    lab.machines.attach_volume(second.id, "vol-0feed", "/dev/sdf")
    second.out(f"until test -e {BY_ID}vol0feed; do sleep 0.1; done", timeout=10)
    second.out(f"mount {BY_ID}vol0feed /mnt")
    assert second.out("cat /mnt/file") == "kept"
    second.out("umount /mnt")
    lab.machines.detach_volume(second.id, "vol-0feed")
    second.out(f"while test -e {BY_ID}vol0feed; do sleep 0.1; done", timeout=10)


def test_a_mounted_volume_comes_back_after_a_reboot(lab: Lab) -> None:
    machine = lab.boot(lab.spec(volumes={"vol-0feed": "/dev/sdf"}))
    machine.put("/etc/systemd/system/srv-hubdeploy.mount", MOUNT_UNIT)
    machine.out("systemctl daemon-reload && systemctl enable --now srv-hubdeploy.mount")
    assert machine.out("cat /srv/hubdeploy/file") == "kept"
    lab.machines.reboot(machine.id)
    machine.wait("booting")
    machine.wait("running")
    machine.out("systemctl is-system-running --wait")
    assert machine.out("cat /srv/hubdeploy/file") == "kept"


def test_the_file_system_is_one_for_all_machines(pair: list[LabMachine]) -> None:
    one, other = pair
    one.out(f"mkdir -p /efs && mount -t nfs4 -o nfsvers=4.1,hard {EFS}:/ /efs")
    one.out("mkdir -p /efs/home/ada && chown 1000:100 /efs/home/ada && echo hi > /efs/home/ada/f")
    other.out(f"mkdir -p /mnt/ada && mount -t nfs4 {EFS}:/home/ada /mnt/ada && mountpoint /mnt/ada")
    assert other.out("cat /mnt/ada/f; stat -c %u:%g /mnt/ada") == "hi\n1000:100"


def test_a_mount_through_the_tls_tunnel_is_the_same_file_system(pair: list[LabMachine]) -> None:
    machine = pair[0]
    machine.put("/etc/hubdeploy/efs-tunnel.conf", f"[efs]\nconnect = {EFS}:2049\n")
    machine.out("mkdir -p /tls && mount -t nfs4 -o port=20049 127.0.0.1:/ /tls")
    assert machine.out("ls /tls/home") == "ada"


def test_a_file_system_that_is_not_there_does_not_mount(pair: list[LabMachine]) -> None:
    result = pair[0].run(f"mount -t nfs4 fs-0999.efs.{REGION}.amazonaws.com:/ /mnt")
    assert result.code == 32
    assert "Failed to resolve server" in result.stderr
    result = pair[0].run(f"mount -t nfs4 {EFS}:/nowhere /mnt")
    assert "No such file or directory" in result.stderr


def test_machines_pull_published_images_under_their_production_names(
    lab: Lab, pair: list[LabMachine]
) -> None:
    names = ("nginx:1.28-alpine", f"{REGISTRY}/hubdeploy-demo/notebook:v1", "quay.io/some/nginx:2")
    for name in names:
        lab.machines.publish(catalog.nginx().tag, name, cidr=lab.cidr)
    for machine in pair:
        machine.await_docker()
        for name in names:
            machine.out(f"docker pull -q {name}", timeout=120)
    assert pair[0].out("docker run --rm --network none nginx:1.28-alpine nginx -v 2>&1")
    assert pair[0].run(f"docker pull -q {REGISTRY}/hubdeploy-demo/other:v1").code == 1


def test_containers_on_a_machine_do_not_reach_the_metadata(
    lab: Lab, pair: list[LabMachine]
) -> None:
    lab.machines.publish(catalog.notebook().tag, "demo/notebook:1", cidr=lab.cidr)
    machine = pair[0]
    machine.out("docker pull -q demo/notebook:1", timeout=120)
    url = "http://169.254.169.254/latest/meta-data/"
    assert machine.run(f"curl -sf -m 3 {url}").code == 0
    inside = machine.run(f"docker run --rm demo/notebook:1 curl -s -m 3 {url}")
    assert inside.code == 28, "timed out: the answer's hop limit is 1"


def test_the_notebook_image_is_what_the_spawner_expects(pair: list[LabMachine]) -> None:
    told = pair[0].out(
        "docker run --rm demo/notebook:1 sh -c 'id -u; id -g; pwd; jupyterhub-singleuser --version'"
    )
    assert told.split()[:3] == ["1000", "100", "/home/jovyan"]
    assert told.split()[3]
