"""The mission's boot, for real: cloud-init runs the user data, the agent does the rest."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator

import pytest

from hubdeploy.config.names import Role
from hubdeploy.sandbox.cloud.server import Cloud
from hubdeploy.sandbox.machines.simulated import SimulatedMachines
from tests.node.fleet import Fleet
from tests.plugins.aws import CloudAccount
from tests.plugins.machines import (  # noqa: F401
    Lab,
    LabMachine,
    docker_engine,
    lab,
    sandbox_images,
)

pytestmark = [pytest.mark.docker, pytest.mark.goiardi, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def fleet(
    lab: Lab,  # noqa: F811
    cloud_server: tuple[Cloud, SimulatedMachines, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Fleet]:
    server, machines, endpoint = cloud_server
    made = Fleet(lab, CloudAccount(server, machines, endpoint), tmp_path_factory.mktemp("site"))
    yield made
    made.metadata.close()


@pytest.fixture(scope="module")
def chef(fleet: Fleet) -> LabMachine:
    machine = fleet.start(Role.CHEF)
    fleet.until(Role.CHEF, machine, "ready", seconds=180)
    return machine


def test_the_chef_server_boots_from_user_data_alone(fleet: Fleet, chef: LabMachine) -> None:
    assert fleet.site.registered("chef") == {chef.id: chef.address}
    state = fleet.site.get_json(fleet.site.names.parameters.chef_state)
    assert state == {
        "url": "https://chef.demo.internal",
        "instance": chef.id,
        "at": state["at"],
    }
    assert chef.out("systemctl is-active hubdeploy-goiardi") == "active"
    assert chef.out("systemctl is-active hubdeploy-logs") == "active"
    assert chef.out("systemctl is-enabled hubdeploy-chef-backup.timer") == "enabled"
    assert "goiardi" in chef.out("ps -o user= -C goiardi")


def test_no_secret_is_in_logs_or_world_readable(fleet: Fleet, chef: LabMachine) -> None:
    logs = chef.out("journalctl --no-pager -o cat; cat /var/log/cloud-init-output.log")
    assert "PRIVATE KEY" not in logs
    readable = "find /etc/hubdeploy /var/lib/goiardi /var/lib/hubdeploy -perm /o+r -type f"
    assert "PRIVATE KEY" not in chef.out(f"{readable} -exec cat {{}} +")
    assert fleet.site.names.deployment == "demo"


def test_running_the_user_data_again_changes_nothing(fleet: Fleet, chef: LabMachine) -> None:
    before = fleet.site.get(fleet.site.names.parameters.chef_admin)
    pid = chef.out("systemctl show -P MainPID hubdeploy-goiardi")
    chef.out("bash /var/lib/cloud/instance/scripts/part-001")
    chef.out("systemctl restart hubdeploy-boot", timeout=60)
    assert fleet.phase(Role.CHEF, chef)["phase"] == "ready"
    assert fleet.site.get(fleet.site.names.parameters.chef_admin) == before
    assert chef.out("systemctl show -P MainPID hubdeploy-goiardi") == pid


def test_the_workstation_publishes_the_projects_cookbooks(fleet: Fleet, chef: LabMachine) -> None:
    machine = fleet.start(Role.WORKSTATION, size="t3.small")
    fleet.until(Role.WORKSTATION, machine, "ready", seconds=180)
    said = fleet.site.get_json(fleet.site.names.parameters.workstation_state)
    assert said["cookbooks"] == fleet.site.release["cookbooks"]["sha256"]
    assert machine.out("systemctl is-active hubdeploy-workstation") == "active"
    assert chef.id

    # a new release is published by itself
    fleet.site.settings["hub_host"] = "new.example.org"
    fleet.publish()
    wanted = fleet.site.release["settings"]["sha256"]
    end = time.monotonic() + 60
    while time.monotonic() < end and said["settings"] != wanted:
        said = fleet.site.get_json(fleet.site.names.parameters.workstation_state)
        time.sleep(0.3)
    assert said["settings"] == wanted


def test_a_reboot_in_the_middle_only_delays_the_boot(fleet: Fleet, chef: LabMachine) -> None:
    assert chef.id
    machine = fleet.start(Role.WORKSTATION, size="t3.small")
    fleet.until(Role.WORKSTATION, machine, "booting", seconds=60)
    fleet.lab.machines.reboot(machine.id)
    machine.wait("running")
    fleet.until(Role.WORKSTATION, machine, "ready", seconds=180)


def test_a_failure_is_told_with_its_reason_and_log(fleet: Fleet) -> None:
    site = fleet.site
    good = site.release
    bad = {**good, "wheel": {**good["wheel"], "key": "artifacts/wheel/0/not-a-wheel.whl"}}
    body = b"not a wheel"
    site.account.client("s3").put_object(
        Bucket=site.names.bucket, Key=bad["wheel"]["key"], Body=body
    )
    bad["wheel"]["sha256"] = hashlib.sha256(body).hexdigest()
    site.put(site.names.parameters.release, json.dumps(bad))
    machine = fleet.start(Role.WORKER)
    with pytest.raises(AssertionError, match="user data line"):
        fleet.until(Role.WORKER, machine, "ready", seconds=180)
    said = fleet.phase(Role.WORKER, machine)
    assert "pip" in said["log"]
    site.put(site.names.parameters.release, json.dumps(good))
