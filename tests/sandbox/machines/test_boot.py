"""An instance as a container: what a machine finds when it comes up, and how it goes."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hubdeploy.sandbox import ending, known
from hubdeploy.sandbox.imds import RoleKeys
from hubdeploy.sandbox.machines import cleanup
from tests.plugins.machines import Lab, LabMachine

pytestmark = pytest.mark.docker

USER_DATA = """#!/bin/bash
set -e
md=http://169.254.169.254/latest
token=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' $md/api/token)
curl -sf -H "X-aws-ec2-metadata-token: $token" $md/meta-data/instance-id > /root/seen
echo $((1 + $(cat /root/count 2>/dev/null || echo 0))) > /root/count
"""
METADATA = "http://169.254.169.254/latest"


@pytest.fixture(scope="module")
def machine(lab: Lab) -> LabMachine:
    lab.cloud.keys["worker"] = RoleKeys(access_key="ASIAX", secret_key="hidden", token="tok")
    booted = lab.boot(
        lab.spec(
            instance_type="t3.large",
            user_data=USER_DATA,
            role="worker",
            tags={"Name": "demo", "hubdeploy:role": "worker"},
            public_keys=("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDtest demo",),
        )
    )
    booted.out("cloud-init status --wait")
    return booted


def get(machine: LabMachine, path: str) -> str:
    token = f"curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' {METADATA}/api/token"
    return machine.out(f'curl -sf -H "X-aws-ec2-metadata-token: $({token})" {METADATA}/{path}')


def test_systemd_comes_up_whole(machine: LabMachine) -> None:
    assert machine.out("systemctl is-system-running --wait") == "running"
    assert machine.out("hostname") == machine.spec.hostname


def test_cloud_init_runs_the_user_data_once(machine: LabMachine) -> None:
    assert machine.out("cat /root/seen") == machine.id
    assert "DataSourceEc2" in machine.out("cloud-init status --long")
    assert machine.out("cat /root/count") == "1"


def test_the_key_pair_opens_the_images_login(machine: LabMachine) -> None:
    assert "AAAAC3NzaC1lZDI1NTE5AAAAIDtest" in machine.out("cat /home/admin/.ssh/authorized_keys")
    assert machine.out("sudo -u admin sudo -n id -u") == "0"


def test_a_machine_believes_its_instance_types_size(machine: LabMachine) -> None:
    machine.await_docker()
    total = int(machine.out("docker info --format '{{.MemTotal}}'"))
    assert 0.95 * 8 * 1024**3 < total < 8 * 1024**3


def test_metadata_describe_the_instance(machine: LabMachine) -> None:
    assert get(machine, "meta-data/instance-type") == "t3.large"
    assert get(machine, "meta-data/local-ipv4") == machine.address
    assert get(machine, "meta-data/tags/instance/hubdeploy:role") == "worker"
    assert '"region": "eu-central-1"' in get(machine, "dynamic/instance-identity/document")
    assert "ASIAX" in get(machine, "meta-data/iam/security-credentials/worker")
    mac = get(machine, "meta-data/mac")
    assert mac in machine.out("cat /sys/class/net/eth0/address")


def test_metadata_refuse_a_token_that_was_not_given_out(machine: LabMachine) -> None:
    code = f"curl -s -o /dev/null -w '%{{http_code}}' -H 'X-aws-ec2-metadata-token: no' {METADATA}/"
    assert machine.out(code) == "401"
    forged = f"curl -s -o /dev/null -w '%{{http_code}}' -H 'X-Forwarded-For: 10.0.0.1' {METADATA}/"
    assert machine.out(forged) == "200", "the caller's own word on its address does not count"


def test_the_spot_notice_shows_when_it_is_given(lab: Lab, machine: LabMachine) -> None:
    path = f"{METADATA}/meta-data/spot/instance-action"
    assert machine.out(f"curl -s -o /dev/null -w '%{{http_code}}' {path}") == "404"
    lab.machines.announce_spot(machine.id, datetime.now(UTC) + timedelta(minutes=2))
    assert '"action": "terminate"' in get(machine, "meta-data/spot/instance-action")
    lab.machines.announce_spot(machine.id, None)


def test_aws_names_resolve_to_the_sandbox_or_to_nothing(lab: Lab, machine: LabMachine) -> None:
    lab.cloud.names["chef.demo.internal"] = ["10.9.9.9"]
    assert machine.out("getent hosts chef.demo.internal").split()[0] == "10.9.9.9"
    assert machine.out(f"getent hosts {machine.spec.hostname}.ec2.internal").split()[0] == (
        machine.address
    )
    assert machine.run("getent hosts s3.eu-central-1.amazonaws.com").code == 2
    assert machine.run("getent hosts gone.demo.internal").code == 2


def test_units_and_logins_know_the_sandboxes_endpoint(lab: Lab, machine: LabMachine) -> None:
    wanted = lab.machines.services.vpc(lab.cidr).endpoint
    assert machine.out("systemd-run --pipe -q env | grep ^AWS_ENDPOINT_URL") == (
        f"AWS_ENDPOINT_URL={wanted}"
    )
    assert machine.out("echo $AWS_ENDPOINT_URL") == wanted
    assert machine.out("sudo printenv AWS_ENDPOINT_URL") == wanted


def test_a_reboot_keeps_the_disk_and_runs_no_user_data(machine: LabMachine) -> None:
    before = machine.out(
        "cat /proc/sys/kernel/random/boot_id; systemctl show -p UserspaceTimestamp"
    )
    machine.lab.machines.reboot(machine.id)
    machine.wait("booting")
    machine.wait("running")
    after = machine.out("cat /proc/sys/kernel/random/boot_id; systemctl show -p UserspaceTimestamp")
    assert before != after
    machine.out("cloud-init status --wait")
    assert machine.out("cat /root/count") == "1"


def test_a_reboot_from_inside_comes_back(machine: LabMachine) -> None:
    machine.run("systemctl reboot")
    machine.wait("booting")
    machine.wait("running")
    assert machine.out("cat /root/count") == "1"


def test_stop_and_start(machine: LabMachine) -> None:
    machine.lab.machines.stop(machine.id)
    machine.wait("stopped")
    machine.lab.machines.start(machine.id)
    machine.wait("running")


def test_a_crash_is_seen(lab: Lab) -> None:
    victim = lab.boot()
    lab.machines.crash(victim.id)
    victim.wait("stopped", seconds=10)


def test_shutdown_units_still_have_metadata_when_an_instance_is_terminated(lab: Lab) -> None:
    leaver = lab.boot()
    leaver.put(
        "/etc/systemd/system/leave.service",
        "[Unit]\nAfter=network.target\n[Service]\nType=oneshot\nRemainAfterExit=yes\n"
        f"ExecStop=/bin/sh -c 'curl -sf {METADATA}/meta-data/instance-id > /sandbox/efs/left'\n",
    )
    leaver.out("systemctl daemon-reload; systemctl start leave")
    witness = lab.boot()
    lab.machines.terminate(leaver.id)
    leaver.wait("gone", seconds=30)
    assert witness.out("cat /sandbox/efs/left") == leaver.id
    names = {found.name for found in lab.client.containers.list(all=True)}
    assert leaver.container not in names


def test_an_address_is_handed_on_while_its_last_owner_still_shuts_down(lab: Lab) -> None:
    first = lab.boot()
    first.put(
        "/etc/systemd/system/slow.service",
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=true\nExecStop=sleep 2\n",
    )
    first.out("systemctl daemon-reload; systemctl start slow")
    heir = dataclasses.replace(lab.spec(), private_ip=first.address)
    lab.machines.terminate(first.id)
    second = lab.boot(heir)
    assert second.address == first.address
    assert second.out(f"curl -sf {METADATA}/meta-data/instance-id") == second.id


def test_an_instance_that_is_terminated_while_it_boots_goes_at_once(lab: Lab) -> None:
    machine = lab.start()
    lab.machines.terminate(machine.id)
    machine.wait("gone", seconds=30)
    assert not lab.client.containers.list(all=True, filters={"name": machine.container})


def test_a_new_server_takes_up_what_an_earlier_one_left(lab: Lab) -> None:
    kept = lab.boot(lab.spec(tags={"Name": "kept"}))
    lab.server_restart()
    assert kept.spec in lab.machines.found()
    assert lab.machines.state(kept.id) == "running"
    assert kept.out("hostname") == kept.spec.hostname
    assert kept.out(f"curl -sf {METADATA}/meta-data/instance-id") == kept.id


def test_four_machines_boot_together_in_seconds(lab: Lab) -> None:
    started = time.monotonic()
    lab.boot_all(4)
    assert time.monotonic() - started < 60


def test_python_packages_install_without_a_network(lab: Lab) -> None:
    machine = lab.boot()
    machine.out(
        "python3 -m venv /opt/v && /opt/v/bin/pip install -q boto3 jupyterhub"
        " && /opt/v/bin/jupyterhub --version && /opt/v/bin/pip check",
        timeout=120,
    )
    assert machine.run("/opt/v/bin/pip install -q not-a-package-of-ours").code != 0


def test_programs_on_a_machine_call_no_other_aws(lab: Lab) -> None:
    machine = lab.boot()
    call = (
        "python3 -c \"import boto3; boto3.client('sts', region_name='eu-central-1', "
        "aws_access_key_id='x', aws_secret_access_key='y').get_caller_identity()\""
    )
    tried = machine.run(call).stderr.splitlines()[-1]
    assert "502" in tried, "the router answers; this test's sandbox has no AWS behind it"
    unset = machine.run(f"unset AWS_ENDPOINT_URL; {call}")
    assert "Could not connect" in unset.stderr.splitlines()[-1]


def test_everything_of_a_crashed_sandbox_is_found_by_labels(lab: Lab) -> None:
    with tempfile.TemporaryDirectory(prefix="lab-") as folder:
        crashed = Lab(lab.client, lab.images, Path(folder))
        crashed.boot(crashed.spec(volumes={"vol-1": "/dev/sdf"}))
        crashed.machines.close(remove=False)  # the server is gone, its machines run on
        left = cleanup.leftovers(lab.client, sandbox=crashed.name)
        kinds = [line.split()[0] for line in left]
        assert kinds == ["container", "container", "network", "volume", "volume", "volume"]
        anonymous = {volume.name for volume in lab.client.volumes.list()}
        cleanup.remove_all(lab.client, sandbox=crashed.name, spared={"efs"})
        assert cleanup.leftovers(lab.client, sandbox=crashed.name) == [f"volume {crashed.name}-efs"]
        cleanup.remove_all(lab.client, sandbox=crashed.name)
        assert cleanup.leftovers(lab.client, sandbox=crashed.name) == []
        remaining = {volume.name for volume in lab.client.volumes.list()}
        assert len(anonymous - remaining) >= 5, "the machine's own Docker volumes went too"


def test_down_ends_a_rehearsal_whose_state_is_lost(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with tempfile.TemporaryDirectory(prefix="lab-") as folder:
        lost = Lab(lab.client, lab.images, Path(folder))
        lost.boot()
        lost.machines.close(remove=False)
    (tmp_path / "hubdeploy.toml").write_text(f'name = "{lost.name}"\nregion = "eu-central-1"\n')
    command = [str(Path(sys.executable).with_name("hubdeploy")), "down", "--sandbox", "--yes"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert f"network {lost.name}-vpc" in ran.stdout
    # users' files go by name only
    assert cleanup.leftovers(lab.client, sandbox=lost.name) == [f"volume {lost.name}-efs"]
    command += ["--delete-files", lost.name]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    assert cleanup.leftovers(lab.client, sandbox=lost.name) == []


def test_a_rehearsal_that_lives_elsewhere_is_not_swept(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    pretender = subprocess.Popen(
        [sys.executable, "-c", "input()", known.MODULE, lab.name], stdin=subprocess.PIPE
    )
    try:
        assert ending.sweep(lab.name) == []
    finally:
        pretender.communicate()
    assert cleanup.leftovers(lab.client, sandbox=lab.name)
