"""Fixtures that all tests may use."""

import signal
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler.loadscope import LoadScopeScheduling

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of machines: whichever comes first builds the images, which takes some minutes; the
    rehearsal, which takes the longest, begins first."""
    machines = [item for item in items if item.get_closest_marker("docker")]
    for item in machines:
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(900))
    items.sort(key=lambda item: (item not in machines, item.path.parent.name != "rehearsal"))


class Folders(LoadScopeScheduling):  # type: ignore[misc]
    """One worker has all tests of a folder, as those of machines share their machines."""

    def _split_scope(self, nodeid: str) -> str:
        return str(Path(nodeid.partition("::")[0]).parent)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Folders | None:
    return Folders(config, log) if config.getvalue("dist") == "loadscope" else None
