"""The fleet's reading and marking of nodes on a real swarm: a leader and a worker as machines."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from hubdeploy.config.names import LABEL_INSTANCE, LABEL_USER
from hubdeploy.hub.fleet.model import LABEL_FLEET, Why
from hubdeploy.hub.fleet.observe import mark, read_mark
from hubdeploy.hub.fleet.swarm import Json, Swarm, SwarmFacts
from tests.plugins.machines import Lab, docker_engine, lab, sandbox_images  # noqa: F401

pytestmark = [pytest.mark.docker, pytest.mark.slow]

#: an image of one program, made on the worker itself
IMAGE = (
    "tar -C / -c usr/bin/sleep usr/lib/x86_64-linux-gnu/libc.so.6 "
    "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 usr/lib64 lib lib64 bin "
    "| docker import - notebook:1"
)
SERVER = (
    "docker service create --detach --quiet --name jupyter-{user} --label {label}={user} "
    "--no-resolve-image --restart-condition none --constraint node.role==worker "
    "--reserve-memory 64M --reserve-cpu 0.1 notebook:1 sleep 600"
)


def _until(
    swarm: Swarm, true: Callable[[SwarmFacts], object], *, seconds: float = 60
) -> SwarmFacts:
    deadline = time.monotonic() + seconds
    while True:
        seen = swarm.look()
        if true(seen):
            return seen
        assert time.monotonic() < deadline, seen
        time.sleep(0.2)


def test_a_worker_is_let_in_closed_and_forgotten(lab: Lab) -> None:  # noqa: F811
    leader, worker = lab.boot_all(2)
    for machine in (leader, worker):
        machine.await_docker()
    leader.out(f"docker swarm init --advertise-addr {leader.address} --availability drain")
    token = leader.out("docker swarm join-token -q worker")
    # the engine's socket, for this test alone reachable from outside the machine
    leader.out(
        "systemd-run --unit=dockerapi --socket-property=ListenStream=2375 "
        "/lib/systemd/systemd-socket-proxyd /run/docker.sock"
    )
    worker.out(IMAGE)
    worker.out(f"docker swarm join --availability drain --token {token} {leader.address}:2377")
    swarm = Swarm(f"tcp://{leader.address}:2375")

    leader.out(SERVER.format(user="ann", label=LABEL_USER))
    seen = _until(swarm, lambda s: s.pending and "no suitable" in s.pending[0].reason)
    (node,) = seen.nodes
    assert (node.availability, node.ready, node.address) == ("drain", True, worker.address)
    assert node.memory > 512 << 20
    (waiting,) = seen.pending
    assert (waiting.user, waiting.memory, waiting.cpu) == ("ann", 64 << 20, 100_000_000)
    assert "no suitable node" in waiting.reason
    assert abs(waiting.since - time.time()) < 60
    assert seen.people == frozenset()

    def let_in(spec: Json) -> None:
        spec["Availability"] = "active"
        spec["Labels"][LABEL_INSTANCE] = worker.id

    swarm.update(node.id, let_in)
    seen = _until(swarm, lambda s: s.people and s.nodes[0].memory_reserved)
    assert seen.people == {"ann"}
    assert seen.nodes[0].instance == worker.id
    assert seen.nodes[0].users == ("ann",)
    assert seen.nodes[0].memory_reserved == 64 << 20

    def close(spec: Json) -> None:
        spec["Availability"] = "pause"
        spec["Labels"][LABEL_FLEET] = mark(Why.SURPLUS, 1000.0)

    swarm.update(node.id, close)
    leader.out(SERVER.format(user="bob", label=LABEL_USER))
    seen = _until(swarm, lambda s: s.pending)
    assert seen.nodes[0].availability == "pause"
    assert read_mark(seen.nodes[0].labels[LABEL_FLEET]) == (Why.SURPLUS, 1000.0)
    assert seen.people == {"ann"}, "a server that runs is left alone"

    leader.out("docker service rm jupyter-ann jupyter-bob")
    _until(swarm, lambda s: not s.nodes[0].users)
    worker.out("systemctl stop docker.socket docker.service")
    _until(swarm, lambda s: s.node_states[node.id] == "down", seconds=90)
    swarm.remove(node.id)
    assert swarm.look().nodes == ()
    swarm.remove(node.id)  # again does no harm
