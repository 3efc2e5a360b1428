"""Registry credentials go along with a service, and their failure keeps nobody out."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from docker.errors import APIError

from hubdeploy.hub import engine
from tests.plugins.dockerapi import FakeSwarm, Fault

REGISTRY = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
GOOD = """#!/bin/sh
cat >/dev/null
echo '{"ServerURL": "x", "Username": "AWS", "Secret": "t0ken"}'
"""
BROKEN = {
    "fails": "#!/bin/sh\necho no credentials for you\nexit 1\n",
    "prints nonsense": "#!/bin/sh\ncat >/dev/null\necho oops\n",
    "cannot be run": "",
}


def helper(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Docker's configuration with a credential helper for the registry."""
    (folder / "config.json").write_text(json.dumps({"credHelpers": {REGISTRY: "school"}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    if script:
        program = folder / "docker-credential-school"
        program.write_text(script)
        program.chmod(0o755)


def template(image: str = f"{REGISTRY}/hub/notebook:1") -> dict[str, Any]:
    return {"ContainerSpec": {"Image": image}, "RestartPolicy": {"Condition": "none"}}


def test_credentials_of_the_helper_reach_swarm_at_creation_and_update(
    swarm: FakeSwarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper(tmp_path, monkeypatch, GOOD)
    client = engine.connect(base_url=swarm.url)
    client.create_service(template(), name="nb-a")
    index = swarm.services()["nb-a"]["Version"]["Index"]
    client.update_service("nb-a", index, task_template=template(), name="nb-a")
    sent = [json.loads(base64.urlsafe_b64decode(text)) for text in swarm.registry_auth]
    assert [(auth["Username"], auth["Password"]) for auth in sent] == [("AWS", "t0ken")] * 2


@pytest.mark.filterwarnings("ignore:docker-credential-school not installed")
@pytest.mark.parametrize("trouble", BROKEN)
def test_a_helper_in_trouble_keeps_no_server_from_starting(
    swarm: FakeSwarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    helper(tmp_path, monkeypatch, BROKEN[trouble])
    client = engine.connect(base_url=swarm.url)
    client.create_service(template(), name="nb-a")
    assert "nb-a" in swarm.services()
    assert swarm.registry_auth == [""]


def test_an_image_of_another_registry_goes_without(
    swarm: FakeSwarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper(tmp_path, monkeypatch, GOOD)
    engine.connect(base_url=swarm.url).create_service(template("quay.io/x/y:1"), name="nb-a")
    assert swarm.registry_auth == [""]


def test_the_engines_own_refusal_is_not_taken_for_the_helpers(swarm: FakeSwarm) -> None:
    client = engine.connect(base_url=swarm.url)
    swarm.fault(Fault(times=1, path="/services/create", status=400, message="bad"))
    with pytest.raises(APIError):
        client.create_service(template(), name="nb-a")
    assert swarm.services() == {}
