"""Servers that the hub does not know of: a real hub, the stand-in swarm, the sweep itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
from docker import APIClient

from hubdeploy.config.names import LABEL_DEPLOYMENT, LABEL_SERVER, LABEL_USER
from hubdeploy.hub.client import HubClient
from hubdeploy.hub.fleet.act import Done
from hubdeploy.hub.fleet.orphans import Hub, HubUnknown, Sweeper, suspects
from hubdeploy.hub.fleet.swarm import Swarm
from hubdeploy.hub.fleet.wiring import hub_role
from tests.hub.conftest import add_workers
from tests.plugins.dockerapi import FakeSwarm, Fault
from tests.plugins.dockerscript import Script
from tests.plugins.hubprocess import USER_PASSWORD, HubProcess, hub_settings, running_hub

TOKEN = "f1ee7" * 10
LATER = 3600.0


@dataclass
class Scene:
    """A hub with ``ann`` (running), ``bob`` (starting) and ``cid`` (known, without a server)."""

    hub: HubProcess
    swarm: FakeSwarm
    noted: list[Done] = field(default_factory=list)

    def add(self, user: str, *, server: str = "", deployment: str = "classroom") -> str:
        """A service as the spawner makes it, which the hub did not make."""
        name = f"nb-{user}{server}-left"
        labels = {LABEL_USER: user, LABEL_SERVER: server, LABEL_DEPLOYMENT: deployment}
        never = {"Condition": "none"}
        template = {"ContainerSpec": {"Image": "notebook:1"}, "RestartPolicy": never}
        self.docker.create_service(template, name=name, labels=labels)
        return name

    @property
    def docker(self) -> Any:
        return APIClient(base_url=self.swarm.url, version="1.41")

    def sweeper(self, *, token: str = TOKEN, later: float = LATER) -> Sweeper:
        return Sweeper(
            Swarm(self.swarm.url),
            Hub(f"http://127.0.0.1:{self.hub.hub_port}/hub/api", token),
            deployment="classroom",
            note=lambda _, done: self.noted.append(done),
            clock=lambda: time.time() + later,
        )


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    settings = hub_settings(authenticator={"kind": "shared-password", "allow_all": True})
    extra = f"""
c.JupyterHub.services = [s for s in c.JupyterHub.services if s["name"] != "fleet"]
c.JupyterHub.services.append({{"name": "fleet", "api_token": {TOKEN!r}}})
c.JupyterHub.services.append({{"name": "other", "api_token": {TOKEN[::-1]!r}}})
c.JupyterHub.load_roles.append(
    {{"name": "other", "services": ["other"], "scopes": ["list:users"]}})
