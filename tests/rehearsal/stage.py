"""The rehearsal as people use it: commands in processes of their own, users over https."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hubdeploy.aws.session import Aws
from hubdeploy.config.names import TAG_ROLE
from hubdeploy.hub.client import HubClient
from hubdeploy.sandbox import engine
from hubdeploy.sandbox.machines import container

HUBDEPLOY = Path(sys.executable).with_name("hubdeploy")
CONFIG = """
name = "{name}"
region = "eu-central-1"
[network]
cidr = "{cidr}"
[workers]
min_nodes = 2
max_nodes = 3
headroom = 0
idle_after = "20s"
[hub]
memory = "512M"
cpu = 0.1
admins = ["admin"]
[hub.authenticator]
kind = "dummy"
allow_all = true
[[hub.profiles]]
name = "small"
title = "Small"
[[hub.profiles]]
name = "big"
title = "Big"
memory = "1G"
[[hub.profiles]]
name = "special"
title = "On a machine of its own kind"
instance_type = "r6i.xlarge"
[limits]
max_concurrent_users = 10
"""

UP = ("up", "--yes", "--replace", "--machines", "docker")


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """How the rehearsal began: the exit code of an ``up`` that was killed, the instances that
    were there then, and the seconds from its start to the end of the next ``up``."""

    code: int
    instances: dict[str, list[str]]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One row of the fleet's history."""

    kind: str
    subject: str
    reason: str
    ok: bool


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A rehearsal in a folder of its own, which holds its configuration and state."""

    folder: Path
    name: str
    beginning: list[Beginning] = field(default_factory=list)
    measured: list[str] = field(default_factory=list)
    """Lines for the end of the run."""

    def took(self, what: str, began: float) -> float:
        """Seconds since *began* (monotonic), noted."""
        seconds = time.monotonic() - began
        self.measured.append(f"{what}: {seconds:.0f} s")
        return seconds

    @property
    def config(self) -> Path:
        return self.folder / "hubdeploy.toml"

    def run(
        self, *words: str, check: bool = True, timeout: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """``hubdeploy WORDS --sandbox`` with what a fresh terminal has."""
        ran = subprocess.run(
            self.words(*words),
            capture_output=True,
            text=True,
            env=self.env,
            timeout=timeout,
            check=False,
        )
        if check and ran.returncode:
            raise AssertionError(f"hubdeploy {' '.join(words)}: {ran.stdout}\n{ran.stderr}")
        return ran

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "XDG_STATE_HOME": str(self.folder / "state"), "COLUMNS": "80"}

    def words(self, *words: str) -> list[str | Path]:
        return [HUBDEPLOY, *words, "--sandbox", "--config", str(self.config)]

    def up(self) -> dict[str, Any]:
        """What ``up --json`` says."""
        ran = self.run(*UP, "--json", timeout=900)
        found: dict[str, Any] = json.loads(ran.stdout)
        return found

    def interrupted_up(self, *, when: Callable[[], object]) -> int:
        """``up``, killed as soon as *when* is true; the process's exit code."""
        with (self.folder / "interrupted.log").open("wb") as log:
            process = subprocess.Popen(self.words(*UP), env=self.env, stdout=log, stderr=log)
            try:
                self.wait(
                    lambda: process.poll() is not None or when(),
                    what="up is half-way",
                    seconds=300,
                    pause=0.1,
                )
            finally:
                process.kill()
            return process.wait(30)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return found

    def machine(self, label: str) -> dict[str, Any]:
        found: dict[str, Any] = next(m for m in self.status()["machines"] if m["label"] == label)
        return found

    def on(self, where: str, command: str) -> str:
        """What a command on a machine prints."""
        return self.run("run", "--on", where, command).stdout

    def nodes(self) -> dict[str, tuple[str, str]]:
        """Swarm workers: host name -> (state, availability)."""
        text = self.on(
            "leader",
            "docker node ls --filter role=worker "
            "--format '{{.Hostname}} {{.Status}} {{.Availability}}'",
        )
        words = [line.split() for line in text.splitlines()]
        return {w[0]: (w[1].lower(), w[2].lower()) for w in words if len(w) == 3}

    def hosts(self) -> dict[str, str]:
        """User -> the swarm node on which the server runs."""
        text = self.on(
            "leader",
            "docker service ls -q --filter label=hubdeploy.user | while read service; do echo "
            """$(docker service inspect -f '{{index .Spec.Labels "hubdeploy.user"}}' $service) """
            "$(docker service ps $service --filter desired-state=running --format '{{.Node}}'); "
            "done",
        )
        words = [line.split() for line in text.splitlines()]
        return {w[0]: w[1] for w in words if len(w) == 2}

    def host_of(self, user: str) -> str:
        return self.hosts().get(user, "")

    def decisions(self, subject: str) -> list[Decision]:
        """What the fleet did with an instance and wrote down, the oldest first."""
        program = (
            "import json, sqlite3; "
            "db = sqlite3.connect('file:/srv/hubdeploy/fleet/fleet.sqlite?mode=ro', uri=True); "
            "print(json.dumps(db.execute('select kind, subject, reason, ok from decisions "
            f"where subject = ? order by id', ('{subject}',)).fetchall()))"
        )
        rows = json.loads(self.on("leader", f'python3 -c "{program}"'))
        return [Decision(kind=k, subject=s, reason=r, ok=bool(o)) for k, s, r, o in rows]

    def workers(self) -> dict[str, dict[str, Any]]:
        """Instance -> what ``status`` says of it."""
        found = self.status()["machines"]
        return {m["instance_id"]: m for m in found if m["role"] == "worker"}

    def homes(self) -> dict[str, str]:
        """User -> the instance on which the server runs."""
        hosts = {
            "ip-" + machine["private_ip"].replace(".", "-"): instance
            for instance, machine in self.workers().items()
        }
        nodes = {user: node.partition(".")[0] for user, node in self.hosts().items()}
        return {user: hosts[node] for user, node in nodes.items() if node in hosts}

    def lose_power(self, instance: str) -> None:
        """The machine is gone at once, with no word to anybody."""
        client = engine.running()
        assert client is not None
        client.containers.get(container.name_of(self.name, instance)).kill()

    @property
    def url(self) -> str:
        """The loopback address that ``up`` shows."""
        shown = self.run("open", "--print").stdout.strip()
        return re.sub(r"/hub/.*", "", shown)

    @property
    def address(self) -> str:
        """The leader's Elastic IP, which is one of loopback here."""
        found: str = self.cloud("ec2").describe_addresses()["Addresses"][0]["PublicIp"]
        return found

    @staticmethod
    def door(url: str) -> tuple[str, int]:
        parts = urlsplit(url)
        return str(parts.hostname), int(parts.port or 443)

    @property
    def password(self) -> str:
        """The one that the dummy authenticator takes from anybody."""
        return self.run("secret", "show", "hub/admin-password").stdout.strip()

    def user(self, name: str) -> HubClient:
        """A user who has logged in."""
        client = HubClient(url=self.url, user=name, verify=False)
        client.login(self.password)
        return client

    @property
    def state(self) -> dict[str, Any]:
        """What is known of the running sandbox; empty when none runs."""
        file = self.folder / f"state/hubdeploy/sandbox/{self.name}/state.json"
        found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        return found

    def cloud(self, service: str) -> Any:
        """A client for the rehearsal's AWS, for what people would do in its console."""
        state = self.state
        aws = Aws(
            region="eu-central-1",
            endpoint_url=state["endpoint_url"],
            credentials=(state["access_key"], "rehearsal", None),
        )
        return aws.client(service)

    def instances(self) -> dict[str, list[str]]:
        """Role -> the ids of its instances that are there, as AWS itself says."""
        if not self.state:
            return {}
        found: dict[str, list[str]] = {}
        pages = self.cloud("ec2").describe_instances(
            Filters=[{"Name": "instance-state-name", "Values": ["pending", "running"]}]
        )
        for reservation in pages["Reservations"]:
            for instance in reservation["Instances"]:
                tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
                found.setdefault(tags.get(TAG_ROLE, ""), []).append(instance["InstanceId"])
        return found

    def wait(
        self, true: Callable[[], Any], *, what: str, seconds: float, pause: float = 0.5
    ) -> Any:
        """The first true value, or a failure that says what did not come."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := true():
                return found
            time.sleep(pause)
        raise AssertionError(f"{what}: not within {seconds:.0f} s\n{self.run('status').stdout}")

    def quiet(self) -> None:
        """No server runs, on just the workers that always run: where each test begins."""
        self.on("leader", "docker service ls -q | xargs -r docker service rm")
        self.wait(
            lambda: not self.on("leader", "docker service ls -q").strip(),
            what="all servers are gone",
            seconds=60,
        )
        self.wait(
            lambda: list(self.nodes().values()) == [("ready", "active")] * 2,
            what="just the two workers that always run are there",
            seconds=300,
        )
