"""Both run lists from nothing: a bare Debian 12, real user data, real packages; then once more."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator

import docker
import pytest

from hubdeploy.config.names import LABEL_INSTANCE, LABEL_TYPE, LABEL_ZONE, Role
from hubdeploy.sandbox.cloud.server import Cloud
from hubdeploy.sandbox.images import catalog
from hubdeploy.sandbox.images.build import Images
from hubdeploy.sandbox.images.recipe import Recipe
from hubdeploy.sandbox.images.surroundings import survey
from hubdeploy.sandbox.machines.simulated import SimulatedMachines
from tests.cookbooks import bare
from tests.cookbooks.bare import Newborn
from tests.cookbooks.machines import NGINX_IMAGE, NOTEBOOK_IMAGE, eventually, fetch, reaches
from tests.plugins.aws import CloudAccount
from tests.plugins.machines import Lab, docker_engine, lab, said, sandbox_images

__all__ = ["docker_engine", "lab", "sandbox_images"]
# two machines fetch and install all that they are before the first test
pytestmark = [pytest.mark.docker, pytest.mark.goiardi, pytest.mark.slow, pytest.mark.timeout(1200)]
BOTH = pytest.mark.parametrize("role", [Role.LEADER, Role.WORKER])


@pytest.fixture(scope="module")
def debian(docker_engine: docker.DockerClient, sandbox_images: Images) -> Iterator[Recipe]:
    """Set up before the lab, and so removed when no machine is of it any more."""
    recipe = bare.debian(survey(suite=catalog.SUITE))
    sandbox_images.ensure(recipe)
    yield recipe
    # it may name a proxy, with a password
    docker_engine.images.remove(recipe.tag)


@pytest.fixture(scope="module")
def newborn(
    debian: Recipe,
    lab: Lab,
    cloud_server: tuple[Cloud, SimulatedMachines, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Newborn]:
    lab.amis[bare.AMI] = debian
    account = CloudAccount(*cloud_server)
    made = Newborn(lab, account, tmp_path_factory.mktemp("site"))
    made.boot_all()
    yield made
    made.metadata.close()
    cloud_server[0].forget(account.account)


def test_the_machine_is_bare(docker_engine: docker.DockerClient, sandbox_images: Images) -> None:
    tag = sandbox_images.ensure(catalog.bare())
    listed = said(docker_engine, tag, ["dpkg-query", "-W", "-f", "${Package} "])
    there = set(listed.split())
    assert {"systemd", "cloud-init", "openssh-server", "python3"} <= there
    brought = {
        *("docker.io", "iptables", "amazon-ecr-credential-helper", "nfs-common", "stunnel4"),
        *("unattended-upgrades", "python3-venv", "python3-pip", "nodejs", "npm", "nginx"),
    }
    assert not brought & there


@BOTH
def test_the_first_converge_installs_it_all_and_the_second_changes_nothing(
    newborn: Newborn, role: Role
) -> None:
    assert newborn.first[role]["ok"]
    assert newborn.first[role]["updated"] > 40
    newborn.machines[role].out("hubdeploy-node converge", timeout=300)
    second = newborn.result(role)
    assert second["at"] > newborn.first[role]["at"]
    assert (second["ok"], second["updated"]) == (True, 0)
    assert newborn.machines[role].out("systemctl --failed --no-legend --plain") == ""


@BOTH
def test_docker_is_up_with_its_settings(newborn: Newborn, role: Role) -> None:
    machine = newborn.machines[role]
    assert machine.out("systemctl is-active docker") == "active"
    settings = json.loads(machine.out("cat /etc/docker/daemon.json"))
    assert settings["icc"] is False
    assert settings["log-opts"] == {"max-file": "3", "max-size": "10m"}
    info = json.loads(machine.out("docker info --format '{{json .}}'"))
    assert info["DefaultAddressPools"] == [{"Base": "10.200.0.0/15", "Size": 24}]
    assert info["Swarm"]["LocalNodeState"] == "active"


@BOTH
def test_the_users_files_are_mounted(newborn: Newborn, role: Role) -> None:
    machine = newborn.machines[role]
    machine.out("mountpoint /efs")
    assert machine.out("systemctl is-active efs.mount hubdeploy-efs-tunnel") == "active\nactive"
    assert machine.out("systemctl is-enabled rpcbind.socket || true") == "masked"
    assert machine.out("dpkg-query -W -f '${Status}' nfs-common") == "install ok installed"


def test_the_worker_is_a_member_and_waits_drained_with_its_image(newborn: Newborn) -> None:
    leader, worker = newborn.machines[Role.LEADER], newborn.machines[Role.WORKER]
    told = json.loads(leader.out("hubdeploy-node doctor"))["nodes"]
    mine = next(node for node in told if node["address"] == worker.address)
    assert (mine["state"], mine["availability"], mine["role"]) == ("ready", "drain", "worker")
    assert worker.out(f"docker image inspect --format ok {NOTEBOOK_IMAGE}") == "ok"


@BOTH
def test_the_machine_has_labelled_itself_with_what_it_is(newborn: Newborn, role: Role) -> None:
    machine = newborn.machines[role]
    labels = json.loads(machine.out("docker info --format '{{json .Labels}}'"))
    assert dict(label.split("=", 1) for label in labels) == {
        LABEL_INSTANCE: machine.id,
        LABEL_TYPE: machine.spec.instance_type,
        LABEL_ZONE: machine.spec.zone,
    }


def test_the_leader_sees_the_workers_labels(newborn: Newborn) -> None:
    """The leader's fleet puts its own, which count, on the node when it lets the machine in."""
    leader, worker = newborn.machines[Role.LEADER], newborn.machines[Role.WORKER]
    (text,) = leader.out(
        "docker node ls -q --filter role=worker | xargs docker node inspect --format '{{json .}}'"
    ).splitlines()
    assert json.loads(text)["Description"]["Engine"]["Labels"][LABEL_INSTANCE] == worker.id


def test_nginx_answers_with_the_certificate_and_the_hub_behind_it(newborn: Newborn) -> None:
    leader = newborn.machines[Role.LEADER]
    eventually(lambda: fetch(f"https://{leader.address}/hub/health")[0] == 200, what="the hub")
    shown = ssl.get_server_certificate((leader.address, 443))
    assert shown.strip() in leader.out("cat /srv/hubdeploy/tls/fullchain.pem")
    running = leader.out("docker ps --filter name=hubdeploy-nginx --format '{{.Image}}'")
    assert running == NGINX_IMAGE
    assert fetch(f"https://{leader.address}/hub/login")[0] == 200


def test_a_notebook_cannot_reach_the_metadata(newborn: Newborn) -> None:
    worker, leader = newborn.machines[Role.WORKER], newborn.machines[Role.LEADER]
    assert reaches(worker, "169.254.169.254", 80)
    assert not reaches(worker, "169.254.169.254", 80, inside=NOTEBOOK_IMAGE)
    # it is the rule that stops it, not a network without a way out
    assert reaches(worker, leader.address, 443, inside=NOTEBOOK_IMAGE)
