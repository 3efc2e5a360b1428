"""What leader and worker are once they have converged, and how they bear what befalls them."""

from __future__ import annotations

import json
import ssl

import pytest
from cryptography import x509

from hubdeploy.config.names import Role
from tests.cookbooks.bare import Newborn
from tests.cookbooks.machines import (
    converge,
    eventually,
    fetch,
    reaches,
)
from tests.node.fleet import NGINX, NOTEBOOK
from tests.plugins.machines import LabMachine

# two machines fetch and install all that they are before the first test
pytestmark = [pytest.mark.docker, pytest.mark.goiardi, pytest.mark.slow, pytest.mark.timeout(1200)]
BOTH = pytest.mark.parametrize("role", [Role.LEADER, Role.WORKER])


def swarm_state(machine: LabMachine) -> str:
    return machine.out("docker info --format '{{.Swarm.LocalNodeState}}'")


def reboot(machine: LabMachine) -> None:
    """Until the machine has come up anew."""
    machine.lab.machines.reboot(machine.id)
    machine.wait("booting")
    machine.wait("running")


def hub_answers(newborn: Newborn, *, what: str) -> None:
    """Until it does; an AssertionError names *what*."""
    url = f"https://{newborn.leader.address}/hub/health"
    eventually(lambda: fetch(url)[0] == 200, what=what)


@BOTH
def test_docker_runs_with_its_settings(newborn: Newborn, role: Role) -> None:
    machine = newborn.machines[role]
    settings = json.loads(machine.out("cat /etc/docker/daemon.json"))
    assert settings["icc"] is False
    assert settings["log-opts"] == {"max-file": "3", "max-size": "10m"}
    assert "iptables" not in settings
    assert "live-restore" not in settings
    info = json.loads(machine.out("docker info --format '{{json .}}'"))
    assert info["DefaultAddressPools"] == [{"Base": "10.200.0.0/15", "Size": 24}]
    assert info["Swarm"]["LocalNodeState"] == "active"
    assert "10.200.0.1/22" in machine.out("ip -4 -o address show docker0")
    options = machine.out("docker network inspect bridge --format '{{json .Options}}'")
    assert json.loads(options)["com.docker.network.bridge.enable_icc"] == "false"


@BOTH
def test_the_users_files_are_mounted_and_shared(newborn: Newborn, role: Role) -> None:
    machine = newborn.machines[role]
    machine.out("mountpoint /efs")
    machine.out(f"echo {role} > /efs/shared/{role}")
    for other in (newborn.leader, newborn.worker):
        assert other.out(f"cat /efs/shared/{role}") == role
    assert newborn.worker.out("stat -c %a /efs/home") == "711"
    # through the tunnel that checks the file system's certificate
    unit = machine.out("cat /etc/systemd/system/efs.mount")
    assert "127.0.0.1:/" in unit
    assert "nfsvers=4.1,rsize=1048576,wsize=1048576,hard,timeo=600,retrans=2,noresvport" in unit
    assert machine.out("systemctl is-active efs.mount hubdeploy-efs-tunnel") == "active\nactive"
    assert machine.out("systemctl is-enabled rpcbind.socket || true") == "masked"
    assert machine.out("dpkg-query -W -f '${Status}' nfs-common") == "install ok installed"


def test_the_leader_manages_the_swarm_and_runs_no_notebooks(newborn: Newborn) -> None:
    nodes = [
        json.loads(line)
        for line in newborn.leader.out("docker node ls --format '{{json .}}'").splitlines()
    ]
    assert {(node["ManagerStatus"], node["Availability"]) for node in nodes} == {
        ("Leader", "Drain"),
        ("", "Drain"),
    }
    pool = newborn.leader.out("docker info --format '{{json .Swarm.Cluster.DefaultAddrPool}}'")
    assert json.loads(pool) == ["10.202.0.0/15"]


