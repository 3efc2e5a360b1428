"""The health check's walk, where it can be without a kernel: the rest is in test_machines."""

from __future__ import annotations

from pathlib import Path

from hubdeploy.hub import walk
from hubdeploy.hub.client import DOCTOR_USER, HubClient
from tests.hub.conftest import add_workers
from tests.plugins.dockerapi import FakeSwarm
from tests.plugins.dockerscript import Script
from tests.plugins.hubprocess import DOCTOR_TOKEN, hub_settings, running_hub


def test_a_walk_names_what_went_wrong_and_leaves_no_server_behind(tmp_path: Path) -> None:
    with FakeSwarm(notebooks=True) as swarm:
        add_workers(swarm, 1)
        with running_hub(tmp_path, swarm.url, hub_settings()) as hub:
            client = HubClient(hub.url, DOCTOR_USER, token=DOCTOR_TOKEN)
            # the stand-in's notebooks are no JupyterLab
            found = walk.walk(client, seconds=30)
            assert not found.ok
            assert "is not JupyterLab" in found.error
            assert set(found.steps) == {"hub", "start", "lab"}
            assert found.told.startswith("Server ready")
            assert swarm.services() == {}
            swarm.script(Script(reject="No such image: x"))
            found = walk.walk(client, seconds=30)
            assert "could not be pulled" in found.error


def test_a_hub_that_does_not_answer_is_named() -> None:
    client = HubClient("http://127.0.0.1:9", DOCTOR_USER, token=DOCTOR_TOKEN, timeout=2)
    found = walk.walk(client)
    assert "127.0.0.1:9" in found.error
    assert DOCTOR_TOKEN not in found.error
