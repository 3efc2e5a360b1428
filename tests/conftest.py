"""Fixtures that all tests may use."""

import pytest

pytest_plugins = [
    "tests.plugins.aws",
    "tests.plugins.standing",
    "tests.plugins.metadata",
    "tests.plugins.deployment",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whichever test of machines comes first builds the images, which takes some minutes."""
    for item in items:
        if item.get_closest_marker("docker") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(900))
