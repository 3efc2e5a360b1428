"""A real hub against the stand-in swarm, one a module, for tests that only need users of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.dockerapi import FakeSwarm
from tests.plugins.dockerswarm import GIB


@pytest.fixture
def swarm() -> Iterator[FakeSwarm]:
    """Three workers of 8 GiB and a drained leader."""
    with FakeSwarm() as running:
        add_workers(running)
        yield running


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path


def add_workers(swarm: FakeSwarm, count: int = 3) -> None:
    """Workers w1 …, on loopback addresses of their own, and the leader."""
    swarm.add_node("leader", role="manager", availability="drain", address="127.0.7.250")
    for number in range(1, count + 1):
        swarm.add_node(f"w{number}", memory=8 * GIB, cpu=8, address=f"127.0.7.{number}")
