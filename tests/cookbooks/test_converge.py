"""Both run lists on machines, twice; and what the machines are afterwards."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography import x509

from hubdeploy.config.names import LABEL_INSTANCE, Role
from hubdeploy.sandbox.cloud.server import Cloud
from hubdeploy.sandbox.machines.simulated import SimulatedMachines
from tests.cookbooks.machines import (
    NOTEBOOK_IMAGE,
    Trial,
    build_wheel,
    converge,
    eventually,
    fetch,
    reaches,
)
from tests.plugins.aws import CloudAccount
from tests.plugins.machines import Lab, LabMachine, docker_engine, lab, sandbox_images

__all__ = ["docker_engine", "lab", "sandbox_images"]
# two machines are installed before the first test
pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(900)]


@dataclass(kw_only=True)
class Pair:
    """Leader and worker, each converged twice."""

    trial: Trial
    leader: LabMachine
    worker: LabMachine
    runs: dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def pair(
    lab: Lab,
    cloud_server: tuple[Cloud, SimulatedMachines, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pair]:
    account = CloudAccount(*cloud_server)
    folder = tmp_path_factory.mktemp("trial")
    trial = Trial(lab, account, build_wheel(folder), folder)
    roles = (Role.LEADER, Role.WORKER)

    def first(role: Role) -> tuple[LabMachine, list[dict[str, Any]]]:
        machine = trial.boot(role)
        return machine, [converge(machine, f"recipe[hub_{role}]")]

    # as on AWS: both at once, and the worker waits for the leader's swarm by itself
    with ThreadPoolExecutor() as pool:
        found = dict(zip(roles, pool.map(first, roles), strict=True))
    machines = {role: machine for role, (machine, _) in found.items()}
    runs = {role.value: results for role, (_, results) in found.items()}
    eventually(lambda: swarm_state(machines[Role.WORKER]) == "active", what="the worker joined")
    for role, machine in machines.items():
        runs[role.value].append(converge(machine, f"recipe[hub_{role}]"))
    yield Pair(trial=trial, leader=machines[Role.LEADER], worker=machines[Role.WORKER], runs=runs)
    cloud_server[0].forget(account.account)


def swarm_state(machine: LabMachine) -> str:
    return machine.out("docker info --format '{{.Swarm.LocalNodeState}}'")


def reboot(machine: LabMachine) -> None:
    """Until the machine has come up anew."""
    machine.lab.machines.reboot(machine.id)
    machine.wait("booting")
    machine.wait("running")


@pytest.mark.parametrize("role", ["leader", "worker"])
def test_the_second_converge_changes_nothing(pair: Pair, role: str) -> None:
    first, second = pair.runs[role]
    assert len(first["updated"]) > 15
    assert second["updated"] == []


@pytest.mark.parametrize("role", ["leader", "worker"])
def test_no_unit_has_failed(pair: Pair, role: str) -> None:
    machine: LabMachine = getattr(pair, role)
    assert machine.out("systemctl --failed --no-legend --plain") == ""


@pytest.mark.parametrize("role", ["leader", "worker"])
def test_docker_runs_with_its_settings(pair: Pair, role: str) -> None:
    machine: LabMachine = getattr(pair, role)
    settings = json.loads(machine.out("cat /etc/docker/daemon.json"))
    assert settings["icc"] is False
    assert "iptables" not in settings
    assert "live-restore" not in settings
    info = json.loads(machine.out("docker info --format '{{json .}}'"))
    assert info["DefaultAddressPools"] == [{"Base": "10.200.0.0/15", "Size": 24}]
    assert f"{LABEL_INSTANCE}={machine.id}" in info["Labels"]
    assert "10.200.0.1/22" in machine.out("ip -4 -o address show docker0")
    options = machine.out("docker network inspect bridge --format '{{json .Options}}'")
    assert json.loads(options)["com.docker.network.bridge.enable_icc"] == "false"


@pytest.mark.parametrize("role", ["leader", "worker"])
def test_the_users_files_are_mounted_and_shared(pair: Pair, role: str) -> None:
    machine: LabMachine = getattr(pair, role)
    machine.out("mountpoint /efs")
    machine.out(f"echo {role} > /efs/shared/{role}")
    for other in (pair.leader, pair.worker):
        assert other.out(f"cat /efs/shared/{role}") == role
    assert pair.worker.out("stat -c %a /efs/home") == "711"
    # through the tunnel that checks the file system's certificate
    unit = machine.out("cat /etc/systemd/system/efs.mount")
    assert "127.0.0.1:/" in unit
    assert "nfsvers=4.1,rsize=1048576,wsize=1048576,hard,timeo=600,retrans=2,noresvport" in unit
    assert machine.out("systemctl is-active hubdeploy-efs-tunnel") == "active"


def test_the_leader_manages_the_swarm_and_runs_no_notebooks(pair: Pair) -> None:
    nodes = [
        json.loads(line)
        for line in pair.leader.out("docker node ls --format '{{json .}}'").splitlines()
    ]
    assert {(node["ManagerStatus"], node["Availability"]) for node in nodes} == {
        ("Leader", "Drain"),
        ("", "Drain"),
    }
    pool = pair.leader.out("docker info --format '{{json .Swarm.Cluster.DefaultAddrPool}}'")
    assert json.loads(pool) == ["10.202.0.0/15"]


def test_the_worker_is_admitted_with_the_notebook_image_in_place(pair: Pair) -> None:
    assert pair.worker.out(f"docker image inspect --format ok {NOTEBOOK_IMAGE}") == "ok"


def test_nginx_shows_the_certificate_and_the_hub_answers_behind_it(pair: Pair) -> None:
    eventually(
        lambda: fetch(f"https://{pair.leader.address}/hub/health")[0] == 200, what="the hub answers"
    )
    shown = ssl.get_server_certificate((pair.leader.address, 443))
    kept = pair.leader.out("cat /srv/hubdeploy/tls/fullchain.pem")
    assert shown.strip() in kept
    names = x509.load_pem_x509_certificate(shown.encode()).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert "notebooks.example.org" in names.value.get_values_for_type(x509.DNSName)
    status, _, headers = fetch(f"http://{pair.leader.address}/hub/login?next=/x")
    assert (status, headers["Location"]) == (
        301,
        f"https://{pair.leader.address}/hub/login?next=/x",
    )
    # nobody can trust a self-signed one, so nobody is told to insist on it
    assert "Strict-Transport-Security" not in fetch(f"https://{pair.leader.address}/hub/login")[2]


def test_hub_and_proxy_listen_where_they_should(pair: Pair) -> None:
    heard = pair.leader.out("ss -Hltn | awk '{print $4}'").splitlines()
    for port in (8000, 8001):
        assert f"127.0.0.1:{port}" in heard
        assert f"0.0.0.0:{port}" not in heard


def test_secrets_are_roots_alone(pair: Pair) -> None:
    found = pair.leader.out("find /srv/hubdeploy/secrets /srv/hubdeploy/tls -perm /077 -type f")
    # a certificate is public
    assert set(found.splitlines()) <= {
        "/srv/hubdeploy/tls/fullchain.pem",
        "/srv/hubdeploy/tls/kind.json",
    }
    assert pair.leader.out("stat -c %a /srv/hubdeploy/secrets") == "700"


def test_a_notebook_cannot_reach_the_metadata_nor_nfs(pair: Pair) -> None:
    worker, leader = pair.worker, pair.leader
    assert reaches(worker, "169.254.169.254", 80)
    assert not reaches(worker, "169.254.169.254", 80, inside=NOTEBOOK_IMAGE)
    # it is the rule that stops it, not a network without a way out
    assert reaches(worker, leader.address, 443, inside=NOTEBOOK_IMAGE)
    assert reaches(worker, leader.address, 2377)
    assert not reaches(worker, leader.address, 2377, inside=NOTEBOOK_IMAGE)


def test_the_guard_is_back_after_docker_restarted_and_after_somebody_flushed_it(
    pair: Pair,
) -> None:
    check = "iptables -C DOCKER-USER -j HUBDEPLOY-NOTEBOOKS"
    pair.worker.out("iptables -F DOCKER-USER && iptables -F HUBDEPLOY-NOTEBOOKS")
    assert pair.worker.run(check).code != 0
    pair.worker.out("systemctl restart docker")
    eventually(lambda: pair.worker.run(check).code == 0, what="the guard after a restart")
    pair.worker.out("iptables -F DOCKER-USER")
    result = converge(pair.worker, "recipe[hub_worker]")
    assert pair.worker.run(check).code == 0
    assert len(result["updated"]) == 1


def test_a_new_setting_of_docker_waits_for_the_machine_to_be_empty(pair: Pair) -> None:
    start = "systemctl show docker --property=ExecMainStartTimestampMonotonic"
    before = pair.worker.out(start)
    # what Docker says of a user's server
    busy = pair.worker.out(
        "docker run --detach --label com.docker.swarm.task.id=x --entrypoint sleep "
        f"{NOTEBOOK_IMAGE} 600"
    )
    pair.worker.out("touch /etc/docker/daemon.json")
    assert converge(pair.worker, "recipe[hub_worker]")["updated"] == []
    assert pair.worker.out(start) == before
    pair.worker.out(f"docker rm --force {busy}")
    converge(pair.worker, "recipe[hub_worker]")
    assert pair.worker.out(start) != before


def test_a_hub_that_is_down_is_a_page_that_says_so(pair: Pair) -> None:
    for units in ("jupyterhub", "jupyterhub hubdeploy-proxy"):
        pair.leader.out(f"systemctl stop {units}")
        status, page, headers = fetch(f"https://{pair.leader.address}/hub/login")
        pair.leader.out(f"systemctl start {units}")
        assert status == 503
        assert "is starting" in page
        assert headers["Content-Type"].startswith("text/html")
    eventually(
        lambda: fetch(f"https://{pair.leader.address}/hub/health")[0] == 200, what="the hub again"
    )


def test_a_restart_of_the_hub_leaves_the_proxy_alone(pair: Pair) -> None:
    proxy = "systemctl show hubdeploy-proxy hubdeploy-nginx --property=MainPID"
    before = pair.leader.out(proxy)
    pair.leader.out("systemctl restart jupyterhub")
    assert pair.leader.out(proxy) == before
    eventually(
        lambda: fetch(f"https://{pair.leader.address}/hub/health")[0] == 200, what="the hub again"
    )


def test_new_limits_reach_the_hubs_configuration(pair: Pair) -> None:
    attributes = json.loads(pair.leader.out("cat /root/attributes.json"))
    attributes["hubdeploy"]["limits"]["max_concurrent_users"] = 21
    pair.leader.put("/root/attributes.json", json.dumps(attributes))
    result = converge(pair.leader, "recipe[hub_leader]")
    text = pair.leader.out("cat /etc/hubdeploy/jupyterhub_config.py")
    assert "c.HubFleet.max_concurrent_users = 21" in text
    assert 'c.HubFleet.max_cluster_memory = "64G"' in text
    assert any("jupyterhub" in name for name in result["updated"])
    assert not any("hubdeploy-proxy" in name for name in result["updated"])
    assert converge(pair.leader, "recipe[hub_leader]")["updated"] == []


def test_a_worker_comes_back_from_a_reboot_by_itself(pair: Pair) -> None:
    reboot(pair.worker)
    pair.worker.await_docker()
    # before the engine could start anything
    ready = {
        unit: int(pair.worker.out(f"systemctl show {unit} --property={property} --value"))
        for unit, property in (
            ("hubdeploy-notebook-guard", "ExecMainExitTimestampMonotonic"),
            ("efs.mount", "ActiveEnterTimestampMonotonic"),
            ("docker", "ExecMainStartTimestampMonotonic"),
        )
    }
    assert 0 < ready["hubdeploy-notebook-guard"] < ready["docker"]
    assert 0 < ready["efs.mount"] < ready["docker"]
    pair.worker.out("iptables -C DOCKER-USER -j HUBDEPLOY-NOTEBOOKS")
    pair.worker.out("iptables -C FORWARD -j DOCKER-USER")
    eventually(lambda: swarm_state(pair.worker) == "active", what="the worker is a member again")
    assert converge(pair.worker, "recipe[hub_worker]")["updated"] == []


def test_the_hub_answers_soon_after_the_leaders_reboot(pair: Pair) -> None:
    reboot(pair.leader)
    eventually(
        lambda: fetch(f"https://{pair.leader.address}/hub/health")[0] == 200,
        what="the hub after a reboot",
    )
    assert pair.leader.out("systemctl --failed --no-legend --plain") == ""
    assert converge(pair.leader, "recipe[hub_leader]")["updated"] == []