def test_nginx_shows_the_certificate_and_the_hub_answers_behind_it(newborn: Newborn) -> None:
    hub_answers(newborn, what="the hub answers")
    shown = ssl.get_server_certificate((newborn.leader.address, 443))
    kept = newborn.leader.out("cat /srv/hubdeploy/tls/fullchain.pem")
    assert shown.strip() in kept
    running = newborn.leader.out("docker ps --filter name=hubdeploy-nginx --format '{{.Image}}'")
    assert running == NGINX
    names = x509.load_pem_x509_certificate(shown.encode()).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert "notebooks.example.org" in names.value.get_values_for_type(x509.DNSName)
    status, _, headers = fetch(f"http://{newborn.leader.address}/hub/login?next=/x")
    assert (status, headers["Location"]) == (
        301,
        f"https://{newborn.leader.address}/hub/login?next=/x",
    )
    # nobody can trust a self-signed one, so nobody is told to insist on it
    assert (
        "Strict-Transport-Security" not in fetch(f"https://{newborn.leader.address}/hub/login")[2]
    )


def test_hub_and_proxy_listen_where_they_should(newborn: Newborn) -> None:
    heard = newborn.leader.out("ss -Hltn | awk '{print $4}'").splitlines()
    for port in (8000, 8001):
        assert f"127.0.0.1:{port}" in heard
        assert f"0.0.0.0:{port}" not in heard


def test_secrets_are_roots_alone(newborn: Newborn) -> None:
    found = newborn.leader.out("find /srv/hubdeploy/secrets /srv/hubdeploy/tls -perm /077 -type f")
    # a certificate is public
    assert set(found.splitlines()) <= {
        "/srv/hubdeploy/tls/fullchain.pem",
        "/srv/hubdeploy/tls/kind.json",
    }
    assert newborn.leader.out("stat -c %a /srv/hubdeploy/secrets") == "700"


def test_a_notebook_cannot_reach_the_metadata_nor_nfs(newborn: Newborn) -> None:
    worker, leader = newborn.worker, newborn.leader
    assert reaches(worker, "169.254.169.254", 80)
    assert not reaches(worker, "169.254.169.254", 80, inside=NOTEBOOK)
    # it is the rule that stops it, not a network without a way out
    assert reaches(worker, leader.address, 443, inside=NOTEBOOK)
    assert reaches(worker, leader.address, 2377)
    assert not reaches(worker, leader.address, 2377, inside=NOTEBOOK)


def test_the_guard_is_back_after_docker_restarted_and_after_somebody_flushed_it(
    newborn: Newborn,
) -> None:
    check = "iptables -C DOCKER-USER -j HUBDEPLOY-NOTEBOOKS"
    newborn.worker.out("iptables -F DOCKER-USER && iptables -F HUBDEPLOY-NOTEBOOKS")
    assert newborn.worker.run(check).code != 0
    newborn.worker.out("systemctl restart docker")
    eventually(lambda: newborn.worker.run(check).code == 0, what="the guard after a restart")
    newborn.worker.out("iptables -F DOCKER-USER")
    result = converge(newborn.worker, "recipe[hub_worker]")
    assert newborn.worker.run(check).code == 0
    assert len(result["updated"]) == 1


def test_a_new_setting_of_docker_waits_for_the_machine_to_be_empty(newborn: Newborn) -> None:
    start = "systemctl show docker --property=ExecMainStartTimestampMonotonic"
    before = newborn.worker.out(start)
    # what Docker says of a user's server
    busy = newborn.worker.out(
        f"docker run --detach --label com.docker.swarm.task.id=x --entrypoint sleep {NOTEBOOK} 600"
    )
    newborn.worker.out("touch /etc/docker/daemon.json")
    assert converge(newborn.worker, "recipe[hub_worker]")["updated"] == []
    assert newborn.worker.out(start) == before
    newborn.worker.out(f"docker rm --force {busy}")
    converge(newborn.worker, "recipe[hub_worker]")
    assert newborn.worker.out(start) != before


