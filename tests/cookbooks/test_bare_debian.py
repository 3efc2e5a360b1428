"""Both run lists from nothing: a bare Debian 12, real user data, real packages; then once more."""

from __future__ import annotations

import json

import docker
import pytest

from hubdeploy.config.names import LABEL_INSTANCE, LABEL_TYPE, LABEL_ZONE, Role
from hubdeploy.sandbox.images import catalog
from hubdeploy.sandbox.images.build import Images
from tests.cookbooks.bare import Newborn
from tests.node.fleet import NOTEBOOK
from tests.plugins.machines import said

# two machines fetch and install all that they are before the first test
pytestmark = [pytest.mark.docker, pytest.mark.goiardi, pytest.mark.slow, pytest.mark.timeout(1200)]
BOTH = pytest.mark.parametrize("role", [Role.LEADER, Role.WORKER])


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
    first, second = newborn.first[role], newborn.second[role]
    assert first["ok"]
    assert first["updated"] > 40
    assert second["at"] > first["at"]
    assert (second["ok"], second["updated"]) == (True, 0)
    assert newborn.machines[role].out("systemctl --failed --no-legend --plain") == ""


def test_the_worker_is_a_member_and_waits_drained_with_its_image(newborn: Newborn) -> None:
    leader, worker = newborn.leader, newborn.worker
    told = json.loads(leader.out("hubdeploy-node doctor"))["nodes"]
    mine = next(node for node in told if node["address"] == worker.address)
    assert (mine["state"], mine["availability"], mine["role"]) == ("ready", "drain", "worker")
    assert worker.out(f"docker image inspect --format ok {NOTEBOOK}") == "ok"


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
    leader, worker = newborn.leader, newborn.worker
    (text,) = leader.out(
        "docker node ls -q --filter role=worker | xargs docker node inspect --format '{{json .}}'"
    ).splitlines()
    assert json.loads(text)["Description"]["Engine"]["Labels"][LABEL_INSTANCE] == worker.id
