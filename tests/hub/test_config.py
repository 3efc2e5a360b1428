"""The configuration is loaded by the real JupyterHub, for every way of logging in."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyterhub.app import JupyterHub
from traitlets.config import Config

from hubdeploy.config.limits import Limits
from hubdeploy.errors import ConfigError
from hubdeploy.hub import secrets
from hubdeploy.hub.config import CONCURRENT_SPAWNS, FreshResolver, configure, doctor_scopes
from hubdeploy.hub.progress import Times
from hubdeploy.hub.secrets import SecretError
from hubdeploy.hub.tasks import Stage
from tests.plugins.hubprocess import ADMIN_PASSWORD, hub_settings, write_secrets

AUTHENTICATORS: dict[str, dict[str, Any]] = {
    "native": {},
    "shared-password": {"allow_all": True},
    "dummy": {},
    "github": {"client_id": "id", "allowed_organizations": ["school"]},
    "google": {"client_id": "id", "allowed_organizations": ["school.example.org"]},
    "oidc": {
        "client_id": "id",
        "authorize_url": "https://idp.example.org/auth",
        "token_url": "https://idp.example.org/token",
        "userdata_url": "https://idp.example.org/me",
    },
    "cilogon": {
        "client_id": "cilogon:/client_id/1",
        "allowed_organizations": ["https://idp.example.org/shibboleth"],
    },
    "lti13": {
        "client_id": "id",
        "issuer": "https://lms.example.org",
        "authorize_url": "https://lms.example.org/auth",
        "jwks_url": "https://lms.example.org/jwks",
    },
}
PROFILES: dict[str, list[dict[str, Any]]] = {
    "no profiles": [],
    "profiles": [
        {"name": "small", "title": "Small"},
        {"name": "big", "title": "Big", "memory": "8G", "instance_type": "r6i.large"},
    ],
}


@pytest.fixture
def app() -> Iterator[JupyterHub]:
    yield JupyterHub()
    JupyterHub.clear_instance()


def configured(tmp_path: Path, settings: dict[str, Any], **shown: Any) -> Config:
    file = tmp_path / "hub.json"
    file.write_text(json.dumps(settings))
    folder = write_secrets(tmp_path / "secrets")
    c = Config()
    for name, value in shown.items():
        c.HubFleet[name] = value
    configure(c, file, folder, address="10.1.2.3", state_dir=tmp_path)
    return c


def loaded(app: JupyterHub, tmp_path: Path, settings: dict[str, Any]) -> JupyterHub:
    """The application as ``jupyterhub -f FILE`` sets it up, before it begins to listen."""
    (tmp_path / "hub.json").write_text(json.dumps(settings))
    folder = write_secrets(tmp_path / "secrets")
    config = tmp_path / "jupyterhub_config.py"
    config.write_text(
        f"""
c = get_config()
c.HubFleet.max_cluster_memory = "64G"
c.HubFleet.max_concurrent_users = 100
c.HubFleet.max_disk_utilization = "500G"
from hubdeploy.hub.config import configure
configure(c, settings_file="{tmp_path}/hub.json", secrets_dir="{folder}",
          state_dir="{tmp_path}", address="127.0.0.1")
