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
import requests
from docker.errors import APIError
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from hubdeploy.errors import SandboxError
from hubdeploy.sandbox.machines.tls import Authority

log = logging.getLogger(__name__)

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_TIMEOUT = 30
_HUB_HOSTS = ("registry-1.docker.io",)
"""Where Docker turns to for names without a host."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """An image reference taken apart as Docker does."""

    hosts: tuple[str, ...]
    """DNS names to answer for."""
    repository: str
    tag: str

    @property
    def path(self) -> str:
        return f"{self.repository}:{self.tag}"


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


@retry(
    retry=retry_if_exception_type(requests.exceptions.RequestException),
    stop=stop_after_delay(_TIMEOUT),
    wait=wait_fixed(0.1),
    reraise=True,
)
def wait(*, port: int) -> None:
    """Until the registry on this loopback port answers."""
    requests.get(f"http://127.0.0.1:{port}/v2/", timeout=_TIMEOUT).raise_for_status()


def push(client: docker.DockerClient, image: str, path: Reference, *, port: int) -> None:
    """Copy an image of the engine into the registry that listens on a loopback port."""
    name = f"127.0.0.1:{port}/{path.repository}"
    try:
        client.images.get(image).tag(name, path.tag)
        for line in client.images.push(name, path.tag, stream=True, decode=True):
            if "error" in line:
                raise SandboxError(f"publishing {path.repository}: {line['error']}")
    except APIError as error:
        raise SandboxError(f"publishing {path.repository} failed: {error.explanation}") from error
    finally:
        client.images.remove(f"{name}:{path.tag}", noprune=True)


@retry(
    # its nginx is reloaded when it is to answer for another host, and then ends connections
    retry=retry_if_exception_type(requests.exceptions.ConnectionError),
    stop=stop_after_delay(_TIMEOUT),
    wait=wait_fixed(0.1),
    reraise=True,
)
def copy(source: Reference, target: Reference, *, port: int) -> bool:
    """Give an image in the registry a further name; false if it is not there.

    Its layers are mounted from the one repository into the other, so that nothing is moved.
    """
    base = f"http://127.0.0.1:{port}/v2"
    with requests.Session() as session:
        found = session.get(
            f"{base}/{source.repository}/manifests/{source.tag}",
            headers={"Accept": _MANIFEST},
            timeout=_TIMEOUT,
        )
        if found.status_code != 200:
            return False
        manifest = found.json()
        for blob in {part["digest"] for part in [manifest["config"], *manifest["layers"]]}:
            _expect(
                session.post(
                    f"{base}/{target.repository}/blobs/uploads/",
                    params={"mount": blob, "from": source.repository},
                    timeout=_TIMEOUT,
                ),
                target,
            )
        put = session.put(
            f"{base}/{target.repository}/manifests/{target.tag}",
            data=found.content,
            headers={"Content-Type": _MANIFEST},
            timeout=_TIMEOUT,
        )
        _expect(put, target)
    return True


def _expect(response: requests.Response, target: Reference) -> None:
    if response.status_code != 201:
        raise SandboxError(
            f"the registry did not take {target.path}: {response.status_code} {response.text[:200]}"
        )


class Registry:
    """Which hosts the sandbox's registry answers for, and with which certificate.

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

    def _remembered(self) -> list[str]:
        path = self._folder / "hosts.json"
        return list(json.loads(path.read_text())) if path.exists() else []

    def _issue(self) -> None:
        self._authority.issue(self._hosts or {"registry.internal"}, name="registry")
        (self._folder / "hosts.json").write_text(json.dumps(sorted(self._hosts)))
