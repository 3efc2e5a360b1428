"""The mission's boot, for real: cloud-init runs the user data, the agent does the rest.

Machines are containers with systemd; AWS is the embedded one, and every call of a machine is held
against its role's policy.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubdeploy.chef.archive import pack
from hubdeploy.config.assets import cookbooks_dir
from hubdeploy.config.names import Names, Role
from hubdeploy.config.userdata import render
from hubdeploy.sandbox.cloud.server import Cloud
from hubdeploy.sandbox.imds import RoleKeys
from hubdeploy.sandbox.machines.simulated import SimulatedMachines
from hubdeploy.steps.wheel import build
from tests.plugins.aws import CloudAccount
from tests.plugins.deployment import Site
from tests.plugins.machines import (  # noqa: F401
    Lab,
    LabMachine,
    docker_engine,
    lab,
    sandbox_images,
)
from tests.plugins.metadata import MetadataServer

pytestmark = [pytest.mark.docker, pytest.mark.goiardi, pytest.mark.slow, pytest.mark.timeout(600)]


class CloudMapNames(dict[str, list[str]]):
    """What the VPC's resolver answers: the names of the namespace, as registered now."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self._site = site

    def get(self, name: str, _: object = None) -> list[str] | None:  # type: ignore[override]
        service, _, space = name.partition(".")
        if space != self._site.names.namespace or service not in self._site.services:
            return super().get(name)
        return list(self._site.registered(service).values())


class Fleet:
    """Machines of one deployment."""

    def __init__(self, site: Site, machines: Lab) -> None:
        self.site, self.lab = site, machines
        machines.cloud.names = CloudMapNames(site)
        host, port = site.account.endpoint_url.removeprefix("http://").split(":")
        machines.cloud.listens = (host, int(port))

    def start(self, role: Role, *, size: str = "t3.medium") -> LabMachine:
        """Boot a machine with its role's user data and rights."""
        site = self.site
        name = site.role(role)
        spec = self.lab.spec(instance_type=size, user_data=render(role, site.names), role=name)
        keys = site.account.cloud.role_credentials(
            site.account.account, name, session=spec.instance_id
        )
        self.lab.cloud.keys[name] = RoleKeys(
            access_key=keys.access_key, secret_key=keys.secret_key, token=keys.token or ""
        )
        machine = self.lab.start(spec)
        machine.wait("running")
        return machine

    def chef_client(self, machine: LabMachine) -> None:
        """A client in the image, so that none is fetched from its publisher."""
        machine.out("install -m 755 /dev/null /usr/local/bin/cinc-client")

    def phase(self, role: Role, machine: LabMachine) -> dict[str, str]:
        """What the machine says of itself; empty before it does."""
        return self.site.get_json(self.site.names.parameters.phase(role, machine.id))

    def until(self, role: Role, machine: LabMachine, phase: str, *, seconds: float) -> float:
        """Wait for a phase; seconds it took. Fails at once when the machine says ``failed``."""
        began = time.monotonic()
        said: dict[str, str] = {}
        while time.monotonic() - began < seconds:
            said = self.phase(role, machine)
            if said.get("phase") == phase:
                return time.monotonic() - began
            if said.get("phase") == "failed":
                raise AssertionError(f"{role}: {said['detail']}\n{said['log']}")
            time.sleep(0.2)
        log = machine.run("journalctl -u hubdeploy-boot -n 60 --no-pager -o cat").stdout
        raise AssertionError(f"{role} is {said} after {seconds} s\n{log}\n{machine.console()}")


@pytest.fixture(scope="module")
def fleet(
    lab: Lab,  # noqa: F811
    cloud_server: tuple[Cloud, SimulatedMachines, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Fleet]:
    server, machines, endpoint = cloud_server
    account = CloudAccount(server, machines, endpoint)
    metadata = MetadataServer()
    site = Site(account, metadata, tmp_path_factory.mktemp("site"))
    site.settings["client_version"] = "18.8.54"
    site.publish(wheel=build().data, cookbooks=pack(cookbooks_dir()).data)
    yield Fleet(site, lab)
    metadata.close()


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
    fleet.chef_client(machine)
    fleet.until(Role.WORKSTATION, machine, "ready", seconds=180)
    said = fleet.site.get_json(fleet.site.names.parameters.workstation_state)
    assert said["cookbooks"] == fleet.site.release["cookbooks"]["sha256"]
    assert machine.out("systemctl is-active hubdeploy-workstation") == "active"
    assert chef.id

    # a new release is published by itself
    fleet.site.settings["hub_host"] = "new.example.org"
    fleet.site.publish(wheel=build().data, cookbooks=pack(cookbooks_dir()).data)
    wanted = fleet.site.release["settings"]["sha256"]
    end = time.monotonic() + 60
    while time.monotonic() < end and said["settings"] != wanted:
        said = fleet.site.get_json(fleet.site.names.parameters.workstation_state)
        time.sleep(0.3)
    assert said["settings"] == wanted


def test_a_reboot_in_the_middle_only_delays_the_boot(fleet: Fleet, tmp_path: Path) -> None:
    names = Names(deployment="other", region=fleet.site.names.region, account="100000000000")
    assert tmp_path
    machine = fleet.start(Role.WORKSTATION, size="t3.small")
    fleet.chef_client(machine)
    fleet.until(Role.WORKSTATION, machine, "booting", seconds=60)
    fleet.lab.machines.reboot(machine.id)
    machine.wait("running")
    fleet.until(Role.WORKSTATION, machine, "ready", seconds=180)
    kept = json.loads(machine.out("cat /etc/hubdeploy/machine.json"))
    assert kept["deployment"] != names.deployment


def test_a_failure_is_told_with_its_reason_and_log(fleet: Fleet) -> None:
    site = fleet.site
    good = site.release
    bad = {**good, "wheel": {**good["wheel"], "key": "artifacts/wheel/0/not-a-wheel.whl"}}
    body = b"not a wheel"
    site.account.client("s3").put_object(
        Bucket=site.names.bucket, Key=bad["wheel"]["key"], Body=body
    )
    import hashlib

    bad["wheel"]["sha256"] = hashlib.sha256(body).hexdigest()
    site.put(site.names.parameters.release, json.dumps(bad))
    machine = fleet.start(Role.WORKER)
    with pytest.raises(AssertionError, match="user data line"):
        fleet.until(Role.WORKER, machine, "ready", seconds=180)
    said = fleet.phase(Role.WORKER, machine)
    assert "pip" in said["log"]
    site.put(site.names.parameters.release, json.dumps(good))
