"""The spawner on a real swarm: a leader and two workers, real notebooks, a real file system.

Machines are containers with systemd and an inner Docker engine; the hub runs on the leader as it
does in production, only without Chef and nginx around it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hubdeploy.hub import walk
from hubdeploy.hub.client import DOCTOR_USER, HubClient, HubClientError
from tests.hub.classroom import Classroom, opened, settings, until
from tests.plugins.hubprocess import DOCTOR_TOKEN, USER_PASSWORD
from tests.plugins.machines import Lab, docker_engine, lab, sandbox_images

__all__ = ["docker_engine", "lab", "sandbox_images"]
pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def room(lab: Lab) -> Classroom:
    return opened(lab)


@pytest.fixture
def as_user(room: Classroom) -> Iterator[Callable[[str], HubClient]]:
    clients: list[HubClient] = []

    def make(user: str) -> HubClient:
        client = HubClient(room.url, user)
        client.login(USER_PASSWORD)
        clients.append(client)
        return client

    yield make
    for client in clients:
        if client.server() is not None:
            client.stop()


def test_a_notebook_runs_and_its_files_stay(
    room: Classroom, as_user: Callable[[str], HubClient]
) -> None:
    ann = as_user("ann")
    told: list[str] = []
    assert ann.start(told=lambda message, _percent: told.append(message)) < 60, told
    assert "Jupyter" in ann.open_lab()
    cell = ann.run("import os; print(os.getuid(), os.getgid(), os.environ['MEM_LIMIT']); 6 * 7")
    assert (cell.stdout.split(), cell.result, cell.error) == (
        ["1000", "100", str(512 << 20)],
        "42",
        "",
    )
    ann.write("kept.txt", b"still here")
    worker = room.worker_of("ann")
    ann.stop()
    running = room.workers[worker].out("docker ps -q --filter name=nb-ann")
    assert running == ""
    ann.start()
    ann.open_lab()
    assert ann.read("kept.txt") == b"still here"
    assert room.leader.out("stat -c '%u:%g %a' /efs/home/ann") == "1000:100 700"


def test_the_health_check_walks_from_start_to_stop(room: Classroom) -> None:
    client = HubClient(room.url, DOCTOR_USER, token=DOCTOR_TOKEN)
    found = walk.walk(client, seconds=120)
    assert found.ok, found
    assert list(found.steps) == ["hub", "start", "lab", "cell", "file", "stop"]
    assert f"nb-{DOCTOR_USER}" not in room.docker("service ls --format '{{.Name}}'")


def test_users_share_a_worker_but_not_their_folders(
    room: Classroom, as_user: Callable[[str], HubClient]
) -> None:
    bob, cid = as_user("bob"), as_user("cid")
    bob.start()
    cid.start()
    assert room.worker_of("bob") == room.worker_of("cid")
    bob.open_lab()
    bob.write("secret.txt", b"mine")
    cid.open_lab()
    seen = cid.run(
        "import os, pathlib\n"
        "print(os.path.exists('/efs'), os.path.exists('secret.txt'))\n"
        "try:\n    pathlib.Path('course/x').write_text('')\n"
        "except OSError as error:\n    print(type(error).__name__)"
    )
    assert seen.stdout.split()[:2] == ["False", "False"]
    assert seen.stdout.split()[2] in ("OSError", "PermissionError")


def test_a_server_killed_on_its_machine_is_named_and_not_brought_back(
    room: Classroom, as_user: Callable[[str], HubClient]
) -> None:
    dan = as_user("dan")
    dan.start()
    worker = room.workers[room.worker_of("dan")]
    worker.out("docker kill -s KILL $(docker ps -q --filter name=nb-dan)")
    until(lambda: dan.server() is None)
    assert "ran out of memory (it had 512 MiB)" in room.log()
    assert "nb-dan" not in room.docker("service ls --format '{{.Name}}'")


def test_an_image_that_is_not_there_is_named(
    room: Classroom, as_user: Callable[[str], HubClient]
) -> None:
    eve = as_user("eve")
    with pytest.raises(HubClientError, match=r"image registry.example.test/none:1 could not be"):
        eve.start(options={"profile": "nowhere"})
    assert "nb-eve" not in room.docker("service ls --format '{{.Name}}'")


def test_a_server_waits_for_a_machine_and_starts_when_one_is_there(
    room: Classroom, as_user: Callable[[str], HubClient]
) -> None:
    for name in room.workers:
        room.docker(f"node update --availability drain {name}")
    try:
        fay = as_user("fay")
        fay.api("POST", "/users/fay/server", json={"profile": "large"})
        told: list[str] = []
        for event in fay.progress(seconds=60):
            told.append(event["message"])
            if "Starting a machine" in told[-1]:
                room.docker(f"node update --availability active {next(iter(room.workers))}")
            if event.get("ready") or event.get("failed"):
                break
    finally:
        for name in room.workers:
            room.docker(f"node update --availability active {name}")
    assert told[-1].startswith("Server ready"), told
    assert any("Starting a machine" in message for message in told)


def test_who_finds_all_machines_full_by_memory_waits_until_somebody_leaves(
    room: Classroom, as_user: Callable[[str], HubClient]
) -> None:
    # a worker of 4 GiB has room for one of 3 GiB
    kay, leo, mia = as_user("kay"), as_user("leo"), as_user("mia")
    for first in (kay, leo):
        first.start(options={"profile": "large"})
    assert sorted(room.reserved().values()) == [3 << 30, 3 << 30]
    left = room.worker_of("kay")
    mia.api("POST", "/users/mia/server", json={"profile": "large"})
    told: list[str] = []
    for event in mia.progress(seconds=90):
        told.append(event["message"])
        if "Starting a machine" in told[-1] and kay.server() is not None:
            assert room.worker_of("mia") == "", "it waits, nothing is overbooked"
            assert max(room.reserved().values()) == 3 << 30
            kay.stop()
    assert told[-1].startswith("Server ready"), told
    assert any("Starting a machine" in message for message in told), told
    assert room.worker_of("mia") == left
    assert sorted(room.reserved().values()) == [3 << 30, 3 << 30]


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"max_concurrent_users": 2}, "limit|places are taken"),
        ({"max_cluster_memory": "1G"}, "All of the 1 GiB of memory .* is taken"),
    ],
)
def test_beyond_a_limit_nobody_gets_a_server_until_another_leaves(
    room: Classroom, as_user: Callable[[str], HubClient], limits: dict[str, Any], words: str
) -> None:
    room.configure(settings() | {"limits": limits})
    try:
        ned, ora, pia = as_user("ned"), as_user("ora"), as_user("pia")
        ned.start()
        ora.start()
        with pytest.raises(HubClientError, match=words) as refused:
            pia.start()
        assert refused.value.status == 429
        assert sum(room.reserved().values()) == 1 << 30
        assert "nb-pia" not in room.docker("service ls --format '{{.Name}}'")
        ned.stop()
        pia.start()
        assert sum(room.reserved().values()) == 1 << 30
        for client in (ora, pia):
            client.stop()
    finally:
        room.configure(settings())


def test_a_running_server_outlives_a_restart_of_the_hub(
    room: Classroom, as_user: Callable[[str], HubClient]
) -> None:
    gus = as_user("gus")
    gus.start()
    gus.open_lab()
    before = room.docker("service ps nb-gus -q")
    begun = time.monotonic()
    room.configure(settings())
    assert time.monotonic() - begun < 30
    assert until(lambda: (gus.server() or {}).get("ready"))
    assert room.docker("service ps nb-gus -q") == before
    assert gus.run("1 + 1").result == "2"


def test_a_drained_workers_server_moves_and_keeps_its_files(
    room: Classroom, as_user: Callable[[str], HubClient]
) -> None:
    hal = as_user("hal")
    hal.start()
    hal.open_lab()
    hal.write("kept.txt", b"moved along")
    before = room.worker_of("hal")
    room.docker(f"node update --availability drain {before}")
    try:
        until(lambda: room.worker_of("hal") not in ("", before))
        until(lambda: _reads(hal, "kept.txt") == b"moved along")
    finally:
        room.docker(f"node update --availability active {before}")


def test_a_crashed_workers_server_runs_on_another_within_a_minute(
    room: Classroom,
    lab: Lab,
    as_user: Callable[[str], HubClient],
) -> None:
    ida = as_user("ida")
    ida.start()
    ida.open_lab()
    ida.write("kept.txt", b"survived")
    before = room.worker_of("ida")
    begun = time.monotonic()
    lab.machines.crash(room.workers[before].id)
    until(lambda: room.worker_of("ida") not in ("", before), seconds=60)
    until(lambda: _reads(ida, "kept.txt") == b"survived", seconds=60)
    assert time.monotonic() - begun < 75
    begun = time.monotonic()
    ida.stop()
    # a task on a dead machine is not waited for
    assert time.monotonic() - begun < 20


def test_an_idle_server_is_stopped(room: Classroom, as_user: Callable[[str], HubClient]) -> None:
    room.configure(settings(idle_after=15))
    joe = as_user("joe")
    joe.start()
    until(lambda: joe.server() is None, seconds=90)
    assert "nb-joe" not in room.docker("service ls --format '{{.Name}}'")


def _reads(client: HubClient, path: str) -> bytes:
    try:
        client.open_lab()
        return client.read(path)
    except HubClientError:
        return b""
