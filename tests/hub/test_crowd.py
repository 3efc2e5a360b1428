"""Very many users at the same time."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from hubdeploy.hub.client import HubClient, HubClientError
from tests.hub.conftest import add_workers
from tests.hub.test_hub import until
from tests.plugins.dockerapi import FakeSwarm
from tests.plugins.dockerscript import Script
from tests.plugins.hubprocess import (
    USER_PASSWORD,
    hub_settings,
    running_hub,
)


@pytest.mark.slow
def test_two_hundred_users_at_once_lose_and_double_no_server(tmp_path: Path) -> None:
    users = [f"u{number:03d}" for number in range(200)]
    settings = hub_settings(
        authenticator={"kind": "shared-password", "allow_all": True}, memory="512M", cpu=0.1
    )
    with FakeSwarm(notebooks=True, latency=0.01) as swarm:
        add_workers(swarm, 20)
        swarm.script(Script(delays={"preparing": 1.0}))
        with running_hub(tmp_path, swarm.url, settings) as hub:
            clients = _logged_in(hub.url, users)
            begun, used = time.monotonic(), hub.cpu
            with ThreadPoolExecutor(50) as pool:
                answers = list(pool.map(_request_start, clients))
            assert set(answers) <= {201, 202}
            with ThreadPoolExecutor(20) as pool:
                list(pool.map(_until_ready, clients))
            seconds, used = time.monotonic() - begun, hub.cpu - used
            services, tasks = swarm.services(), swarm.tasks()
            assert len(services) == len(tasks) == 200
            owners = Counter(s["Spec"]["Labels"]["hubdeploy.user"] for s in services.values())
            assert set(owners.values()) == {1}
            assert set(owners) == set(users)
            per_node = Counter(task["NodeID"] for task in tasks)
            # 16 fill a worker of 8 GiB: 13 of the 20 workers are enough for 200
            assert len(per_node) == 13
            ports = {
                (t["NodeID"], p["PublishedPort"])
                for t in tasks
                for p in t["Status"]["PortStatus"]["Ports"]
            }
            assert len(ports) == 200
            print(f"\n{seconds:.0f} s, {used:.1f} s of the hub's processor")  # noqa: T201
            # how long it takes depends on what else runs here, the hub's own work does not
            assert used < 60
            assert seconds < 240


def _logged_in(url: str, users: list[str]) -> list[HubClient]:
    clients = [HubClient(url, user, timeout=120) for user in users]
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda client: client.login(USER_PASSWORD), clients))
    return clients


def _request_start(client: HubClient) -> int:
    answer = client._request(
        "POST", f"/hub/api/users/{client.user}/server", headers=client._xsrf("/hub/")
    )
    return answer.status_code


def _until_ready(client: HubClient) -> None:
    client.timeout = 20

    def ready() -> bool:
        try:
            return bool((client.server() or {}).get("ready"))
        except HubClientError as error:
            # one answer that a busy machine loses is no lost server: it is asked for again
            if isinstance(error.__cause__, requests.Timeout):
                return False
            raise

    until(ready, seconds=240)
