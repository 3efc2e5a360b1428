"""The sandbox's container registry: images under the names that production pulls.

Debian's docker-registry in the VPC's router answers for every registry host that an image was
published for (ECR's, a public one's): the VPC's DNS leads the host name to the router, which has a
certificate for it from the sandbox's authority.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import APIError

from hubdeploy.errors import SandboxError
from hubdeploy.sandbox.machines.tls import Authority

log = logging.getLogger(__name__)

_HUB_HOSTS = ("registry-1.docker.io",)
"""Where Docker turns to for names without a host."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """An image reference taken apart as Docker does."""

    hosts: tuple[str, ...]
    """DNS names to answer for."""
    repository: str
    tag: str


def parse(reference: str) -> Reference:
    """``nginx:1.28``, ``quay.io/jupyter/base-notebook`` or a full ECR name, taken apart."""
    name, _, digest = reference.partition("@")
    if digest:
        raise SandboxError(
            f"the sandbox cannot provide {reference}, whose contents its digest fixes",
            hint="name the image by a tag",
        )
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        hosts: tuple[str, ...] = (first.partition(":")[0],)
        path = rest
    else:
        hosts = _HUB_HOSTS
        path = name if slash else f"library/{name}"
    if first == "docker.io":
        hosts = _HUB_HOSTS
        path = path if "/" in path else f"library/{path}"
    repository, _, tag = path.partition(":")
    return Reference(hosts=hosts, repository=repository, tag=tag or "latest")


class Registry:
    """Which hosts the sandbox's registry answers for, and the way images get into it.

    ``folder`` keeps the list of hosts, ``tls`` the authority and the router's certificate.
    """

    def __init__(self, folder: Path, *, tls: Path) -> None:
        self._folder = folder
        self._authority = Authority(folder=tls)
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self._hosts = set(self._remembered())
        self._issue()

    @property
    def authority(self) -> bytes:
        """The certificate (PEM) that machines have to trust."""
        return self._authority.certificate

    @property
    def hosts(self) -> frozenset[str]:
        return frozenset(self._hosts)

    def answer_for(self, hosts: Iterable[str]) -> bool:
        """Take these hosts too; returns whether the certificate changed."""
        with self._lock:
            new = set(hosts) - self._hosts
            if new:
                self._hosts |= new
                self._issue()
            return bool(new)

    def push(
        self, client: docker.DockerClient, image: str, reference: Reference, *, port: int
    ) -> None:
        """Copy an image of the engine into the registry, which listens on a loopback port."""
        name = f"127.0.0.1:{port}/{reference.repository}"
        try:
            client.images.get(image).tag(name, reference.tag)
            for line in client.images.push(name, reference.tag, stream=True, decode=True):
                if "error" in line:
                    raise SandboxError(f"publishing {reference.repository}: {line['error']}")
        except APIError as error:
            raise SandboxError(
                f"publishing {reference.repository} failed: {error.explanation}"
            ) from error
        finally:
            client.images.remove(f"{name}:{reference.tag}", noprune=True)

    def _remembered(self) -> list[str]:
        path = self._folder / "hosts.json"
        return list(json.loads(path.read_text())) if path.exists() else []

    def _issue(self) -> None:
        self._authority.issue(self._hosts or {"registry.internal"}, name="registry")
        (self._folder / "hosts.json").write_text(json.dumps(sorted(self._hosts)))
