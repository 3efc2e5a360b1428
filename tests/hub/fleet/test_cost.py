"""What a tick costs the leader with 500 machines and 5,000 servers.

Docker's and AWS's answers are served in full size by a stand-in: AWS's are those of the embedded
AWS for one machine, with that machine repeated 500 times.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from hubdeploy.config.limits import Limits
from hubdeploy.config.names import LABEL_INSTANCE, LABEL_LAUNCHED, LABEL_TYPE
from hubdeploy.hub.fleet.swarm import Swarm
from hubdeploy.hub.service import Server, Spot, as_api, spec
from tests.hub.fleet.conftest import CORE, GIB, TYPE, Yard

MACHINES, SERVERS = 500, 5000


def _listings(instances: list[str]) -> dict[str, bytes]:
    """``/nodes``, ``/services`` and ``/tasks`` as an engine would answer, in full."""
    nodes: list[dict[str, Any]] = [
        {
            "ID": f"node{number:021d}",
            "Version": {"Index": number},
            "Spec": {
                "Role": "worker",
                "Availability": "active",
                "Labels": {
                    LABEL_INSTANCE: instance,
                    LABEL_TYPE: TYPE,
                    LABEL_LAUNCHED: "2026-01-01T00:00:00+00:00",
                },
            },
            "Description": {
                "Hostname": f"ip-10-42-{number}",
                "Resources": {"NanoCPUs": 8 * CORE, "MemoryBytes": 32 * GIB},
                "Engine": {"Plugins": [{"Type": "Volume", "Name": f"p{n}"} for n in range(20)]},
            },
            "Status": {"State": "ready", "Addr": f"10.42.{number // 250}.{number % 250}"},
        }
        for number, instance in enumerate(instances)
    ]
    services, tasks = [], []
    for number in range(SERVERS):
        server = Server(
            name=f"jupyter-{number}",
            user=f"user{number}",
            server="",
            deployment="demo",
            image="notebook:1",
            args=["jupyterhub-singleuser"],
            env={f"JUPYTERHUB_VARIABLE_{n}": "x" * 40 for n in range(25)},
            binds=[],
            memory=2 * GIB,
            cpu=CORE // 2,
        )
        node = nodes[number % len(nodes)]["ID"]
        api = as_api(spec(server, Spot(node=node, published=30000 + number % 2000)))
        created = "2026-01-01T08:00:00.123456789Z"
        services.append({"ID": f"s{number}", "CreatedAt": created, "Spec": api})
        tasks.append(
            {
                "ID": f"t{number}",
                "CreatedAt": created,
                "ServiceID": f"s{number}",
                "NodeID": node,
                "DesiredState": "running",
                "Spec": api["TaskTemplate"],
                "Status": {"State": "running", "ContainerStatus": {"ContainerID": "c" * 64}},
            }
        )
    made = {"nodes": nodes, "services": services, "tasks": tasks}
    return {name: json.dumps(value).encode() for name, value in made.items()}


def _aws_answers(yard: Yard, instances: list[str]) -> dict[str, bytes]:
    """The XML of two reads, with the one instance that there is repeated."""
    raw: dict[str, bytes] = {}
    aws = yard.cloud.session(yard.cloud.credentials)
    for service, call, name in (
        ("autoscaling", "describe_auto_scaling_groups", "DescribeAutoScalingGroups"),
        ("ec2", "describe_instances", "DescribeInstances"),
    ):
        client = aws.client(service)
        client.meta.events.register(
            f"after-call.{service}.{name}",
            lambda http_response, name=name, **_: raw.__setitem__(name, http_response.content),
        )
        getattr(client, call)()
    types = aws.client("ec2")
    types.meta.events.register(
        "after-call.ec2.DescribeInstanceTypes",
        lambda http_response, **_: raw.__setitem__("types", http_response.content),
    )
    types.describe_instance_types(InstanceTypes=[TYPE])
    only = yard.instances()[0]
    answers = {"DescribeInstanceTypes": raw["types"]}
    for name, pattern in (
        ("DescribeAutoScalingGroups", rb"<Instances>(.*)</Instances>"),
        ("DescribeInstances", rb"<reservationSet>(.*)</reservationSet>"),
    ):
        found = re.search(pattern, raw[name], re.DOTALL)
        assert found, raw[name]
        many = b"".join(found[1].replace(only.encode(), each.encode()) for each in instances)
        body = raw[name].replace(found[1], many)
        wanted = rb"<DesiredCapacity>1<", b"<DesiredCapacity>%d<" % len(instances)
        answers[name] = body.replace(*wanted)
    return answers


@contextmanager
def _stand_in(docker: dict[str, bytes], aws: dict[str, bytes]) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(docker[self.path.split("?")[0].rsplit("/", 1)[1]], "application/json")

        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
            action = re.search(r"Action=(\w+)", asked)
            if action:
                self._send(aws[action[1]], "text/xml")
            else:
                self._send(b'{"Parameters": []}', "application/x-amz-json-1.1")

        def _send(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.slow
def test_a_tick_with_500_machines_and_5000_servers_takes_less_than_a_second_of_cpu(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    yard.limits = Limits(max_nodes=600, headroom=10)
    yard.cloud.client("autoscaling").set_desired_capacity(
        AutoScalingGroupName=yard.names.workers_group(TYPE), DesiredCapacity=1
    )
    yard.started(1)
    instances = [f"i-{number:017x}" for number in range(MACHINES)]
    docker, aws = _listings(instances), _aws_answers(yard, instances)
    yard.file_system = ""
    with _stand_in(docker, aws) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        fleet = yard.fleet()
        fleet.swarm = Swarm(f"tcp://127.0.0.1:{port}")
        costs = []
        for _ in range(5):
            yard.now += 20  # long enough to look at AWS as well each time
            fleet.tick()
            assert not fleet.view.error, fleet.view.error
            costs.append(fleet.view.tick_cpu)
        assert fleet.view.seen is not None
        assert len(fleet.view.seen.workers) == MACHINES
        assert fleet.view.seen.active_users == SERVERS
        assert fleet.view.actions == ()
    sizes = sum(len(body) for body in (*docker.values(), *aws.values()))
    print(f"\n{[round(cost, 2) for cost in costs]} s CPU a tick, {sizes / 1e6:.1f} MB read")  # noqa: T201
    # the first one also imports and makes clients; a busy machine may spoil another
    # whatever else runs here only adds to it
    assert min(costs) < 1.0
