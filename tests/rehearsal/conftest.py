"""One rehearsal for all its tests, begun by an `up` that is killed, and nothing left afterwards."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from hubdeploy.sandbox.engine import SANDBOX_LABEL
from hubdeploy.sandbox.images.build import Images
from hubdeploy.sandbox.machines import cleanup
from tests.plugins.machines import docker_engine, sandbox_images
from tests.rehearsal.stage import CONFIG, Beginning, Stage

__all__ = ["docker_engine", "sandbox_images"]


def volumes(client: docker.DockerClient, *, of: str) -> set[str]:
    """All that the sandbox's containers have, with a label or without."""
    label = f"{SANDBOX_LABEL}={of}"
    found = client.containers.list(all=True, filters={"label": label})
    mounts = [mount for container in found for mount in container.attrs["Mounts"]]
    return {mount["Name"] for mount in mounts if mount["Type"] == "volume"}


def processes(of: Path) -> list[str]:
    """Command lines of the processes that have the folder *of* in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(of).encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def listens(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=2).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """With a short path: the sandbox makes sockets in it."""
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as made:
        yield Path(made)


@pytest.fixture(scope="session")
def rehearsal(
    folder: Path,
    docker_engine: docker.DockerClient,
    sandbox_images: Images,
    measured: list[str],
) -> Iterator[Stage]:
    """A deployment that is up, of containers."""
    del sandbox_images  # built before the time is taken
    stage = Stage(folder=folder, name="stage", measured=measured)
    stage.config.write_text(CONFIG.format(name=stage.name, cidr="10.193.0.0/16"))
    used: set[str] = set()
    doors: list[tuple[str, int]] = []
    try:
        began = time.monotonic()
        code = stage.interrupted_up(when=lambda: "leader" in stage.instances())
        then = stage.instances()
        stage.up()
        took = stage.took("a killed up and the next, until the hub answers", began)
        stage.beginning.append(Beginning(code=code, instances=then, seconds=took))
        doors += [stage.door(stage.state["endpoint_url"]), stage.door(stage.url)]
        doors += [(stage.address, port) for port in (443, 80)]
        assert all(listens(door) for door in doors)
        assert volumes(docker_engine, of=stage.name)
        yield stage
    finally:
        used |= volumes(docker_engine, of=stage.name)
        ended = stage.run("down", "--yes", "--delete-files", stage.name, check=False)
    assert ended.returncode == 0, ended.stderr
    assert cleanup.leftovers(docker_engine, sandbox=stage.name) == []
    assert used & {found.name for found in docker_engine.volumes.list()} == set()
    assert processes(stage.folder) == []
    assert [door for door in doors if listens(door)] == []
    assert stage.state == {}


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