assert {hub_role()!r} in c.JupyterHub.load_roles
"""
    state = tmp_path_factory.mktemp("hub")
    with FakeSwarm(notebooks=True) as swarm:
        add_workers(swarm)
        swarm.script(Script(name="nb-bob", delays={"preparing": 300.0}))
        with running_hub(state, swarm.url, settings, extra=extra) as hub:
            ann, bob, cid = (HubClient(hub.url, user) for user in ("ann", "bob", "cid"))
            for client in (ann, bob, cid):
                client.login(USER_PASSWORD)
            ann.start()
            bob.api("POST", "/users/bob/server", json={})
            swarm.wait(lambda: swarm.tasks("nb-bob"))
            yield Scene(hub, swarm)


@pytest.fixture
def scene(stage: Scene) -> Iterator[Scene]:
    stage.noted.clear()
    yield stage
    for name in set(stage.swarm.services()) - {"nb-ann", "nb-bob"}:
        stage.docker.remove_service(name)


def test_only_what_the_hub_does_not_know_is_removed_and_only_at_the_second_look(
    scene: Scene,
) -> None:
    gone = [scene.add("zoe"), scene.add("cid"), scene.add("ann", server="second")]
    other = scene.add("zoe", server="b", deployment="another")
    folder = scene.hub.state / "homes/zoe"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    sweeper = scene.sweeper()
    assert sweeper.sweep() == []
    assert set(scene.swarm.services()) == {"nb-ann", "nb-bob", other, *gone}
    assert sorted(orphan.name for orphan in sweeper.sweep()) == sorted(gone)
    assert set(scene.swarm.services()) == {"nb-ann", "nb-bob", other}
    assert (folder / "thesis.txt").read_text() == "years of work"
    assert sorted(done.action.subject for done in scene.noted) == sorted(gone)
    assert all("the hub knows no such server" in done.action.reason for done in scene.noted)
    assert sweeper.sweep() == []


def test_what_changed_a_short_time_ago_is_left_alone(scene: Scene) -> None:
    name = scene.add("zoe")
    sweeper = scene.sweeper(later=300)
    assert sweeper.sweep() == sweeper.sweep() == []
    assert name in scene.swarm.services()


def test_a_new_service_by_the_same_name_is_a_new_suspect(scene: Scene) -> None:
    name = scene.add("zoe")
    sweeper = scene.sweeper()
    sweeper.sweep()
    scene.docker.remove_service(name)
    scene.add("zoe")
    assert sweeper.sweep() == []
    assert name in scene.swarm.services()


@pytest.mark.parametrize("token", ["wrong", TOKEN[::-1]])
def test_without_the_hubs_word_nothing_is_removed(scene: Scene, token: str) -> None:
    name = scene.add("zoe")
    sweeper = scene.sweeper(token=token)
    for _ in range(2):
        with pytest.raises(HubUnknown):
            sweeper.sweep()
    assert name in scene.swarm.services()


def test_a_hub_that_learnt_of_the_server_meanwhile_keeps_it(scene: Scene) -> None:
    # as a listing in pages may miss a user: suspected twice, but the hub knows this one
    sweeper = scene.sweeper()
    sweeper._hub.servers = dict  # type: ignore[method-assign]
    assert sweeper.sweep() == sweeper.sweep() == []
    assert {"nb-ann", "nb-bob"} <= set(scene.swarm.services())


def test_a_removal_that_docker_refuses_is_written_down_and_tried_again(scene: Scene) -> None:
    name = scene.add("zoe")
    sweeper = scene.sweeper()
    sweeper.sweep()
    scene.swarm.fault(Fault(times=1, path="/services/", method="DELETE"))
    assert sweeper.sweep() == []
    assert [(done.ok, done.action.subject) for done in scene.noted] == [(False, name)]
    assert [orphan.name for orphan in sweeper.sweep()] == [name]


def test_the_fleet_may_see_who_has_servers_and_no_more(scene: Scene) -> None:
    api = f"http://127.0.0.1:{scene.hub.hub_port}/hub/api"
    headers = {"Authorization": f"token {TOKEN}"}
    seen = requests.get(f"{api}/users/ann", headers=headers, timeout=10).json()
    assert set(seen) <= {"kind", "name", "admin", "user_info", "servers"}
    assert "state" not in seen["servers"][""]
    for method, path in (
        ("DELETE", "/users/ann/server"),
        ("POST", "/users/cid/server"),
        ("POST", "/users/ann/tokens"),
        ("DELETE", "/users/cid"),
        ("GET", "/proxy"),
    ):
        answer = requests.request(method, f"{api}{path}", headers=headers, timeout=10)
        assert answer.status_code in (403, 404), (method, path, answer.status_code)


def test_users_of_more_than_one_page_are_all_known(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubdeploy.hub.fleet.orphans.PAGE", 1)
    hub = Hub(f"http://127.0.0.1:{scene.hub.hub_port}/hub/api", TOKEN)
    assert hub.servers() == {"ann": frozenset({""}), "bob": frozenset({""})}
    assert hub.servers_of("cid") == hub.servers_of("nobody/here") == frozenset()


def test_what_is_not_a_users_server_is_never_a_suspect() -> None:
    service = {"ID": "x", "CreatedAt": "2026-01-01T00:00:00Z", "Spec": {"Name": "registry"}}
    assert suspects([service], {}, deployment="", now=time.time()) == []