"""
    )
    asyncio.run(app.initialize(["-f", str(config)]))
    return app


@pytest.mark.parametrize("tls", ["letsencrypt", "own", "self-signed"])
@pytest.mark.parametrize("profiles", PROFILES)
@pytest.mark.parametrize("kind", AUTHENTICATORS)
def test_jupyterhub_takes_every_combination(
    tmp_path: Path, app: JupyterHub, kind: str, profiles: str, tls: str
) -> None:
    settings = hub_settings(
        authenticator={"kind": kind, **AUTHENTICATORS[kind]},
        profiles=PROFILES[profiles],
        admins=["boss"],
        named_servers=2,
        announcement="Closed <on> Sunday\nOpen on Monday",
        shared_folders=[{"name": "course", "mount": "/home/jovyan/course"}],
    )
    settings["tls"]["kind"] = tls
    hub = loaded(app, tmp_path, settings)
    assert hub.spawner_class.__name__ == "HubSpawner"
    assert {service["name"] for service in hub.services} == {"fleet", "idle-culler", "doctor"}
    assert hub.authenticator.admin_users == {"boss"}
    assert hub.active_server_limit == 300
    assert not hub.cleanup_servers
    spawner = hub.users["boss"].spawner
    assert bool(asyncio.run(spawner.get_options_form())) == (profiles == "profiles")
    assert spawner.object_name == "nb-boss"


@pytest.mark.parametrize("kind", sorted(set(AUTHENTICATORS) - {"dummy", "google", "cilogon"}))
def test_nobody_may_log_in_until_somebody_is_named(
    tmp_path: Path, app: JupyterHub, kind: str
) -> None:
    about = {key: v for key, v in AUTHENTICATORS[kind].items() if "allow" not in key}
    settings = hub_settings(authenticator={"kind": kind, **about})
    hub = loaded(app, tmp_path, settings)
    assert not hub.authenticator.allow_all
    allowed = hub.authenticator.check_allowed("stranger", STRANGER)
    if asyncio.iscoroutine(allowed):
        allowed = asyncio.run(_awaited(allowed))
    assert not allowed


STRANGER: dict[str, Any] = {
    "name": "stranger",
    "admin": None,
    "auth_state": {"token_response": {}, "scope": []},
}


async def _awaited(coroutine: Any) -> Any:
    return await coroutine


def test_the_limits_that_are_shown_hold_and_the_settings_fill_the_rest(tmp_path: Path) -> None:
    settings = hub_settings(named_servers=1, authenticator={"kind": "native"})
    settings["limits"] = {"max_cluster_memory": 8 << 30, "max_concurrent_users": 5}
    c = configured(tmp_path, settings, max_concurrent_users=30, max_cluster_memory="64G")
    assert c.JupyterHub.active_server_limit == 60
    assert c.HubSpawner.limits["max_cluster_memory"] == 64 << 30
    fleet = next(s for s in c.JupyterHub.services if s["name"] == "fleet")
    told = json.loads(fleet["environment"]["HUBDEPLOY_FLEET"])
    assert Limits.from_mapping(told["limits"]).max_concurrent_users == 30
    assert Limits.from_mapping(told["limits"]).max_nodes == 4


def test_node_counts_may_stand_in_the_configuration_too(tmp_path: Path) -> None:
    c = configured(tmp_path, hub_settings(), max_nodes=9, headroom=5)
    fleet = next(s for s in c.JupyterHub.services if s["name"] == "fleet")
    told = Limits.from_mapping(json.loads(fleet["environment"]["HUBDEPLOY_FLEET"])["limits"])
    assert (told.max_nodes, told.headroom, told.idle_after) == (9, 5, 600)


def test_a_hub_restart_leaves_servers_and_sessions_alone(tmp_path: Path) -> None:
    one = configured(tmp_path, hub_settings())
    other = configured(tmp_path, hub_settings())
    assert one.JupyterHub.cookie_secret == other.JupyterHub.cookie_secret
    assert one.ConfigurableHTTPProxy.auth_token == other.ConfigurableHTTPProxy.auth_token
    assert one.ConfigurableHTTPProxy.should_start is False
    assert one.JupyterHub.cleanup_servers is False
    assert one.JupyterHub.db_url == f"sqlite:///{tmp_path}/jupyterhub.sqlite"
    assert one.Spawner.consecutive_failure_limit == 0


def test_starts_may_take_what_boots_here_have_taken_and_a_class_may_start_at_once(
    tmp_path: Path,
) -> None:
    settings = hub_settings(start_timeout="10m")
    assert configured(tmp_path, settings).Spawner.start_timeout == 600
    # as the spawner keeps them: machines came up within 400 seconds
    Times(tmp_path / "spawn-times.json").add({Stage.MACHINE: 400.0})
    c = configured(tmp_path, settings)
    assert 1200 < c.Spawner.start_timeout < 1400
    assert c.JupyterHub.concurrent_spawn_limit == CONCURRENT_SPAWNS >= 200


def test_workers_reach_the_hub_and_the_proxy_only_answers_this_machine(tmp_path: Path) -> None:
    c = configured(tmp_path, hub_settings())
    assert c.JupyterHub.hub_connect_url == "http://10.1.2.3:8081"
    assert c.JupyterHub.bind_url == "http://127.0.0.1:8000"
    assert c.JupyterHub.public_url == "https://hub.example.test/"


def test_oauth_comes_back_to_the_public_name(tmp_path: Path) -> None:
    settings = hub_settings(authenticator={"kind": "github", "client_id": "id"})
    settings["hub_url"] = "https://hub.example.test:8443/hub/login"
    c = configured(tmp_path, settings)
    callback = c.GitHubOAuthenticator.oauth_callback_url
    assert callback == "https://hub.example.test:8443/hub/oauth_callback"


def test_no_address_is_kept_longer_than_the_system_keeps_it(tmp_path: Path) -> None:
    c = configured(tmp_path, hub_settings())
    options = c.JupyterHubHTTPClient.connector_options
    assert options["use_dns_cache"] is False
    found = asyncio.run(_awaited(FreshResolver().resolve("localhost", 80)))
    assert {answer["host"] for answer in found} == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("idle", "age", "expected"),
    [
        (3600, 0, ["--cull-every=300", "--timeout=3600"]),
        (60, 600, ["--cull-every=30", "--timeout=60", "--max-age=600"]),
        (0, 600, ["--cull-every=300", "--timeout=315360000", "--max-age=600"]),
    ],
)
def test_the_culler_is_told_idle_time_and_age(
    tmp_path: Path, idle: int, age: int, expected: list[str]
) -> None:
    c = configured(tmp_path, hub_settings(idle_after=idle, max_age=age))
    culler = next(s for s in c.JupyterHub.services if s["name"] == "idle-culler")
    assert culler["command"][3:] == expected


def test_without_idle_time_and_age_there_is_no_culler(tmp_path: Path) -> None:
    c = configured(tmp_path, hub_settings(idle_after=0, max_age=0))
    assert "idle-culler" not in {s["name"] for s in c.JupyterHub.services}


def test_the_doctor_may_touch_its_own_server_only() -> None:
    assert all(
        "!user=hubdeploy-doctor" in scope or scope == "read:hub" for scope in doctor_scopes()
    )


def test_what_users_read_is_escaped(tmp_path: Path) -> None:
    c = configured(tmp_path, hub_settings(announcement="a <b>\nc"))
    assert c.JupyterHub.template_vars["announcement"] == "a &lt;b&gt;<br>c"


def test_without_a_named_admin_the_password_belongs_to_admin(tmp_path: Path) -> None:
    assert configured(tmp_path, hub_settings()).Authenticator.admin_users == {"admin"}
    oauth = hub_settings(authenticator={"kind": "github", "client_id": "id"})
    assert configured(tmp_path, oauth).Authenticator.admin_users == set()


def test_an_admins_native_account_is_made_once_and_then_keeps_its_password(
    tmp_path: Path, app: JupyterHub
) -> None:
    hub = loaded(app, tmp_path, hub_settings(admins=["boss"]))
    account = hub.authenticator.get_user("boss")
    assert account.is_authorized
    assert account.is_valid_password(ADMIN_PASSWORD)
    (tmp_path / "secrets/admin-password").write_text("another password of the admins")
    hub.authenticator._ensure_admins()
    assert hub.authenticator.get_user("boss").is_valid_password(ADMIN_PASSWORD)


def test_a_sign_up_under_an_admins_name_gains_nothing(tmp_path: Path, app: JupyterHub) -> None:
    hub = loaded(app, tmp_path, hub_settings(admins=["boss"]))
    assert hub.authenticator.create_user("boss", "a password of my own") is None
    assert hub.authenticator.get_user("boss").is_valid_password(ADMIN_PASSWORD)


@pytest.mark.parametrize(
    ("secret", "value", "words"),
    [
        ("shared-password", "short", "at least 8"),
        ("admin-password", "too-short-for-shared", "at least 32"),
        ("shared-password", "", "missing or empty"),
    ],
)
def test_a_useless_secret_is_named(tmp_path: Path, secret: str, value: str, words: str) -> None:
    file = tmp_path / "hub.json"
    file.write_text(json.dumps(hub_settings(authenticator={"kind": "shared-password"})))
    folder = write_secrets(tmp_path / "secrets", **{secret: value})
    with pytest.raises((ConfigError, SecretError), match=words) as caught:
        configure(Config(), file, folder, state_dir=tmp_path, address="10.1.2.3")
    assert secret in caught.value.message
    assert "hubdeploy secret set" in caught.value.hint
    assert not value or value not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", "{"])
def test_settings_that_are_no_settings_are_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "hub.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"hub\.json"):
        configure(Config(), file, tmp_path)


def test_local_secrets_are_made_once_and_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    assert set(secrets.ensure(folder)) == {*secrets.LOCAL, "proxy.env"}
    before = {file.name: file.read_text() for file in folder.iterdir()}
    assert secrets.ensure(folder) == []
    assert {file.name: file.read_text() for file in folder.iterdir()} == before
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_proxys_environment_follows_its_token(tmp_path: Path) -> None:
    secrets.ensure(tmp_path)
    (tmp_path / "proxy-token").write_text("new")
    assert secrets.ensure(tmp_path) == ["proxy.env"]
    assert (tmp_path / "proxy.env").read_text() == "CONFIGPROXY_AUTH_TOKEN=new\n"


def test_the_own_address_is_an_address() -> None:
    # in a process of its own: no packet is sent, but here sockets are guarded
    code = "from hubdeploy.hub.config import own_address; print(own_address())"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ipaddress.ip_address(shown.stdout.strip()).version == 4
