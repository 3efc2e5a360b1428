"""What tests measured, at the end of the run; whichever worker it was measured in."""

from __future__ import annotations

from typing import Any

import pytest

LINES = pytest.StashKey[list[str]]()
_SENT = "hubdeploy_measured"


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LINES] = []


@pytest.fixture(scope="session")
def measured(pytestconfig: pytest.Config) -> list[str]:
    """Lines for the end of the run."""
    return pytestconfig.stash[LINES]


def pytest_sessionfinish(session: pytest.Session) -> None:
    sent: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if sent is not None:
        sent[_SENT] = session.config.stash[LINES]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    # a worker that crashed has sent nothing
    node.config.stash[LINES] += getattr(node, "workeroutput", {}).get(_SENT, [])


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if config.stash[LINES]:
        terminalreporter.section("measured")
        for line in config.stash[LINES]:
            terminalreporter.write_line(line)
