"""Fixtures that all tests may use."""

import signal

import pytest

pytest_plugins = [
    "tests.plugins.aws",
    "tests.plugins.standing",
    "tests.plugins.metadata",
    "tests.plugins.deployment",
    "tests.plugins.measured",
]


def pytest_configure() -> None:
    """A shell has SIGINT ignored in what it runs in the background, and so in all that tests start:
    then hubs do not end their services, and nobody can interrupt a question."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of machines: whichever comes first builds the images, which takes some minutes; those
    of a folder share machines, so that one worker has them all; the longest begin first."""
    machines = [item for item in items if item.get_closest_marker("docker")]
    for item in machines:
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(900))
        item.add_marker(pytest.mark.xdist_group(item.path.parent.name))
    items.sort(key=lambda item: (item not in machines, item.path.parent.name != "rehearsal"))
