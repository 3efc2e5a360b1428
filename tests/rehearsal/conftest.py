"""One rehearsal for all its tests, and nothing of it left afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hubdeploy.sandbox import engine
from hubdeploy.sandbox.machines import cleanup
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
        ended = stage.run("down", "--yes", "--delete-files", stage.name, check=False)
    assert ended.returncode == 0, ended.stderr
    # the engine may have ended with the rehearsal, which had started it
    client = engine.connect(state=stage.folder).client
    assert cleanup.leftovers(client, sandbox=stage.name) == []
    assert client.volumes.list(filters={"label": f"hubdeploy.sandbox={stage.name}"}) == []
    assert not list((stage.folder / "state/hubdeploy/sandbox" / stage.name).glob("state.json"))
    engine.stop_started(state=stage.folder)


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
