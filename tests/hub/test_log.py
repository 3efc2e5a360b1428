"""What the hub writes to the journal, through its own process."""

from __future__ import annotations

from pathlib import Path

import pytest

from hubdeploy.hub.client import HubClient, HubClientError
from tests.hub.conftest import add_workers
from tests.hub.test_hub import env_of, until
from tests.plugins.dockerapi import FakeSwarm
from tests.plugins.dockerscript import Script
from tests.plugins.hubprocess import USER_PASSWORD, HubProcess, hub_settings, running_hub


def _lost_and_refused(hub: HubProcess, swarm: FakeSwarm) -> str:
    """One server loses its machine and moves, another one is refused. A token in use."""
    ann, bob = HubClient(hub.url, "ann"), HubClient(hub.url, "bob")
    for client in (ann, bob):
        client.login(USER_PASSWORD)
    ann.start()
    there = swarm.tasks("nb-ann")[-1]["NodeID"]
    swarm.set_node(there, state="down")
    until(lambda: swarm.tasks("nb-ann")[-1]["NodeID"] != there)
    swarm.set_node(there, state="ready")
    swarm.script(Script(name="nb-bob", reject="No such image: small:9"))
    with pytest.raises(HubClientError):
        bob.start()
    token = env_of(swarm, "nb-ann")["JUPYTERHUB_API_TOKEN"]
    ann.stop()
    return token


@pytest.mark.parametrize("level", ["info", "error"])
def test_the_spawners_doings_are_in_the_hubs_log_by_its_level_and_no_secret_is(
    tmp_path: Path, level: str
) -> None:
    settings = hub_settings(
        authenticator={"kind": "shared-password", "allow_all": True},
        log_level=level,
        user_environment={"ann": {"DATABASE_PASSWORD": "of-anns-environment"}},
    )
    with FakeSwarm(notebooks=True) as swarm:
        add_workers(swarm)
        extra = "c.Spawner.poll_interval = 1"
        with running_hub(tmp_path, swarm.url, settings, extra=extra) as hub:
            token = _lost_and_refused(hub, swarm)
            text = hub.log.read_text()
    shown = {
        words: words in text
        for words in ("nb-ann lost its place on", "nb-ann goes to", "nb-bob refused by")
    }
    assert set(shown.values()) == {level == "info"}, (shown, text)
    assert text.count("nb-ann goes to") <= 1, "said twice"
    files = (tmp_path / "secrets").iterdir()
    secrets = {token, "of-anns-environment", *(file.read_text().strip() for file in files)}
    assert len(secrets) > 5
    assert not [secret for secret in secrets if not secret or secret in text]
