"""The mission's boot, for real: cloud-init runs the user data, the agent does the rest."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hubdeploy.config.names import Role
from hubdeploy.node.chefserver import Actor
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

pytestmark = [pytest.mark.docker, pytest.mark.goiardi, pytest.mark.slow, pytest.mark.timeout(900)]


class Running(Fleet):
    """All four kinds of machine, launched at once as ``up`` does."""

    def boot_all(self) -> None:
        self.images()
        sizes = {Role.CHEF: "t3.medium", Role.WORKSTATION: "t3.small"}
        roles = list(Role)
        with ThreadPoolExecutor(len(roles)) as pool:
            made = pool.map(lambda role: self.start(role, size=sizes.get(role, "t3.medium")), roles)
        self.machines = dict(zip(roles, made, strict=True))
        for role in roles:
            self.until(role, self.machines[role], "ready", seconds=400)

    def nodes(self) -> dict[str, dict[str, str]]:
        """Swarm nodes by address, as the leader's agent tells."""
        facts = json.loads(self.machines[Role.LEADER].out("hubdeploy-node doctor"))
        # the living one last: an address may have had several nodes
        nodes = sorted(facts["nodes"], key=lambda one: one["state"] == "ready")
        return {one["address"]: one for one in nodes}

    def chef_names(self) -> set[str]:
        """Nodes and clients on the Chef server."""
        admin = Actor.decode(self.site.get(self.site.names.parameters.chef_admin))
        trust = self.site.get(self.site.names.parameters.chef_certificate)
        assert admin
        from hubdeploy.chef.server import ChefServer

        with ChefServer(
            f"https://{self.site.names.chef_host}",
            client=admin.name,
            key=admin.key,
            trust=trust,
            connect=f"{self.machines[Role.CHEF].address}:443",
        ) as server:
            return {*server.nodes(), *server.clients()}


