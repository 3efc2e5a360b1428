"""A VPC as a Docker network, and the router container in it that plays the VPC's own services.

The router has the VPC's second address, which on AWS is the DNS server. It carries the metadata
address itself, so that nothing is added to the host's own interfaces: a host that is a cloud
machine keeps its metadata, and the sandbox's machines cannot reach it.
"""

from __future__ import annotations

import ipaddress
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, NotFound
from tenacity import retry, retry_if_not_result, stop_after_delay, wait_fixed

from hubdeploy.errors import SandboxError
from hubdeploy.sandbox.engine import SANDBOX_LABEL

log = logging.getLogger(__name__)

ENDPOINT_PORT = 4566
"""On the router: plain HTTP to the embedded AWS."""
REGISTRY_PORT = 5000
"""In the router's container: plain HTTP to the registry, mapped to a loopback port."""
PART_LABEL = f"{SANDBOX_LABEL}.part"
"""``machine``, ``router``, ``vpc``, ``efs``, ``ebs`` or ``registry``."""
CIDR_LABEL = f"{SANDBOX_LABEL}.vpc"
_READY_DEADLINE = 30


@dataclass(frozen=True, kw_only=True)
class Vpc:
    """The network and its router, up and answering."""

    network: str
    """Docker's name of it."""
    router: str
    """Address of the router."""
    router_container: str
    registry_port: int
    """On this host's loopback: the registry in plain HTTP, which Docker allows there."""

    @property
    def endpoint(self) -> str:
        """The embedded AWS as the machines see it."""
        return f"http://{self.router}:{ENDPOINT_PORT}"


def router_address(cidr: str) -> str:
    return str(ipaddress.IPv4Network(cidr)[2])


def ensure(client: docker.DockerClient, *, sandbox: str, cidr: str, run: Path, image: str) -> Vpc:
    """Make network and router, or find them as an earlier server left them.

    ``run`` is the folder of the server's Unix sockets. The router is made anew, since it is
    bound to that folder; it holds no state.
    """
    network = _network(client, sandbox=sandbox, cidr=cidr)
    name = f"{network}-router"
    try:
        client.containers.get(name).remove(force=True, v=True)
    except NotFound:
        log.debug("no earlier router %s", name)
    address = router_address(cidr)
    labels = {SANDBOX_LABEL: sandbox, PART_LABEL: "router", CIDR_LABEL: cidr}
    registry = f"{sandbox}-registry"
    client.volumes.create(registry, labels={SANDBOX_LABEL: sandbox, PART_LABEL: "registry"})
    container = client.containers.create(
        image,
        name=name,
        hostname="router",
        network=network,
        networking_config={network: client.api.create_endpoint_config(ipv4_address=address)},
        cap_add=["NET_ADMIN"],
        environment={"SANDBOX_VPC": cidr, "SANDBOX_ROUTER": address},
        volumes={
            str(run): {"bind": "/sandbox/run", "mode": "rw"},
            registry: {"bind": "/var/lib/registry", "mode": "rw"},
        },
        ports={f"{REGISTRY_PORT}/tcp": ("127.0.0.1", 0)},
        restart_policy={"Name": "on-failure", "MaximumRetryCount": 20},
        labels=labels,
    )
    container.start()
    port = _published(container, address)
    return Vpc(network=network, router=address, router_container=name, registry_port=port)


def _published(container: Any, address: str) -> int:
    """The loopback port of the registry, once all of the router listens."""

    @retry(
        retry=retry_if_not_result(bool),
        stop=stop_after_delay(_READY_DEADLINE),
        wait=wait_fixed(0.1),
        retry_error_callback=lambda _state: False,
    )
    def ready() -> bool:
        code, _ = container.exec_run(
            ["python3", "-c", "import socket,sys; [socket.create_connection((h, p), 1).close() "
             "for h, p in (('127.0.0.1', 5001), ('127.0.0.1', 4566), (sys.argv[1], 53))]",
             address],
        )  # fmt: skip
        return bool(code == 0)

    if not ready():
        words = container.logs(tail=10).decode(errors="replace").strip()
        raise SandboxError(f"the VPC's router does not come up: {words}")
    container.reload()
    return int(container.ports[f"{REGISTRY_PORT}/tcp"][0]["HostPort"])


def _network(client: docker.DockerClient, *, sandbox: str, cidr: str) -> str:
    subnet = ipaddress.IPv4Network(cidr)
    name = f"{sandbox}-vpc-{subnet.network_address}-{subnet.prefixlen}"
    existing = client.networks.list(names=[name])
    if any(found.name == name for found in existing):
        return name
    pool = docker.types.IPAMPool(subnet=cidr, gateway=str(subnet[1]))
    try:
        client.networks.create(
            name,
            driver="bridge",
            ipam=docker.types.IPAMConfig(pool_configs=[pool]),
            options={"com.docker.network.bridge.enable_icc": "true"},
            labels={SANDBOX_LABEL: sandbox, PART_LABEL: "vpc", CIDR_LABEL: cidr},
        )
    except APIError as error:
        raise SandboxError(
            f"the VPC's range {cidr} cannot be had on this host: {error.explanation}",
            hint="another sandbox or network uses it; choose another network.vpc_cidr",
        ) from error
    return name