def test_a_hub_that_is_down_is_a_page_that_says_so(newborn: Newborn) -> None:
    for units in ("jupyterhub", "jupyterhub hubdeploy-proxy"):
        newborn.leader.out(f"systemctl stop {units}")
        status, page, headers = fetch(f"https://{newborn.leader.address}/hub/login")
        newborn.leader.out(f"systemctl start {units}")
        assert status == 503
        assert "is starting" in page
        assert headers["Content-Type"].startswith("text/html")
    hub_answers(newborn, what="the hub again")


def test_a_restart_of_the_hub_leaves_the_proxy_alone(newborn: Newborn) -> None:
    proxy = "systemctl show hubdeploy-proxy hubdeploy-nginx --property=MainPID"
    before = newborn.leader.out(proxy)
    newborn.leader.out("systemctl restart jupyterhub")
    assert newborn.leader.out(proxy) == before
    hub_answers(newborn, what="the hub again")


def test_new_limits_reach_the_hubs_configuration(newborn: Newborn) -> None:
    before = newborn.leader.out("cat /root/attributes.json")
    attributes = json.loads(before)
    attributes["hubdeploy"]["limits"]["max_concurrent_users"] = 21
    newborn.leader.put("/root/attributes.json", json.dumps(attributes))
    result = converge(newborn.leader, "recipe[hub_leader]")
    text = newborn.leader.out("cat /etc/hubdeploy/jupyterhub_config.py")
    assert "c.HubFleet.max_concurrent_users = 21" in text
    assert 'c.HubFleet.max_cluster_memory = "64G"' in text
    assert any("jupyterhub" in name for name in result["updated"])
    assert not any("hubdeploy-proxy" in name for name in result["updated"])
    newborn.leader.put("/root/attributes.json", before)
    assert converge(newborn.leader, "recipe[hub_leader]")["updated"] == result["updated"]
    assert converge(newborn.leader, "recipe[hub_leader]")["updated"] == []


def test_a_worker_comes_back_from_a_reboot_by_itself(newborn: Newborn) -> None:
    node = newborn.worker.out("docker info --format '{{.Swarm.NodeID}}'")
    reboot(newborn.worker)
    newborn.worker.await_docker()
    # before the engine could start anything
    ready = {
        unit: int(newborn.worker.out(f"systemctl show {unit} --property={property} --value"))
        for unit, property in (
            ("hubdeploy-notebook-guard", "ExecMainExitTimestampMonotonic"),
            ("efs.mount", "ActiveEnterTimestampMonotonic"),
            ("docker", "ExecMainStartTimestampMonotonic"),
        )
    }
    assert 0 < ready["hubdeploy-notebook-guard"] < ready["docker"]
    assert 0 < ready["efs.mount"] < ready["docker"]
    newborn.worker.out("iptables -C DOCKER-USER -j HUBDEPLOY-NOTEBOOKS")
    newborn.worker.out("iptables -C FORWARD -j DOCKER-USER")
    eventually(lambda: swarm_state(newborn.worker) == "active", what="the worker is a member again")
    # the same member: labels, and what the fleet decided of it, stay
    assert newborn.worker.out("docker info --format '{{.Swarm.NodeID}}'") == node
    assert converge(newborn.worker, "recipe[hub_worker]")["updated"] == []


def test_the_hub_answers_soon_after_the_leaders_reboot(newborn: Newborn) -> None:
    reboot(newborn.leader)
    hub_answers(newborn, what="the hub after a reboot")
    assert newborn.leader.out("systemctl --failed --no-legend --plain") == ""
    assert converge(newborn.leader, "recipe[hub_leader]")["updated"] == []
    told = "docker node ls --filter role=worker --format '{{.ID}} {{.Status}}'"
    node = newborn.worker.out("docker info --format '{{.Swarm.NodeID}}'")
    eventually(lambda: newborn.leader.out(told) == f"{node} Ready", what="the worker is there")
