"""A real JupyterHub with its real proxy, as processes on loopback, against any Docker API.

configurable-http-proxy comes from npm, once per machine: ``~/.cache/hubdeploy-tests`` or
``$HUBDEPLOY_TEST_CACHE`` keeps it.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from hubdeploy.config.hub import HubSection
from hubdeploy.hub import secrets

PROXY = "configurable-http-proxy@5.1.0"
ADMIN_PASSWORD = "admin-password-of-thirty-two-letters-and-more"
USER_PASSWORD = "shared-password-of-users"
DOCTOR_TOKEN = "d0c7" * 16


def proxy_command() -> str:
    """Path of configurable-http-proxy, installed by npm when this machine lacks it."""
    cache = Path(os.environ.get("HUBDEPLOY_TEST_CACHE") or Path.home() / ".cache/hubdeploy-tests")
    home = cache / PROXY
    command = home / "node_modules/.bin/configurable-http-proxy"
    if not command.exists():
        home.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(home), PROXY],
            check=True,
            capture_output=True,
            timeout=240,
        )
    return str(command)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def hub_settings(**hub: Any) -> dict[str, Any]:
    """Settings as the machines get them, with ``[hub]`` defaults and *hub* over them."""
    return {
        "deployment": "classroom",
        "region": "eu-central-1",
        "account": "123456789012",
        "hub_host": "hub.example.test",
        "hub_url": "https://hub.example.test/hub/login",
        "registry": "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
        "tls": {"kind": "self-signed"},
        "hub": HubSection.model_validate(hub).model_dump(),
        "limits": {},
        "workers": {"max_nodes": 4, "min_nodes": 0, "headroom": 2, "idle_after": 600},
    }


def write_secrets(folder: Path, **more: str) -> Path:
    """All secrets that any authenticator asks for; returns *folder*."""
    secrets.ensure(folder)
    given = {
        "oauth-client-secret": "s3cret",
        "shared-password": USER_PASSWORD,
        "admin-password": ADMIN_PASSWORD,
        "doctor-token": DOCTOR_TOKEN,
        **more,
    }
    for name, value in given.items():
        (folder / name).write_text(value)
    return folder


@dataclass
class HubProcess:
    """``hub.url`` is the proxy's address; ``restart()`` restarts the hub alone."""

    state: Path
    docker: str
    settings: Mapping[str, Any]
    extra: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.port, self.api, self.hub_port = free_port(), free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = self.state / "hub.log"
        self._proxy: subprocess.Popen[bytes] | None = None
        self._hub: subprocess.Popen[bytes] | None = None

    def write(self) -> Path:
        """The settings and the configuration file; returns the latter."""
        folder = write_secrets(self.state / "secrets")
        (self.state / "homes").mkdir(exist_ok=True)
        settings = self.state / "hub.json"
        settings.write_text(json.dumps(self.settings))
        config = self.state / "jupyterhub_config.py"
        config.write_text(
            f"""
c = get_config()
c.HubFleet.max_concurrent_users = 0
from hubdeploy.hub.config import configure
configure(c, {str(settings)!r}, {str(folder)!r}, address="127.0.0.1", state_dir={str(self.state)!r})
c.JupyterHub.bind_url = {self.url!r}
c.JupyterHub.public_url = ""
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{self.hub_port}"
c.JupyterHub.hub_connect_url = "http://127.0.0.1:{self.hub_port}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{self.api}"
c.HubSpawner.homes_dir = {str(self.state / "homes")!r}
c.HubSpawner.shared_dir = {str(self.state / "shared")!r}
c.HubSpawner.efs_dir = ""
c.HubSpawner.fleet_url = ""
c.JupyterHub.services = [
    {{"name": "fleet", "api_token": s["api_token"]}} if s["name"] == "fleet" else s
    for s in c.JupyterHub.services
]
{self.extra}
"""
        )
        return config

    def start(self) -> None:
        config = self.write()
        token = (self.state / "secrets/proxy-token").read_text().strip()
        hub_url = f"http://127.0.0.1:{self.hub_port}"
        arguments = {
            "--ip": "127.0.0.1",
            "--port": str(self.port),
            "--api-ip": "127.0.0.1",
            "--api-port": str(self.api),
            "--default-target": hub_url,
            "--error-target": f"{hub_url}/hub/error",
        }
        with (self.state / "proxy.log").open("ab") as log:
            self._proxy = subprocess.Popen(
                [proxy_command(), *(part for pair in arguments.items() for part in pair)],
                env={**os.environ, "CONFIGPROXY_AUTH_TOKEN": token},
                stdout=log,
                stderr=log,
            )
        self._start_hub(config)

    def _start_hub(self, config: Path) -> None:
        environment = {**os.environ, "DOCKER_HOST": self.docker, **self.environment}
        with self.log.open("ab") as log:
            self._hub = subprocess.Popen(
                [sys.executable, "-m", "jupyterhub", "-f", str(config)],
                cwd=self.state,
                env=environment,
                stdout=log,
                stderr=log,
            )
        self.wait_ready()

    def wait_ready(self, *, seconds: float = 180.0) -> None:
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"{self.url}/hub/health", timeout=2).status_code == 200:
                    return
            ended = self._hub is not None and self._hub.poll() is not None
            assert not ended, f"the hub ended:\n{self.tail()}"
            assert time.monotonic() < deadline, f"no hub:\n{self.tail()}"
            time.sleep(0.1)

    def tail(self, lines: int = 60) -> str:
        """The end of the hub's log, for failing tests."""
        return "\n".join(self.log.read_text().splitlines()[-lines:])

    @property
    def cpu(self) -> float:
        """Seconds of processor time that the hub's process has used."""
        assert self._hub is not None
        # the name, in brackets, may hold blanks; user and system time are fields 14 and 15
        fields = Path(f"/proc/{self._hub.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop_hub(self) -> None:
        _end(self._hub)
        self._hub = None

    def restart(self) -> None:
        """Stop the hub and start it again; the proxy and the servers go on meanwhile."""
        self.stop_hub()
        self._start_hub(self.state / "jupyterhub_config.py")

    def stop(self) -> None:
        self.stop_hub()
        _end(self._proxy)


def _end(process: subprocess.Popen[bytes] | None) -> None:
    if process is None or process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=10)


@contextlib.contextmanager
def running_hub(
    state: Path, docker: str, settings: Mapping[str, Any], *, extra: str = ""
) -> Iterator[HubProcess]:
    """A hub that has answered; ended on leaving."""
    hub = HubProcess(state, docker, settings, extra)
    try:
        hub.start()
        yield hub
    finally:
        hub.stop()
