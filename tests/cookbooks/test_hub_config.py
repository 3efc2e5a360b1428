"""The rendered JupyterHub configuration, loaded by the real JupyterHub."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jupyterhub import orm
from jupyterhub.app import JupyterHub

from hubdeploy.config.hub import HubSection
from tests.cookbooks.rendering import ask, settings

PROVIDER = {
    "issuer": "https://id.example.org",
    "authorize_url": "https://id.example.org/authorize",
    "token_url": "https://id.example.org/token",
    "userdata_url": "https://id.example.org/me",
    "jwks_url": "https://id.example.org/keys",
}
AUTHENTICATORS: dict[str, dict[str, Any]] = {
    "native": {"open_signup": True},
    "github": {"client_id": "abc", "allowed_organizations": ["acme"]},
    "google": {"client_id": "abc", "allowed_users": ["ben@example.org"]},
    "oidc": {"client_id": "abc", **PROVIDER},
    "cilogon": {"client_id": "abc", "allowed_organizations": ["https://github.com/login/oauth"]},
    "lti13": {"client_id": "abc", **PROVIDER},
    "shared-password": {"allow_all": True},
    "dummy": {"allowed_users": ["ben"]},
}
TLS = ["letsencrypt", "own", "self-signed"]
EXTRA: dict[str, dict[str, Any]] = {
    "plain": {},
    "rich": {
        "profiles": [{"name": "big", "title": "Big", "memory": "8G", "instance_type": "r6i.large"}],
        "shared_folders": [{"name": "data", "mount": "/home/jovyan/data", "writable": True}],
        "named_servers": 2,
        "announcement": 'Maintenance "tonight" <b>\\n',
        "environment": {"LANG": "C.UTF-8"},
    },
}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the agent fetches from SSM, and what the hub's own unit makes."""
    folder = tmp_path_factory.mktemp("hub") / "secrets"
    folder.mkdir(mode=0o700)
    for name in ("oauth-client-secret", "shared-password", "admin-password", "doctor-token"):
        (folder / name).write_text(name.ljust(64, "0"))
        (folder / name).chmod(0o600)
    subprocess.run([sys.executable, "-m", "hubdeploy.hub.secrets", str(folder)], check=True)
    return folder


def load(hub: dict[str, Any], *, tls: str, secrets: Path, folder: Path) -> JupyterHub:
    """The application with its configuration read, as ``jupyterhub -f`` does first of all."""
    values = settings(hub=hub)
    values["tls"] = values["tls"] | {"kind": tls}
    facts, text = ask(
        {"call": "HubBase::Text.json", "arguments": [values]},
        {
            "template": "hub_leader/jupyterhub_config.py.erb",
            "variables": {
                "settings": str(folder / "hub.json"),
                "secrets": str(secrets),
                "state": str(folder),
                "limits": values["limits"],
            },
        },
    )
    (folder / "hub.json").write_text(facts)
    config = folder / "jupyterhub_config.py"
    config.write_text(text)
    app = JupyterHub()
    app.load_config_file(str(config))
    return app


@pytest.mark.parametrize(
    ("name", "tls", "extra"), list(itertools.product(AUTHENTICATORS, TLS, EXTRA))
)
def test_the_real_jupyterhub_loads_it(
    name: str,
    tls: str,
    extra: str,
    secrets: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HUBDEPLOY_ADDRESS", "10.42.1.10")
    authenticator: dict[str, Any] = {"kind": name, **AUTHENTICATORS[name]}
    hub = HubSection.model_validate(
        {"admins": ["ada"], "authenticator": authenticator, **EXTRA[extra]}
    ).model_dump()
    app = load(json.loads(json.dumps(hub)), tls=tls, secrets=secrets, folder=tmp_path)
    assert app.config.HubFleet.max_cluster_memory == "256G"
    assert app.config.HubFleet.max_concurrent_users == 100
    assert app.config.HubFleet.max_disk_utilization == "1T"
    # wrong values of traits show when the parts are made
    database = orm.new_session_factory("sqlite:///:memory:")()
    made = app.authenticator_class(config=app.config, _deprecated_db_session=database)
    assert "ada" in made.admin_users
    # 'dummy' is for rehearsals and lets everybody in
    assert made.allow_all is (name in ("shared-password", "dummy"))
    app.spawner_class.class_traits()
    assert app.bind_url.startswith("http://127.0.0.1:8000")
    assert app.cleanup_servers is False
    assert app.cleanup_proxy is False
