"""The rehearsal as people use it: commands in processes of their own, users over https."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubdeploy.hub.client import HubClient

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
max_concurrent_users = 9
"""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A rehearsal in a folder of its own, which holds its configuration and state."""

    folder: Path
    name: str

    @property
    def config(self) -> Path:
        return self.folder / "hubdeploy.toml"

    def run(
        self, *words: str, check: bool = True, timeout: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """``hubdeploy WORDS --sandbox`` with what a fresh terminal has."""
        env = {**os.environ, "XDG_STATE_HOME": str(self.folder / "state"), "COLUMNS": "80"}
        ran = subprocess.run(
            [HUBDEPLOY, *words, "--sandbox", "--config", str(self.config)],
            capture_output=True,
            text=True,
            env=env,
            timeout=timeout,
            check=False,
        )
        if check and ran.returncode:
            raise AssertionError(f"hubdeploy {' '.join(words)}: {ran.stdout}\n{ran.stderr}")
        return ran

    def up(self) -> dict[str, Any]:
        """What ``up --json`` says."""
        ran = self.run("up", "--yes", "--replace", "--machines", "docker", "--json", timeout=900)
        found: dict[str, Any] = json.loads(ran.stdout)
        return found

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

    def host_of(self, user: str) -> str:
        """The swarm node on which a user's server runs."""
        return self.on(
            "leader",
            f"docker service ps $(docker service ls -q --filter label=hubdeploy.user={user}) "
            "--filter desired-state=running --format '{{.Node}}'",
        ).strip()

    @property
    def url(self) -> str:
        """The loopback address that ``up`` shows."""
        shown = self.run("open", "--print").stdout.strip()
        return re.sub(r"/hub/.*", "", shown)

    @property
    def password(self) -> str:
        """The one that the dummy authenticator takes from anybody."""
        return self.run("secret", "show", "hub/admin-password").stdout.strip()

    def user(self, name: str) -> HubClient:
        """A user who has logged in."""
        client = HubClient(url=self.url, user=name, verify=False)
        client.login(self.password)
        return client

    def cloud(self, service: str) -> Any:
        """A client for the rehearsal's AWS, for what people would do in its console."""
        from hubdeploy.aws.session import Aws

        state = json.loads(
            (self.folder / f"state/hubdeploy/sandbox/{self.name}/state.json").read_text()
        )
        aws = Aws(
            region="eu-central-1",
            endpoint_url=state["endpoint_url"],
            credentials=(state["access_key"], "rehearsal", None),
        )
        return aws.client(service)

    def wait(self, true: Callable[[], Any], *, what: str, seconds: float) -> Any:
        """The first true value, or a failure that says what did not come."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := true():
                return found
            time.sleep(0.5)
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
