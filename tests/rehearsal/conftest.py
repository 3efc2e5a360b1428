"""One rehearsal for all its tests, and nothing of it left afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rehearsal.stage import CONFIG, Stage


@pytest.fixture(scope="session")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A deployment that is up, of containers."""
    stage = Stage(folder=tmp_path_factory.mktemp("rehearsal"), name="stage")
    stage.config.write_text(CONFIG.format(name=stage.name, cidr="10.143.0.0/16"))
    try:
        stage.up()
        yield stage
    finally:
        stage.run("down", "--yes", "--delete-files", stage.name, check=False)


@pytest.fixture
def stage(rehearsal: Stage) -> Stage:
    """The rehearsal with no server running."""
    rehearsal.quiet()
    return rehearsal


@pytest.fixture(scope="session")
def pictures() -> Path:
    """Where screenshots are kept."""
    folder = Path(__file__).parents[1] / "artifacts"
    folder.mkdir(exist_ok=True)
    return folder
