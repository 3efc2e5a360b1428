"""Fixtures of the embedded AWS's own tests."""

from __future__ import annotations

import pytest

from tests.plugins.aws import CloudAccount
from tests.sandbox.cloud.world import World


@pytest.fixture
def world(cloud: CloudAccount) -> World:
    """An account with a VPC, a role and an image."""
    return World(cloud)
