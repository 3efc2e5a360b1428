"""Fixtures: real machines as containers, without an AWS behind them.

``lab`` boots machines and runs commands on them; ``docker_engine`` and ``sandbox_images`` are what
it stands on. Images are built once per host. Load with ``pytest_plugins`` or by importing the
fixtures, and mark the tests ``docker``.
"""

from __future__ import annotations

import fcntl
import os
import random
import secrets
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import docker
import pytest
from tenacity import retry, retry_if_not_result, stop_after_delay, wait_fixed

from hubdeploy.errors import SandboxError
from hubdeploy.sandbox import engine
from hubdeploy.sandbox.images import catalog
from hubdeploy.sandbox.images.build import Images
from hubdeploy.sandbox.images.recipe import Recipe
from hubdeploy.sandbox.imds import RoleKeys
from hubdeploy.sandbox.machines import cleanup
from hubdeploy.sandbox.machines.docker import DockerMachines
from hubdeploy.sandbox.machines.interface import CommandResult, MachineSpec

REGION, ACCOUNT = "eu-central-1", "123456789012"
AMI = "ami-12345678"
REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"


@dataclass
class LabCloud:
    """A cloud of names and roles that a test fills in."""

    names: dict[str, list[str]] = field(default_factory=dict)
    """DNS name -> addresses, e.g. of a file system or of ``chef.demo.internal``."""
    keys: dict[str, RoleKeys] = field(default_factory=dict)
    """Role -> credentials."""
    listens: tuple[str, int] | None = None
    """Where an embedded AWS listens, if the test has one."""
    user: str = "admin"

    def endpoint(self) -> tuple[str, int] | None:
        return self.listens

    def role_keys(self, spec: MachineSpec) -> RoleKeys | None:
        return self.keys.get(spec.role_name or "")

    def addresses(self, name: str) -> list[str] | None:
        return self.names.get(name)

    def volume_size(self, volume_id: str) -> int:
        del volume_id
        return 1

    def image_user(self, image_id: str) -> str:
        del image_id
        return self.user


class LabMachine:
    """A booted machine."""

    def __init__(self, lab: Lab, spec: MachineSpec) -> None:
        self.lab, self.spec = lab, spec
        self.id, self.address = spec.instance_id, spec.private_ip

    @property
    def container(self) -> str:
        """Name of the container on this host's engine."""
        return self.lab.machines.container_name(self.id)

    def run(self, script: str, *, timeout: float = 60) -> CommandResult:
        """As Run Command does."""
        return self.lab.machines.run(self.id, script, timeout=timeout, cancelled=threading.Event())

    def out(self, script: str, *, timeout: float = 60) -> str:
        """Standard output of a script that must end well."""
        result = self.run(script, timeout=timeout)
        if result.code != 0:
            raise AssertionError(f"{script!r} ended with {result}\n{self.console()}")
        return result.stdout.strip()

    def put(self, path: str, content: str | bytes) -> None:
        """Write a file (mode 644) on the machine."""
        import io
        import tarfile

        data = content.encode() if isinstance(content, str) else content
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            member = tarfile.TarInfo(path.lstrip("/"))
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        self.lab.client.containers.get(self.container).put_archive("/", buffer.getvalue())

    def await_docker(self) -> None:
        """Until the machine's own Docker engine answers."""
        self.out("until docker info >/dev/null 2>&1; do sleep 0.2; done", timeout=30)

    def console(self, lines: int = 30) -> str:
        return self.lab.machines.console(self.id, lines=lines)

    def wait(self, *states: str, seconds: float = 90) -> None:
        """Until the machine is in one of the states."""
        wanted = set(states)

        @retry(
            retry=retry_if_not_result(lambda state: state in wanted or state == "failed"),
            stop=stop_after_delay(seconds),
            wait=wait_fixed(0.1),
            retry_error_callback=lambda state: state.outcome and state.outcome.result(),
        )
        def state() -> str:
            return self.lab.machines.state(self.id)

        found = state()
        if found not in wanted:
            raise AssertionError(f"{self.id} is {found}: {self.lab.machines.failure(self.id)}")


