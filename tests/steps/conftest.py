"""An account that lasts for a module, for tests that share one deployment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hubdeploy.sandbox.cloud.server import Cloud
from hubdeploy.sandbox.cloud.settings import CloudSettings
from hubdeploy.sandbox.machines.simulated import Plan, SimulatedMachines
from tests.plugins.aws import CloudAccount


@pytest.fixture(scope="module")
def module_cloud(cloud_server: tuple[Cloud, SimulatedMachines, str]) -> Iterator[CloudAccount]:
    """As ``cloud``, for a whole module."""
    server, machines, endpoint_url = cloud_server
    server.settings = CloudSettings()
    server.faults.clear()
    machines.plan = Plan()
    account = CloudAccount(server, machines, endpoint_url)
    yield account
    machines.forget(account.account)
    server.forget(account.account)
