"""Fixtures: an embedded AWS on loopback, an account of its own for each test, and a socket guard.

``cloud`` is what nearly every test wants; see :class:`CloudAccount`.
"""

from __future__ import annotations

import ipaddress
import itertools
import os
import socket
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import botocore.loaders
import botocore.session
import pytest

from hubdeploy.aws.session import Aws
from hubdeploy.sandbox.cloud.calls import CallLog
from hubdeploy.sandbox.cloud.credentials import Credentials
from hubdeploy.sandbox.cloud.fault import Faults
from hubdeploy.sandbox.cloud.follow import Follower
from hubdeploy.sandbox.cloud.server import Cloud
from hubdeploy.sandbox.cloud.settings import CloudSettings
from hubdeploy.sandbox.machines.simulated import Plan, SimulatedMachines

REGION = "eu-central-1"
_accounts = itertools.count(100_000_000_001)


class CloudAccount:
    """One test's AWS account.

    ``aws`` is the operator's :class:`~hubdeploy.aws.session.Aws`; ``calls`` logs what was called,
    ``faults`` injects, ``settings`` and ``plan`` (of the simulated machines) may be changed.
    """

    def __init__(
        self,
        cloud: Cloud,
        machines: SimulatedMachines,
        endpoint_url: str,
        *,
        account: str = "",
        region: str = REGION,
    ) -> None:
        self.cloud, self.machines, self.endpoint_url = cloud, machines, endpoint_url
        self.account = account or str(next(_accounts))
        self.region = region
        self.aws = self.session(cloud.operator(self.account))

    @property
    def calls(self) -> CallLog:
        return self.cloud.calls

    @property
    def faults(self) -> Faults:
        return self.cloud.faults

    @property
    def settings(self) -> CloudSettings:
        return self.cloud.settings

    @property
    def plan(self) -> Plan:
        return self.machines.plan

    @property
    def credentials(self) -> Credentials:
        """The operator's."""
        return self.cloud.operator(self.account)

    def session(self, credentials: Credentials) -> Aws:
        """An :class:`Aws` for any credentials of the embedded AWS."""
        keys = (credentials.access_key, credentials.secret_key, credentials.token)
        return Aws(region=self.region, endpoint_url=self.endpoint_url, credentials=keys)

    def elsewhere(self, region: str) -> CloudAccount:
        """The same account in another region."""
        return CloudAccount(
            self.cloud, self.machines, self.endpoint_url, account=self.account, region=region
        )

    def client(self, service: str) -> Any:
        """The operator's boto3 client."""
        return self.aws.client(service)

    def as_role(self, role: str, *, session: str = "i-0123456789abcdef0") -> Aws:
        """Calls with a role's credentials, held against its policies."""
        return self.session(self.cloud.role_credentials(self.account, role, session=session))

    def restricted(self, *policies: dict[str, Any]) -> Aws:
        """Calls of an operator who may do only what *policies* allow."""
        return self.session(self.cloud.operator(self.account, policies=policies))

    def backend(self, service: str) -> Any:
        """moto's own state of a service."""
        return self.cloud.backend(service, self.account, self.region)

    def environ(self) -> dict[str, str]:
        """For child processes that are to talk to this account."""
        return self.credentials.environ() | {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def wait(self, true: Callable[[], Any], *, what: str = "it", timeout: float = 10.0) -> Any:
        """The first true value; fails the test after *timeout* seconds."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            found = true()
            if found:
                return found
            time.sleep(0.01)
        raise AssertionError(f"{what} did not come true within {timeout} s")


@cache
def _shared_loader(search_path: str | None = None) -> botocore.loaders.Loader:
    """Each boto3 session reads AWS's service models anew, which takes longer than most tests."""
    extra = search_path.split(os.pathsep) if search_path else None
    return botocore.loaders.Loader(extra_search_paths=extra)


@pytest.fixture(scope="session", autouse=True)
def _models_are_read_once() -> Iterator[None]:
    # where it is called: botocore.session has imported the name long since
    original = botocore.session.create_loader
    botocore.session.create_loader = _shared_loader
    yield
    botocore.session.create_loader = original


@pytest.fixture(scope="session")
def cloud_server() -> Iterator[tuple[Cloud, SimulatedMachines, str]]:
    """One embedded AWS for the whole session; tests take accounts of it by ``cloud``."""
    cloud = Cloud()
    machines = SimulatedMachines(cloud)
    cloud.machines = machines
    follower = Follower(cloud, machines)
    follower.start()
    endpoint_url = cloud.listen()
    yield cloud, machines, endpoint_url
    follower.close()
    machines.close(remove=True)
    cloud.close()


@pytest.fixture
def cloud(
    cloud_server: tuple[Cloud, SimulatedMachines, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[CloudAccount]:
    """A fresh, strict AWS account with simulated machines."""
    server, machines, endpoint_url = cloud_server
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    server.settings = CloudSettings()
    server.faults.clear()
    server.calls.clear()
    machines.plan = Plan()
    machines.shell.ran.clear()
    commands = dict(machines.shell.commands)
    account = CloudAccount(server, machines, endpoint_url)
    yield account
    machines.shell.commands = commands
    machines.forget(account.account)
    server.forget(account.account)


class OutsideConnection(AssertionError):
    """A test tried to reach something that is not on this machine."""


def _inside(address: Any, *, networks: bool) -> bool:
    try:
        ip = ipaddress.ip_address(str(address).partition("%")[0])
    except ValueError:
        # a name: whatever it resolves to is looked at when it is connected to
        return True
    return ip.is_loopback or ip.is_unspecified or (networks and ip.is_private)


@pytest.fixture(autouse=True)
def _only_this_machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test connects to anything but loopback; tests with machines also to their networks.

    moto invents public addresses, which belong to strangers.
    """
    networks = request.node.get_closest_marker("docker") is not None
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def check(sock: socket.socket, address: Any) -> None:
        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            return
        if not _inside(address[0], networks=networks):
            raise OutsideConnection(f"a connection to {address[0]}:{address[1]} was attempted")

    def guarded(self: socket.socket, address: Any) -> None:
        check(self, address)
        connect(self, address)

    def guarded_ex(self: socket.socket, address: Any) -> int:
        check(self, address)
        return connect_ex(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_ex)
