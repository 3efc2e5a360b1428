"""The real hub and its real proxy, driven as users drive them, against the stand-in swarm."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from hubdeploy.config.limits import Limits
from hubdeploy.hub.client import HubClient, HubClientError
from hubdeploy.hub.config import DOCTOR_USER
from tests.hub.conftest import add_workers
from tests.plugins.dockerapi import FakeSwarm
from tests.plugins.dockerscript import Script
from tests.plugins.dockerswarm import GIB
from tests.plugins.fleetstub import Fleet
from tests.plugins.hubprocess import (
    ADMIN_PASSWORD,
    DOCTOR_TOKEN,
    USER_PASSWORD,
    HubProcess,
    hub_settings,
    running_hub,
)

PROFILES = [
    {"name": "small", "title": "Small", "memory": "1G", "cpu": 0.25},
    {"name": "big", "title": "Big", "memory": "4G", "cpu": 1, "image": "big:1"},
]
SETTINGS = hub_settings(
    authenticator={"kind": "shared-password", "allow_all": True},
    admins=["boss"],
    profiles=PROFILES,
    named_servers=1,
    announcement="Maintenance on Sunday",
    title="Classroom",
    environment={"COURSE": "physics"},
    user_environment={"ann": {"GROUP": "a"}},
    logo="https://school.test/logo.svg",
    shared_folders=[
        {"name": "course", "mount": "/home/jovyan/course"},
        {"name": "common", "mount": "/home/jovyan/common", "writable": True},
    ],
    start_timeout="60s",
)


@pytest.fixture(scope="module")
def swarm() -> Iterator[FakeSwarm]:
    with FakeSwarm(notebooks=True) as running:
        add_workers(running)
        yield running


@pytest.fixture(scope="module")
def hub(swarm: FakeSwarm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    state = tmp_path_factory.mktemp("hub")
    with running_hub(state, swarm.url, SETTINGS, extra="c.Spawner.poll_interval = 1") as running:
        yield running


@pytest.fixture
def as_user(hub: HubProcess, swarm: FakeSwarm) -> Iterator[Callable[..., HubClient]]:
    """A logged-in client of a user; what they left running is stopped afterwards."""
    clients: list[HubClient] = []

    def make(user: str, password: str = USER_PASSWORD) -> HubClient:
        client = HubClient(hub.url, user)
        client.login(password)
        clients.append(client)
        return client

    yield make
    for client in clients:
        for name in list(client.api("GET", f"/users/{client.user}")["servers"]):
            client.stop(name=name)
    swarm._do(swarm.cluster.scripts.clear)


def until(condition: Callable[[], Any], *, seconds: float = 20.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.1)
    return found


def env_of(swarm: FakeSwarm, service: str) -> dict[str, str]:
    spec = swarm.services()[service]["Spec"]["TaskTemplate"]["ContainerSpec"]
    return dict(line.partition("=")[::2] for line in spec["Env"])


def _owner_and_mode(path: Path) -> tuple[int, int, int]:
    about = path.stat()
    return about.st_uid, about.st_gid, stat.S_IMODE(about.st_mode)


def test_a_user_logs_in_starts_and_stops_a_server(
    as_user: Callable[..., HubClient], swarm: FakeSwarm, hub: HubProcess
) -> None:
    ann = as_user("ann")
    told: list[str] = []
    seconds = ann.start(told=lambda message, _percent: told.append(message))
    assert seconds < 10
    assert told[-1].startswith("Server ready")
    assert requests.get(f"{hub.url}/user/ann/api", timeout=5).json() == {"version": "2.14.0"}
    assert (hub.state / "homes/ann").is_dir()
    environment = env_of(swarm, "nb-ann")
    assert environment["COURSE"] == "physics"
    assert environment["GROUP"] == "a"
    mounts = swarm.services()["nb-ann"]["Spec"]["TaskTemplate"]["ContainerSpec"]["Mounts"]
    assert {m["Target"]: (m["Source"], m["ReadOnly"]) for m in mounts} == {
        "/home/jovyan": (f"{hub.state}/homes/ann", False),
        "/home/jovyan/course": (f"{hub.state}/shared/course", True),
        "/home/jovyan/common": (f"{hub.state}/shared/common", False),
    }
    # the user's own is nobody else's; a course's belongs to root, who fills it
    assert _owner_and_mode(hub.state / "homes/ann") == (1000, 100, 0o700)
    assert _owner_and_mode(hub.state / "shared/course") == (0, 0, 0o755)
    assert _owner_and_mode(hub.state / "shared/common") == (1000, 100, 0o2775)
    ann.stop()
    assert "nb-ann" not in swarm.services()
    assert (hub.state / "homes/ann").is_dir()


def test_a_wrong_password_is_refused(hub: HubProcess) -> None:
    with pytest.raises(HubClientError, match="login of ann was refused"):
        HubClient(hub.url, "ann").login("wrong")


def test_the_pages_bear_title_announcement_and_profiles(
    as_user: Callable[..., HubClient],
) -> None:
    bob = as_user("bob")
    page = bob._request("GET", "/hub/spawn").text
    assert "<title>Classroom</title>" in page.replace("\n", "")
    assert "Maintenance on Sunday" in page
    assert '<img src="https://school.test/logo.svg" alt="">Classroom' in page
    assert 'value="big"' in page
    assert "1 GiB of memory, 0.25 CPU" in page


def test_a_profile_decides_size_and_image_and_nothing_else_does(
    as_user: Callable[..., HubClient], swarm: FakeSwarm
) -> None:
    bob = as_user("bob")
    bob.start(options={"profile": "big"})
    template = swarm.services()["nb-bob"]["Spec"]["TaskTemplate"]
    assert template["ContainerSpec"]["Image"] == "big:1"
    assert template["Resources"]["Reservations"]["MemoryBytes"] == 4 * GIB
    bob.stop()
    with pytest.raises(HubClientError, match=r"400.*no such option: image"):
        bob.start(options={"image": "evil:1"})
    with pytest.raises(HubClientError, match=r"400.*no such profile"):
        bob.start(options={"profile": "huge"})
    assert "nb-bob" not in swarm.services()


def test_a_user_may_have_a_named_server_beside_the_first(
    as_user: Callable[..., HubClient], swarm: FakeSwarm
) -> None:
    cid = as_user("cid")
    cid.start()
    cid.start(name="second")
    mine = [s for s in swarm.services().values() if s["Spec"]["Labels"]["hubdeploy.user"] == "cid"]
    assert {s["Spec"]["Labels"]["hubdeploy.server"] for s in mine} == {"", "second"}
    with pytest.raises(HubClientError) as caught:
        cid.start(name="third")
    assert caught.value.status == 400
    assert "maximum of 1 named servers" in caught.value.message


def test_the_health_check_has_a_server_of_its_own_by_token(
    hub: HubProcess, swarm: FakeSwarm
) -> None:
    doctor = HubClient(hub.url, DOCTOR_USER, token=DOCTOR_TOKEN)
    assert doctor.health()
    doctor.ensure_user()
    doctor.start()
    assert f"nb-{DOCTOR_USER}" in swarm.services()
    doctor.stop()
    stranger = HubClient(hub.url, "ann", token=DOCTOR_TOKEN)
    with pytest.raises(HubClientError) as caught:
        stranger.start()
    assert caught.value.status in (403, 404)


def test_the_schedulers_own_words_reach_the_user(
    as_user: Callable[..., HubClient], swarm: FakeSwarm
) -> None:
    swarm.script(Script(name="nb-dan", reject="No such image: small:9"))
    dan = as_user("dan")
    with pytest.raises(HubClientError, match=r"could not be pulled \(No such image: small:9"):
        dan.start()
    assert "nb-dan" not in swarm.services()


def test_a_slow_start_tells_what_it_waits_for(
    as_user: Callable[..., HubClient], swarm: FakeSwarm
) -> None:
    swarm.script(Script(name="nb-eve", delays={"preparing": 3.0}))
    told: list[str] = []
    as_user("eve").start(told=lambda message, _percent: told.append(message))
    assert any("Preparing the image" in message for message in told)


def test_a_server_that_swarm_lost_is_followed_and_the_proxy_told(
    as_user: Callable[..., HubClient], swarm: FakeSwarm, hub: HubProcess
) -> None:
    fay = as_user("fay")
    fay.start()
    before = swarm.tasks("nb-fay")[-1]["NodeID"]
    begun = time.monotonic()
    swarm.set_node(before, state="down")
    try:
        until(
            lambda: (
                swarm.tasks("nb-fay")[-1]["NodeID"] != before
                and requests.get(f"{hub.url}/user/fay/api", timeout=5).status_code == 200
            )
        )
        assert time.monotonic() - begun < 10
        assert fay.server() is not None
    finally:
        swarm.set_node(before, state="ready")


def test_a_server_that_ended_by_itself_is_over_and_cleared_away(
    as_user: Callable[..., HubClient], swarm: FakeSwarm, hub: HubProcess
) -> None:
    gus = as_user("gus")
    gus.start()
    swarm.end_task("nb-gus", exit_code=137)
    until(lambda: gus.server() is None)
    assert "nb-gus" not in swarm.services()
    words = "ran out of memory (it had 1 GiB)"
    assert words in hub.log.read_text()
    # its user reads it on the page that is there in the server's place, until the next start
    assert words in gus._request("GET", "/hub/user/gus/lab", check=False).text
    hub.restart()
    assert words in gus._request("GET", "/hub/user/gus/lab", check=False).text
    gus.start()
    gus.stop()
    assert words not in gus._request("GET", "/hub/user/gus/lab", check=False).text


def test_servers_outlive_a_restart_of_the_hub_also_on_their_way(
    as_user: Callable[..., HubClient], swarm: FakeSwarm, hub: HubProcess
) -> None:
    hal, ivy = as_user("hal"), as_user("ivy")
    hal.start()
    before = swarm.tasks("nb-hal")[-1]["ID"]
    swarm.script(Script(name="nb-ivy", delays={"preparing": 8.0}))
    ivy.api("POST", "/users/ivy/server", json={})
    swarm.wait(lambda: swarm.tasks("nb-ivy"))
    hub.stop_hub()
    # the proxy goes on serving while there is no hub
    assert requests.get(f"{hub.url}/user/hal/api", timeout=5).status_code == 200
    hub._start_hub(hub.state / "jupyterhub_config.py")
    assert swarm.tasks("nb-hal")[-1]["ID"] == before
    assert until(lambda: (hal.server() or {}).get("ready"))
    assert until(lambda: (ivy.server() or {}).get("ready"), seconds=40)
    assert len(swarm.tasks("nb-ivy")) == 1
    assert until(lambda: requests.get(f"{hub.url}/user/ivy/api", timeout=5).status_code == 200)


def test_only_admins_with_their_own_password_are_admins(
    as_user: Callable[..., HubClient], hub: HubProcess
) -> None:
    assert as_user("boss", ADMIN_PASSWORD).api("GET", "/user")["admin"] is True
    assert as_user("ann").api("GET", "/user")["admin"] is False
    with pytest.raises(HubClientError):
        HubClient(hub.url, "boss").login(USER_PASSWORD)


def test_native_accounts_wait_for_an_admins_approval(tmp_path: Path, swarm: FakeSwarm) -> None:
    with running_hub(tmp_path, swarm.url, hub_settings(admins=["boss"])) as hub:
        kim = HubClient(hub.url, "kim")
        kim.sign_up("correct horse battery")
        with pytest.raises(HubClientError):
            kim.login("correct horse battery")
        boss = HubClient(hub.url, "boss")
        boss.login(ADMIN_PASSWORD)
        assert "kim" in boss._request("GET", "/hub/authorize").text
        boss._request("GET", "/hub/authorize/kim")
        kim.login("correct horse battery")
        assert kim.api("GET", "/user")["name"] == "kim"
        assert "Approve accounts" in boss._request("GET", "/hub/home").text
        assert "Approve accounts" not in kim._request("GET", "/hub/home").text
        changed = {
            "old_password": "correct horse battery",
            "new_password": "staple in a haystack",
            "new_password_confirmation": "staple in a haystack",
            "_xsrf": kim._cookie("/hub/"),
        }
        kim._request("POST", "/hub/change-password", data=changed)
        again = HubClient(hub.url, "kim")
        with pytest.raises(HubClientError):
            again.login("correct horse battery")
        again.login("staple in a haystack")


def test_beyond_the_limit_of_users_there_is_a_clear_refusal(
    tmp_path: Path, swarm: FakeSwarm
) -> None:
    settings = hub_settings(authenticator={"kind": "shared-password", "allow_all": True})
    # the hub's own count is out of the way: the limits themselves refuse
    extra = (
        'c.JupyterHub.active_server_limit = 0\nc.HubSpawner.limits = {"max_concurrent_users": 1}'
    )
    with running_hub(tmp_path, swarm.url, settings, extra=extra) as hub:
        lee, mia = HubClient(hub.url, "lee"), HubClient(hub.url, "mia")
        lee.login(USER_PASSWORD)
        mia.login(USER_PASSWORD)
        lee.start()
        with pytest.raises(HubClientError, match="All 1 places are taken") as caught:
            mia.start()
        assert caught.value.status == 429
        lee.stop()
        mia.start()
        mia.stop()


def test_the_fleets_word_and_its_live_limits_hold(tmp_path: Path, swarm: FakeSwarm) -> None:
    settings = hub_settings(authenticator={"kind": "shared-password", "allow_all": True})
    token = tmp_path / "token"
    token.write_text("t0ken")
    with Fleet() as fleet:
        fleet.limits = json.loads(Limits(max_concurrent_users=2).to_json())
        extra = f"""
c.JupyterHub.active_server_limit = 1
c.Spawner.poll_interval = 1
c.HubSpawner.fleet_url = {fleet.url!r}
c.HubSpawner.fleet_token_file = {str(token)!r}
"""
        with running_hub(tmp_path, swarm.url, settings, extra=extra) as hub:
            nan, oli = HubClient(hub.url, "nan"), HubClient(hub.url, "oli")
            nan.login(USER_PASSWORD)
            oli.login(USER_PASSWORD)
            fleet.answer = {"allowed": False, "reason": "The shared disk is full."}
            with pytest.raises(HubClientError, match="The shared disk is full") as caught:
                nan.start()
            assert caught.value.status == 429
            fleet.answer = {"allowed": True}
            nan.start()
            # an admin raised the limit from 1 to 2 meanwhile: the hub's own bound follows
            until(lambda: "At most 2 servers may be active now" in hub.log.read_text())
            oli.start()
            nan.stop()
            oli.stop()
