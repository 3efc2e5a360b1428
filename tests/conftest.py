"""Fixtures that all tests may use."""

import signal

import pytest

pytest_plugins = [
    "tests.plugins.aws",
    "tests.plugins.standing",
    "tests.plugins.metadata",
    "tests.plugins.deployment",
]


def pytest_configure() -> None:
    """A shell has SIGINT ignored in what it runs in the background, and so in all that tests start:
    then hubs do not end their services, and nobody can interrupt a question."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whichever test of machines comes first builds the images, which takes some minutes."""
    for item in items:
        if item.get_closest_marker("docker") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(900))
