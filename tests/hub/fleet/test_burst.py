"""Two hundred people at once: a real hub and proxy, the real spawner and fleet, no machine yet."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from hubdeploy.config.names import LABEL_INSTANCE
from hubdeploy.hub.fleet.observe import USABLE_SHARE
from tests.hub.fleet.conftest import GIB, TYPE, Yard
from tests.plugins.dockerapi import FakeSwarm
from tests.plugins.hubprocess import HubProcess, free_port, hub_settings, running_hub

PEOPLE = 200
MACHINE = int(16 * GIB * USABLE_SHARE)
"""Memory of a machine as the fleet expects it of the type: seven places of 2 GiB."""
TOKEN = "7e57" * 16


@pytest.fixture
def swarm() -> Iterator[FakeSwarm]:
    """Running tasks listen, so that the hub finds the servers that it started."""
    with FakeSwarm(notebooks=True) as running:
        running.add_node("leader", role="manager", availability="drain", address="127.0.7.250")
        yield running


@pytest.fixture
def hub(yard: Yard, tmp_path: Path) -> Iterator[HubProcess]:
    settings = hub_settings(
        authenticator={"kind": "dummy", "allow_all": True}, admins=["ada"], memory="2G", cpu=0.5
    ) | {
        "deployment": "demo",
        "region": yard.cloud.region,
        "account": yard.cloud.account,
        "workers": {"instance_types": [TYPE], "max_nodes": 40, "headroom": 0},
        "efs": {"file_system": yard.file_system},
    }
    state, port = tmp_path / "hub", free_port()
    state.mkdir()
    extra = f"""
import json
from hubdeploy.config.limits import Limits
from hubdeploy.hub.fleet.wiring import VARIABLE, hub_service
fleet = hub_service(json.load(open({str(state / "hub.json")!r})), Limits(max_nodes=40, headroom=0),
                    state_dir={str(state)!r}, homes={str(state / "homes")!r}, port={port})
# however slow this machine is: the burst is over when nobody new has come for a while
told = json.loads(fleet["environment"][VARIABLE])
fleet["environment"][VARIABLE] = json.dumps({{**told, "settle": 15, "settle_most": 600}})
c.JupyterHub.services = [fleet, {{"name": "class", "api_token": {TOKEN!r}}}]
c.JupyterHub.load_roles = [{{"name": "class", "services": ["class"],
                            "scopes": ["admin:users", "servers", "read:users"]}}]
c.HubSpawner.fleet_url = "http://127.0.0.1:{port}/services/fleet"
"""
    with running_hub(state, yard.swarm.url, settings, extra=extra) as running:
        health = f"{running.url}/services/fleet/health"
        yard.cloud.wait(
            lambda: requests.get(health).status_code == 200, what="the fleet service", timeout=30
        )
        yield running


def _join_what_boots(yard: Yard, stop: threading.Event) -> None:
    """Every new instance joins, drained, with its image pulled, a moment after all run."""
    joined: set[str] = set()
    while not stop.wait(0.5):
        instances = yard.instances()
        if len(instances) < yard.desired():
            continue
        for instance in set(instances) - joined:
            joined.add(instance)
            yard.swarm.add_node(
                f"node-{instance}",
                memory=MACHINE,
                cpu=4.0,
                address=f"127.0.7.{len(joined)}",
                availability="drain",
                labels={LABEL_INSTANCE: instance},
            )
            yard.say(instance, "ready")


@pytest.mark.slow
def test_two_hundred_starts_at_once_lose_and_double_none_and_ask_for_capacity_once(
    yard: Yard, hub: HubProcess
) -> None:
    yard.cloud.client("autoscaling").update_auto_scaling_group(
        AutoScalingGroupName=yard.names.workers_group(TYPE), MaxSize=40
    )
    session = requests.Session()
    session.headers["Authorization"] = f"token {TOKEN}"
    api = f"{hub.url}/hub/api"
    people = [f"student{number:03d}" for number in range(PEOPLE)]
    session.post(f"{api}/users", json={"usernames": people}, timeout=60).raise_for_status()
    stop = threading.Event()
    machines = threading.Thread(target=_join_what_boots, args=(yard, stop))

    def start(user: str) -> int:
        headers = {"Authorization": f"token {TOKEN}"}
        answer = requests.post(f"{api}/users/{user}/server", headers=headers, timeout=120)
        return answer.status_code

    with ThreadPoolExecutor(40) as pool:
        codes = Counter(pool.map(start, people))
    assert set(codes) <= {201, 202}, codes
    machines.start()
    try:
        deadline = time.monotonic() + 240
        while True:
            found: list[Any] = session.get(
                f"{api}/users", params={"state": "ready", "limit": "200"}, timeout=60
            ).json()
            if len(found) == PEOPLE:
                break
            assert time.monotonic() < deadline, f"{len(found)} ready:\n{hub.tail(8)}"
            time.sleep(1)
    finally:
        stop.set()
        machines.join()
    services = yard.swarm.services()
    assert len(services) == PEOPLE
    running = Counter(
        task["ServiceID"] for task in yard.swarm.tasks() if task["Status"]["State"] == "running"
    )
    assert set(running.values()) == {1}
    assert len(running) == PEOPLE
    asked = [
        call.params["DesiredCapacity"]
        for call in yard.cloud.calls.find("autoscaling:SetDesiredCapacity", role=None)
    ]
    assert asked == [-(-PEOPLE // 7)], "once, and as many as hold all"
