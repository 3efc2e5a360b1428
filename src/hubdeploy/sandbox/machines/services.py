"""What AWS itself provides inside a VPC: names, the registry, the way to its endpoints."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import docker

from hubdeploy.errors import SandboxError
from hubdeploy.sandbox.images import catalog
from hubdeploy.sandbox.images.build import Images
from hubdeploy.sandbox.imds import RoleKeys
from hubdeploy.sandbox.machines import network, registry
from hubdeploy.sandbox.machines.interface import MachineSpec
from hubdeploy.sandbox.machines.relay import Relay

_LONGEST_PATH = 80
"""Of the folder for Unix sockets, whose addresses end at 107 characters."""
_INSTANCES = (".ec2.internal", ".compute.internal")
_AWS = (".amazonaws.com", ".api.aws", ".internal")


class CloudView(Protocol):
    """What the machines need from the embedded AWS."""

    def endpoint(self) -> tuple[str, int] | None:
        """Host and port on loopback where it listens."""

    def role_keys(self, spec: MachineSpec) -> RoleKeys | None:
        """Fresh credentials of the instance's role."""

    def addresses(self, name: str) -> list[str] | None:
        """Addresses of a name in Cloud Map or of a file system's mount targets.

        Empty: such a name would be AWS's, and is not there; None: not AWS's at all.
        """

    def volume_size(self, volume_id: str) -> int:
        """GiB."""

    def image_user(self, image_id: str) -> str:
        """The login that the AMI's cloud-init makes: ``admin`` or ``ubuntu``."""


class Services:
    """The VPCs of one sandbox, and what is served in them."""

    def __init__(
        self,
        client: docker.DockerClient,
        *,
        sandbox: str,
        state: Path,
        cloud: CloudView,
        images: Images,
        instances: Callable[[], Iterable[MachineSpec]],
    ) -> None:
        self.run = state / "run"
        if len(str(self.run)) > _LONGEST_PATH:
            raise SandboxError(
                f"the sandbox's directory has too long a path for sockets: {state}",
                hint="set XDG_STATE_HOME to a shorter one",
            )
        self.run.mkdir(parents=True, exist_ok=True)
        self.run.chmod(0o700)
        self._client, self._sandbox, self._state = client, sandbox, state
        self._cloud, self._images, self._instances = cloud, images, instances
        self._registry = registry.Registry(state / "registry", tls=self.run / "tls")
        self._way = Relay(self.run / "aws.sock", cloud.endpoint)
        self._vpcs: dict[str, network.Vpc] = {}
        self._lock = threading.Lock()

    @property
    def authority(self) -> bytes:
        """The certificate (PEM) that machines have to trust."""
        return self._registry.authority

    def vpc(self, cidr: str) -> network.Vpc:
        """The VPC's network and router, which are made if they are not there (1 to 3 seconds)."""
        with self._lock:
            if cidr not in self._vpcs:
                self._vpcs[cidr] = network.ensure(
                    self._client,
                    sandbox=self._sandbox,
                    cidr=cidr,
                    run=self.run,
                    image=self._images.ensure(catalog.store()),
                )
            return self._vpcs[cidr]

    def publish(self, image: str, reference: str, *, cidr: str) -> None:
        """Make an image of the engine pullable as *reference* on the machines of a VPC.

        *image* is a tag or id, e.g. ``catalog.notebook().tag``; the rehearsal's own images are
        in the registry already and only get one more name, which takes no time.
        """
        wanted = registry.parse(reference)
        self.answer_for(wanted.hosts)
        port = self.vpc(cidr).registry_port
        stored = catalog.stored(image)
        if stored is None or not registry.copy(stored, wanted, port=port):
            registry.push(self._client, image, wanted, port=port)

    def answer_for(self, hosts: Iterable[str]) -> None:
        """The registry answers under these host names, e.g. an account's ECR host, from now on."""
        if self._registry.answer_for(hosts):
            for vpc in list(self._vpcs.values()):
                self._client.containers.get(vpc.router_container).exec_run(
                    ["nginx", "-c", "/usr/local/etc/nginx.conf", "-s", "reload"]
                )

    def names(self, name: str) -> list[str] | None:
        """DNS inside the VPCs: registry hosts, instances, then what the embedded AWS knows.

        Nothing of AWS's own ever resolves to a public address: a program that forgot the
        sandbox's endpoint fails at once, instead of calling the real AWS.
        """
        if name in self._registry.hosts:
            return [vpc.router for vpc in list(self._vpcs.values())][:1]
        if name.endswith(_INSTANCES):
            host = name.partition(".")[0]
            return [spec.private_ip for spec in self._instances() if spec.hostname == host]
        known = self._cloud.addresses(name)
        return [] if known is None and name.endswith(_AWS) else known

    def close(self) -> None:
        self._way.close()

    def forget(self) -> None:
        """Remove what was kept on the host, once the containers are gone."""
        shutil.rmtree(self._state / "registry", ignore_errors=True)
        shutil.rmtree(self.run / "tls", ignore_errors=True)
