"""The spawner on a real swarm: a leader and two workers, real notebooks, a real file system.

Machines are containers with systemd and an inner Docker engine; the hub runs on the leader as it
does in production, only without Chef and nginx around it.
"""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import hubdeploy
from hubdeploy.hub import walk
from hubdeploy.hub.client import DOCTOR_USER, HubClient, HubClientError
from hubdeploy.hub.placement import NodeView, node_views
from hubdeploy.sandbox.images import catalog
from tests.plugins.hubprocess import ADMIN_PASSWORD, DOCTOR_TOKEN, USER_PASSWORD, hub_settings
from tests.plugins.machines import (  # noqa: F401
    Lab,
    LabMachine,
    docker_engine,
    lab,
    sandbox_images,
)

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(400)]

EFS = "fs-0123456789abcdef0.efs.eu-central-1.amazonaws.com"
IMAGE = "registry.example.test/notebook:1"
PACKAGES = (
    "jupyterhub dockerspawner oauthenticator jupyterhub-nativeauthenticator "
    "jupyterhub-ltiauthenticator jupyterhub-idle-culler prometheus-client docker tenacity boto3"
)
PROFILES = [
    {"name": "usual", "title": "Usual"},
    {"name": "large", "title": "Large", "memory": "3G"},
    {"name": "nowhere", "title": "No image", "image": "registry.example.test/none:1"},
]


def settings(**hub: Any) -> dict[str, Any]:
    return hub_settings(
        authenticator={"kind": "shared-password", "allow_all": True},
        admins=["boss"],
        image=IMAGE,
        memory="512M",
        cpu=0.1,
        profiles=PROFILES,
        shared_folders=[{"name": "course", "mount": "/home/jovyan/course"}],
        start_timeout="120s",
        **hub,
    )


CONFIG = """
c = get_config()
from hubdeploy.hub.config import configure
configure(c, "/etc/hubdeploy/hub.json", "/srv/hubdeploy/secrets", address="{address}")
c.JupyterHub.bind_url = "http://0.0.0.0:8000"
c.JupyterHub.public_url = ""
c.HubSpawner.fleet_url = ""
# its role needs the service by name; it has no AWS here to look at
c.JupyterHub.services = [
    {{"name": "fleet", "api_token": s["api_token"]}} if s["name"] == "fleet" else s
    for s in c.JupyterHub.services
]
c.Spawner.poll_interval = 2
"""
UNIT = """
[Unit]
Description=%(name)s
[Service]
Environment=PYTHONPATH=/opt/src
Environment=PATH=/opt/hub/bin:/opt/hubdeploy/proxy/node_modules/.bin:/usr/bin:/bin
EnvironmentFile=-/srv/hubdeploy/secrets/proxy.env
WorkingDirectory=/srv/hubdeploy
ExecStart=%(command)s
Restart=always
RestartSec=1
"""
PROXY = (
    "/usr/bin/env configurable-http-proxy --ip 0.0.0.0 --port 8000 --api-ip 127.0.0.1 "
    "--api-port 8001 --default-target http://127.0.0.1:8081"
)


@dataclass
class Classroom:
    leader: LabMachine
    workers: dict[str, LabMachine]

    @property
    def url(self) -> str:
        return f"http://{self.leader.address}:8000"

    def docker(self, command: str) -> str:
        """``docker`` on the leader."""
        return self.leader.out(f"docker {command}", timeout=60)

    def worker_of(self, user: str) -> str:
        """Host name of the worker that runs the user's server."""
        shown = self.docker(
            f"service ps nb-{user} --filter desired-state=running --format '{{{{.Node}}}}'"
        )
        return shown.splitlines()[0] if shown else ""

    def configure(self, hub: dict[str, Any]) -> None:
        """Write the settings and (re)start the hub; until it answers."""
        self.leader.put("/etc/hubdeploy/hub.json", json.dumps(hub))
        self.leader.out("systemctl restart hub")
        until(lambda: _answers(self.url), seconds=60)

    def reserved(self) -> dict[str, int]:
        """Bytes that swarm holds for servers, by host name of the worker."""
        return {view.hostname: view.memory_reserved for view in self._views()}

    def _views(self) -> list[NodeView]:
        asked = "curl -sf --unix-socket /var/run/docker.sock http://docker/v1.41"
        answers = [
            json.loads(self.leader.out(f"{asked}/{what}"))
            for what in ("nodes", "tasks", "services")
        ]
        return node_views(*answers)

    def log(self) -> str:
        return self.leader.out("journalctl -u hub --no-pager | tail -60")


def until(condition: Callable[[], Any], *, seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.3)
    return found


def _answers(url: str) -> bool:
    try:
        return bool(HubClient(url, "nobody", timeout=3).health())
    except HubClientError:
        return False


@pytest.fixture(scope="module")
def room(lab: Lab) -> Classroom:  # noqa: F811
    lab.cloud.names[EFS] = ["10.0.0.5"]
    leader, *workers = lab.boot_all(3)
    lab.machines.publish(catalog.notebook().tag, IMAGE, cidr=lab.cidr)
    for machine in (leader, *workers):
        machine.await_docker()
        machine.out(f"mkdir -p /efs && mount -t nfs4 {EFS}:/ /efs")
    leader.out(f"docker swarm init --advertise-addr {leader.address}")
    leader.out("docker node update --availability drain $(docker info -f '{{.Swarm.NodeID}}')")
    token = leader.out("docker swarm join-token -q worker")
    for worker in workers:
        worker.out(f"docker swarm join --token {token} {leader.address}:2377")
    with ThreadPoolExecutor() as pool:
        pulls = [pool.submit(w.out, f"docker pull -q {IMAGE}", timeout=180) for w in workers]
        _install(leader)
        for pull in pulls:
            pull.result()
    found = Classroom(leader, {worker.out("hostname"): worker for worker in workers})
    found.configure(settings())
    return found


def _install(leader: LabMachine) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        source = Path(hubdeploy.__file__).parent
        tar.add(source, "opt/src/hubdeploy", filter=_sources)
    container = leader.lab.client.containers.get(leader.container)
    container.put_archive("/", buffer.getvalue())
    leader.out("mkdir -p /srv/hubdeploy /etc/hubdeploy && python3 -m venv /opt/hub")
    leader.out(f"/opt/hub/bin/pip install -q --no-compile {PACKAGES}", timeout=180)
    secrets = "/srv/hubdeploy/secrets"
    leader.out(f"PYTHONPATH=/opt/src /opt/hub/bin/python -m hubdeploy.hub.secrets {secrets}")
    leader.put(f"{secrets}/shared-password", USER_PASSWORD)
    leader.put(f"{secrets}/admin-password", ADMIN_PASSWORD)
    leader.put(f"{secrets}/doctor-token", DOCTOR_TOKEN)
    leader.put("/etc/hubdeploy/jupyterhub_config.py", CONFIG.format(address=leader.address))
    hub = "/opt/hub/bin/jupyterhub -f /etc/hubdeploy/jupyterhub_config.py"
    for name, command in (("proxy", PROXY), ("hub", hub)):
        leader.put(f"/etc/systemd/system/{name}.service", UNIT % {"name": name, "command": command})
    leader.out("systemctl daemon-reload && systemctl start proxy")


def _sources(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in member.name else member


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
    lab: Lab,  # noqa: F811
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
