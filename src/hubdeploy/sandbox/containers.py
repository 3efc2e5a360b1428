"""The sandbox whose machines are containers: what ties them to the embedded AWS.

Names resolve as in the VPC, roles' credentials reach the machines, the notebook image is where its
ECR name says, and the leader's Elastic IP (a loopback address here) leads to the leader.
"""

from __future__ import annotations

import ipaddress
import logging
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hubdeploy.config.names import TAG_DEPLOYMENT, TAG_ROLE, Role
from hubdeploy.errors import SandboxError
from hubdeploy.sandbox import adapt
from hubdeploy.sandbox.cloud import hosts, images
from hubdeploy.sandbox.engine import connect
from hubdeploy.sandbox.images import catalog
from hubdeploy.sandbox.imds import RoleKeys
from hubdeploy.sandbox.machines.docker import DockerMachines
from hubdeploy.sandbox.machines.interface import MachineSpec
from hubdeploy.sandbox.machines.relay import Relay

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.calls import Call
    from hubdeploy.sandbox.cloud.server import Cloud
    from hubdeploy.sandbox.server import Server

log = logging.getLogger(__name__)
PORT = 8443
"""Of the hub on loopback, if it is free."""


class View:
    """The embedded AWS as the machines see it (``machines.docker.CloudView``)."""

    def __init__(self, cloud: Cloud, endpoint_url: str) -> None:
        self._cloud = cloud
        parts = urlsplit(endpoint_url)
        self._endpoint = (str(parts.hostname), int(parts.port or 80))

    def endpoint(self) -> tuple[str, int] | None:
        return self._endpoint

    def role_keys(self, spec: MachineSpec) -> RoleKeys | None:
        found = hosts.credentials(self._cloud, spec.account, spec.region, spec.instance_id)
        if found is None:
            return None
        return RoleKeys(
            access_key=found.access_key, secret_key=found.secret_key, token=found.token or ""
        )

    def addresses(self, name: str) -> list[str] | None:
        for account, region in self._cloud.sites():
            found = self._file_system(account, region, name)
            if found is None:
                found = self._cloud_map(account, region, name)
            if found is not None:
                return found
        return None

    def _file_system(self, account: str, region: str, name: str) -> list[str] | None:
        suffix = f".efs.{region}.amazonaws.com"
        if not name.endswith(suffix):
            return None
        ident = name.removesuffix(suffix).rpartition(".")[2]
        efs = self._cloud.backend("efs", account, region)
        targets = list(efs.mount_targets_by_id.values())
        return [str(t.ip_address) for t in targets if t.file_system_id == ident]

    def _cloud_map(self, account: str, region: str, name: str) -> list[str] | None:
        host, _, zone = name.partition(".")
        backend = self._cloud.backend("servicediscovery", account, region)
        spaces = [n.id for n in list(backend.namespaces.values()) if n.name == zone]
        if not spaces:
            return None
        return [
            instance.attributes["AWS_INSTANCE_IPV4"]
            for service in list(backend.services.values())
            if service.name == host and service.namespace_id in spaces
            for instance in list(service.instances)
            if "AWS_INSTANCE_IPV4" in instance.attributes
        ]

    def volume_size(self, volume_id: str) -> int:
        for account, region in self._cloud.sites():
            volume = self._cloud.backend("ec2", account, region).volumes.get(volume_id)
            if volume is not None:
                return int(volume.size)
        raise SandboxError(f"there is no volume {volume_id}")

    def image_user(self, image_id: str) -> str:
        for _, region in self._cloud.sites():
            image = images.known(region).get(image_id)
            if image is not None:
                return "ubuntu" if image.distribution == "ubuntu" else "admin"
        return "admin"


class Rehearsal(DockerMachines):
    """The machines, with the images brought to the registry before they are pulled."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._published: set[str] = set()
        self._publishing = threading.Lock()

    def boot(self, spec: MachineSpec) -> None:
        deployment = spec.tags.get(TAG_DEPLOYMENT)
        if deployment:
            reference = adapt.notebook_image(deployment=deployment, region=spec.region)
            if reference not in self._published:
                self._published.add(reference)
                threading.Thread(
                    target=self._publish, args=(reference, spec.vpc_cidr), name="publish"
                ).start()
        super().boot(spec)

    def _publish(self, reference: str, cidr: str) -> None:
        try:
            self.publish(catalog.notebook().tag, reference, cidr=cidr)
            self.publish(catalog.nginx().tag, catalog.NGINX_REFERENCE, cidr=cidr)
        except SandboxError as error:
            log.error("the images are not in the registry: %s", error)


class Doors:
    """Loopback addresses that lead to the leader: a fixed port, and its Elastic IP."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._relays: dict[tuple[str, int], Relay] = {}
        self.port = self._open_port()
        cloud.hooks.amends["ec2", "AssociateAddress"].append(self._associated)

    def _leader(self, port: int) -> tuple[str, int] | None:
        for account, region in self._cloud.sites():
            for instance in hosts.instances(self._cloud, account, region):
                tags = hosts.tags_of(instance)
                if instance.state == "running" and tags.get(TAG_ROLE) == Role.LEADER:
                    return str(instance.private_ip), port
        return None

    def _open_port(self) -> int:
        for wanted in (PORT, 0):
            try:
                relay = Relay(("127.0.0.1", wanted), lambda: self._leader(443))
            except OSError as error:
                log.info("port %d of loopback is taken: %s", wanted, error)
                continue
            self._relays["127.0.0.1", relay.port] = relay
            return relay.port
        raise SandboxError("no port of 127.0.0.1 is free for the hub")

    def _associated(self, _cloud: Cloud, call: Call, _result: dict[str, Any]) -> None:
        ec2 = self._cloud.backend("ec2", call.account, call.region)
        for address in ec2.addresses:
            if address.instance is None or not ipaddress.ip_address(address.public_ip).is_loopback:
                continue
            for port in (443, 80):
                self._open(str(address.public_ip), port)

    def _open(self, address: str, port: int) -> None:
        if (address, port) in self._relays:
            return
        try:
            self._relays[address, port] = Relay((address, port), lambda: self._leader(port))
        except OSError as error:
            # without root, ports below 1024 are closed; the fixed port serves
            log.info("no door at %s:%d: %s", address, port, error)

    def close(self) -> None:
        for relay in self._relays.values():
            relay.close()


def machines(server: Server) -> Rehearsal:
    """The sandbox's containers, old ones taken up again."""
    engine = connect(state=server.directory)
    (server.directory / "docker").touch()
    found = Rehearsal(
        engine.client,
        sandbox=server.name,
        state=server.directory,
        cloud=View(server.cloud, server.endpoint_url),
        changed=server.cloud.touch,
    )
    # containers of a server that crashed belong to instances that nobody knows any more
    for spec in list(found.found()):
        found.terminate(spec.instance_id)
    server.doors = Doors(server.cloud)
    return found


def close(server: Server) -> None:
    if server.doors is not None:
        server.doors.close()
    if isinstance(server.machines, DockerMachines):
        server.machines.close(remove=True, spared=server.spared)


def directions(server: Server) -> list[str]:
    """Where the hub is, and how to look around."""
    port = server.doors.port if server.doors is not None else PORT
    return [
        f"https://127.0.0.1:{port}/hub/login (its certificate is self-signed)",
        "The machines: hubdeploy ssh leader --sandbox, hubdeploy logs --sandbox",
    ]
