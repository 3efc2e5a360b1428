"""The images as they were built."""

from __future__ import annotations

import time

import docker
import pytest

from hubdeploy.sandbox.images import catalog
from hubdeploy.sandbox.images.build import Images
from hubdeploy.sandbox.machines import trial
from tests.plugins.machines import docker_engine, said, sandbox_images

__all__ = ["docker_engine", "sandbox_images"]
pytestmark = pytest.mark.docker
NAMES = ("base", "system", "machine", "bare", "nginx", "router", "notebook", "store")


def test_images_are_built_once(sandbox_images: Images) -> None:
    started = time.monotonic()
    sandbox_images.ensure_all()
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_the_host_is_left_in_an_image(
    name: str, docker_engine: docker.DockerClient, sandbox_images: Images
) -> None:
    tag = sandbox_images.ensure(getattr(catalog, name)())
    configuration = docker_engine.images.get(tag).attrs["Config"]
    words = " ".join(configuration.get("Env") or [])
    assert "proxy" not in words.lower()
    assert "PIP" not in words
    assert "/run/build" not in str(configuration)
    listed = said(
        docker_engine,
        tag,
        ["-c", "ls -A /run/build /root/.cache /var/lib/apt/lists 2>/dev/null; echo; echo all"],
        entrypoint="/bin/sh",
        user="0",
    )
    assert listed.split()[-1] == "all"
    assert "ca.crt" not in listed
    assert "pip" not in listed


def test_this_host_passes_the_trial_that_a_machine_needs(
    docker_engine: docker.DockerClient, sandbox_images: Images
) -> None:
    trial.check(docker_engine, image=sandbox_images.ensure(catalog.machine()))


def test_a_host_that_refuses_a_right_is_told_by_the_refusal(
    docker_engine: docker.DockerClient,
    sandbox_images: Images,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from hubdeploy.sandbox.engine import NoEngine
    from hubdeploy.sandbox.machines import container

    # as on a host without the capability to mount
    monkeypatch.setattr(
        container, "missing_capabilities", lambda _status: ["SYS_ADMIN", "SYS_RESOURCE"]
    )
    with pytest.raises(NoEngine, match="mount"):
        trial.check(docker_engine, image=sandbox_images.ensure(catalog.machine()))
    assert not docker_engine.containers.list(all=True, filters={"label": "hubdeploy.trial"})