class Lab:
    """Machines on one Docker network, ended with the fixture."""

    def __init__(self, client: docker.DockerClient, images: Images, state: Path) -> None:
        self.client = client
        self.name = f"lab-{secrets.token_hex(4)}"
        self.cloud = LabCloud()
        self.state = state
        self.images = images
        self.amis: dict[str, Recipe] = {}
        """AMI id -> what such an instance is made of, where it is not the machine image."""
        self.machines = self._open()
        self.cidr = self._take_network()
        self._next = 10

    def _open(self) -> DockerMachines:
        return DockerMachines(
            self.client,
            sandbox=self.name,
            state=self.state,
            cloud=self.cloud,
            images=self.images,
            recipe=lambda ami: self.amis.get(ami) or catalog.machine(),
        )

    def _take_network(self) -> str:
        """A range that no other test of this host has at present."""
        for _ in range(20):
            cidr = f"10.{random.randint(100, 190)}.{random.randint(0, 255)}.0/24"
            try:
                self.machines.services.vpc(cidr)
            except SandboxError:
                continue
            return cidr
        raise SandboxError("no free network for a test")

    def server_restart(self) -> None:
        """As if the sandbox's server had died and come again: machines stay."""
        self.machines.close(remove=False)
        self.machines = self._open()

    def spec(
        self,
        *,
        instance_type: str = "t3.medium",
        user_data: str = "",
        role: str | None = None,
        tags: dict[str, str] | None = None,
        volumes: dict[str, str] | None = None,
        public_keys: tuple[str, ...] = (),
        ami: str = AMI,
    ) -> MachineSpec:
        address = self.cidr.replace(".0/24", f".{self._next}")
        self._next += 1
        return MachineSpec(
            instance_id=f"i-{secrets.token_hex(8)}0",
            image_id=ami,
            instance_type=instance_type,
            private_ip=address,
            vpc_cidr=self.cidr,
            hostname="ip-" + address.replace(".", "-"),
            tags=tags or {},
            user_data=user_data.encode(),
            zone=f"{REGION}a",
            region=REGION,
            account=ACCOUNT,
            role_name=role,
            launched=datetime.now(UTC),
            volumes=volumes or {},
            public_keys=public_keys,
            key_names=tuple(f"key{number}" for number, _ in enumerate(public_keys)),
        )

    def start(self, spec: MachineSpec | None = None) -> LabMachine:
        """Begin to boot a machine; ``wait("running")`` on it."""
        spec = spec or self.spec()
        self.machines.boot(spec)
        return LabMachine(self, spec)

    def boot(self, spec: MachineSpec | None = None) -> LabMachine:
        """A machine that runs (2 to 4 seconds)."""
        machine = self.start(spec)
        machine.wait("running")
        return machine

    def boot_all(self, count: int, *, instance_type: str = "t3.medium") -> list[LabMachine]:
        """Several at a time."""
        started = [self.start(self.spec(instance_type=instance_type)) for _ in range(count)]
        for machine in started:
            machine.wait("running")
        return started

    def close(self) -> None:
        self.machines.close(remove=True)


def said(client: docker.DockerClient, image: str, command: list[str], **options: Any) -> str:
    """What a container without a network printed. It is read when the container has ended: what
    follows a log may miss the words of one that ends at once."""
    container = client.containers.create(image, command, network_disabled=True, **options)
    try:
        container.start()
        code = container.wait()["StatusCode"]
        output: str = container.logs().decode()
        assert code == 0, output
        return output
    finally:
        container.remove()


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[docker.DockerClient]:
    """The host's Docker engine, started for the tests if it does not run.

    Whoever started it ends it when no other worker is left that uses it.
    """
    locks = Path(tempfile.gettempdir()) / f"hubdeploy-engine-{os.getuid()}"
    with (
        tempfile.TemporaryDirectory(prefix="hubdeploy-engine-") as folder,
        locks.with_suffix(".start").open("w") as start,
        locks.with_suffix(".use").open("w") as use,
    ):
        fcntl.flock(start, fcntl.LOCK_EX)
        found = engine.connect(state=Path(folder))
        fcntl.flock(use, fcntl.LOCK_SH)
        fcntl.flock(start, fcntl.LOCK_UN)
        yield found.client
        if found.started:
            fcntl.flock(use, fcntl.LOCK_EX)
            engine.stop_started(state=Path(folder))


@pytest.fixture(scope="session")
def sandbox_images(docker_engine: docker.DockerClient) -> Images:
    """All images of the rehearsal, built if this host has them not (about 2 minutes)."""
    images = Images(docker_engine)
    images.ensure_all()
    return images


@contextmanager
def open_lab(client: docker.DockerClient, images: Images) -> Iterator[Lab]:
    """A lab of which nothing is left afterwards."""
    # a short path: Unix sockets are made in it
    with tempfile.TemporaryDirectory(prefix="lab-") as folder:
        opened = Lab(client, images, Path(folder))
        try:
            yield opened
        finally:
            opened.close()
            assert cleanup.leftovers(client, sandbox=opened.name) == []


@pytest.fixture(scope="module")
def lab(docker_engine: docker.DockerClient, sandbox_images: Images) -> Iterator[Lab]:
    """Machines for the tests of one file."""
    with open_lab(docker_engine, sandbox_images) as opened:
        yield opened