@pytest.fixture(scope="module")
def fleet(
    lab: Lab,  # noqa: F811
    cloud_server: tuple[Cloud, SimulatedMachines, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Running]:
    server, machines, endpoint = cloud_server
    made = Running(lab, CloudAccount(server, machines, endpoint), tmp_path_factory.mktemp("site"))
    made.boot_all()
    yield made
    made.metadata.close()


def eventually(true: Any, *, what: str, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.5)


def facts(machine: LabMachine) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(machine.out("hubdeploy-node doctor"))
    return told


@pytest.fixture(scope="module")
def chef(fleet: Running) -> LabMachine:
    return fleet.machines[Role.CHEF]


def test_the_chef_server_boots_from_user_data_alone(fleet: Running, chef: LabMachine) -> None:
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


def test_no_secret_is_in_logs_or_world_readable(fleet: Running, chef: LabMachine) -> None:
    logs = chef.out("journalctl --no-pager -o cat; cat /var/log/cloud-init-output.log")
    assert "PRIVATE KEY" not in logs
    readable = "find /etc/hubdeploy /var/lib/goiardi /var/lib/hubdeploy -perm /o+r -type f"
    assert "PRIVATE KEY" not in chef.out(f"{readable} -exec cat {{}} +")
    assert fleet.site.names.deployment == "demo"


def test_running_the_user_data_again_changes_nothing(fleet: Running, chef: LabMachine) -> None:
    before = fleet.site.get(fleet.site.names.parameters.chef_admin)
    pid = chef.out("systemctl show -P MainPID hubdeploy-goiardi")
    chef.out("bash /var/lib/cloud/instance/scripts/part-001")
    chef.out("systemctl restart hubdeploy-boot", timeout=60)
    assert fleet.phase(Role.CHEF, chef)["phase"] == "ready"
    assert fleet.site.get(fleet.site.names.parameters.chef_admin) == before
    assert chef.out("systemctl show -P MainPID hubdeploy-goiardi") == pid


def test_the_workstation_publishes_the_projects_cookbooks(fleet: Running, chef: LabMachine) -> None:
    machine = fleet.machines[Role.WORKSTATION]
    said = fleet.site.get_json(fleet.site.names.parameters.workstation_state)
    assert said["cookbooks"] == fleet.site.release["cookbooks"]["sha256"]
    assert machine.out("systemctl is-active hubdeploy-workstation") == "active"
    assert chef.id

    # a new release is published by itself
    fleet.site.settings["converge_every"] = 3600
    fleet.publish()
    wanted = fleet.site.release["settings"]["sha256"]
    end = time.monotonic() + 60
    while time.monotonic() < end and said["settings"] != wanted:
        said = fleet.site.get_json(fleet.site.names.parameters.workstation_state)
        time.sleep(0.3)
    assert said["settings"] == wanted


def test_a_worker_joins_drained_with_its_image_and_waits_to_be_admitted(fleet: Running) -> None:
    leader, worker = fleet.machines[Role.LEADER], fleet.machines[Role.WORKER]
    nodes = fleet.nodes()
    assert nodes[leader.address]["availability"] == "drain"
    mine = nodes[worker.address]
    assert (mine["state"], mine["availability"], mine["role"]) == ("ready", "drain", "worker")
    assert worker.out("docker image ls -q | wc -l") != "0"
    assert fleet.site.registered("leader") == {leader.id: leader.address}
    pool = leader.out("docker info -f '{{json .Swarm.Cluster.DefaultAddrPool}}'")
    assert json.loads(pool) == ["10.202.0.0/15"]


def test_the_join_token_is_no_plain_parameter_and_in_no_process_list(fleet: Running) -> None:
    ssm = fleet.site.account.client("ssm")
    token = ssm.get_parameter(Name=fleet.site.names.parameters.swarm_token, WithDecryption=True)
    assert token["Parameter"]["Type"] == "SecureString"
    worker = fleet.machines[Role.WORKER]
    logs = worker.out("journalctl --no-pager -o cat; ps axww")
    assert token["Parameter"]["Value"] not in logs
    assert token["Parameter"]["Value"].startswith("SWMTKN")


def test_every_guard_says_that_nothing_is_to_be_done(fleet: Running) -> None:
    leader, worker = fleet.machines[Role.LEADER], fleet.machines[Role.WORKER]
    for verb in ("swarm lead", "hub secrets", "hub restore", "tls ensure", "state mount"):
        assert leader.run(f"hubdeploy-node {verb} --check").code == 0, verb
    for machine in (leader, worker):
        for verb in ("register", "update"):
            assert machine.run(f"hubdeploy-node {verb} --check").code == 0, verb
    assert worker.run("hubdeploy-node swarm join --check").code == 0


def test_the_machines_tell_their_facts(fleet: Running) -> None:
    leader, worker = facts(fleet.machines[Role.LEADER]), facts(fleet.machines[Role.WORKER])
    for told in (leader, worker):
        assert told["problems"] == {}
        assert told["mounts"]["/efs"] is True
        assert told["converge"]["ok"] is True
        assert set(told["units"].values()) == {"active"}
        assert told["docker"]["swarm"] == "active"
    assert leader["hub"]["ok"]
    assert leader["proxy"]["ok"]
    assert leader["certificate"]["kind"] == "self-signed"
    station, chef = facts(fleet.machines[Role.WORKSTATION]), facts(fleet.machines[Role.CHEF])
    for told in (station, chef):
        assert told["problems"] == {}
        assert set(told["units"].values()) == {"active"}


def test_the_hubs_state_is_published_when_it_answers(fleet: Running) -> None:
    state = fleet.site.get_json(fleet.site.names.parameters.hub_state)
    assert state["url"] == fleet.site.settings["hub_url"]
    assert state["instance"] == fleet.machines[Role.LEADER].id
    assert state["version"]


def test_the_logs_of_a_boot_reach_cloudwatch(fleet: Running) -> None:
    worker = fleet.machines[Role.WORKER]
    logs = fleet.site.account.client("logs")

    def there() -> bool:
        group = fleet.site.names.log_group("cloud-init")
        streams = logs.describe_log_streams(logGroupName=group)["logStreams"]
        if worker.id not in [one["logStreamName"] for one in streams]:
            return False
        found = logs.get_log_events(logGroupName=group, logStreamName=worker.id)
        return any("phase ready" in one["message"] for one in found["events"])

    eventually(there, what="the worker's boot in CloudWatch", seconds=30)


def test_a_restarted_worker_is_a_worker_again(fleet: Running) -> None:
    worker = fleet.machines[Role.WORKER]
    node = "docker info --format '{{.Swarm.NodeID}}'"
    member, before = worker.out(node), fleet.phase(Role.WORKER, worker)["at"]
    fleet.lab.machines.reboot(worker.id)
    eventually(lambda: fleet.phase(Role.WORKER, worker)["at"] != before, what="it boots")
    fleet.until(Role.WORKER, worker, "ready", seconds=180)
    eventually(
        lambda: fleet.nodes().get(worker.address, {}).get("state") == "ready", what="a member"
    )
    # the same one: a reboot is no end of life, and its labels stay
    assert worker.out(node) == member
    assert f"demo-worker-{worker.id}" in fleet.chef_names()


def test_workers_follow_a_rebuilt_leader_by_themselves(fleet: Running) -> None:
    worker = fleet.machines[Role.WORKER]
    before = fleet.site.get_json(fleet.site.names.parameters.swarm_state)
    fleet.lab.machines.terminate(fleet.machines[Role.LEADER].id)
    fleet.machines[Role.LEADER] = fleet.start(Role.LEADER)
    fleet.until(Role.LEADER, fleet.machines[Role.LEADER], "ready", seconds=300)
    after = fleet.site.get_json(fleet.site.names.parameters.swarm_state)
    assert after["cluster"] != before["cluster"]
    eventually(lambda: worker.address in fleet.nodes(), what="the worker in the new swarm")
    fleet.until(Role.WORKER, worker, "ready", seconds=60)


def test_a_worker_that_is_ended_leaves_swarm_and_chef_server(fleet: Running) -> None:
    worker = fleet.machines[Role.WORKER]
    name = f"demo-worker-{worker.id}"
    assert name in fleet.chef_names()
    fleet.lab.machines.terminate(worker.id)
    eventually(lambda: name not in fleet.chef_names(), what="the worker forgot itself")
    eventually(
        lambda: fleet.nodes().get(worker.address, {}).get("state") != "ready",
        what="the node is down",
    )
    assert fleet.phase(Role.WORKER, worker)["phase"] == "draining"


def test_a_reboot_in_the_middle_only_delays_the_boot(fleet: Running, chef: LabMachine) -> None:
    assert chef.id
    machine = fleet.start(Role.WORKSTATION, size="t3.small")
    fleet.until(Role.WORKSTATION, machine, "booting", seconds=60)
    fleet.lab.machines.reboot(machine.id)
    machine.wait("running")
    fleet.until(Role.WORKSTATION, machine, "ready", seconds=180)


def test_a_failure_is_told_with_its_reason_and_log(fleet: Running) -> None:
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
