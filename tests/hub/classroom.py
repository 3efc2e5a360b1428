"""A classroom on a real swarm: a leader whose hub runs without Chef and nginx, and two workers."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hubdeploy
from hubdeploy.hub.client import HubClient, HubClientError
from hubdeploy.hub.placement import NodeView, node_views
from hubdeploy.sandbox.images import catalog
from tests.plugins.hubprocess import ADMIN_PASSWORD, DOCTOR_TOKEN, USER_PASSWORD, hub_settings
from tests.plugins.machines import Lab, LabMachine

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
    """The hub's settings as the leader's cookbook writes them; *hub* adds to them."""
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
    """Its machines, and what swarm says on the leader."""

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
    """The first true value; an AssertionError after *seconds*."""
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


def opened(lab: Lab) -> Classroom:
    """Boots the machines, makes the swarm, installs the hub; until it answers."""
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
