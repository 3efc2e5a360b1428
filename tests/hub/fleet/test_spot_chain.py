"""A spot notice's whole way: metadata, the machine's watcher, its phase, the fleet, the users."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hubdeploy.config.names import Role
from hubdeploy.hub.fleet.model import LABEL_FLEET
from hubdeploy.node import spot
from tests.hub.fleet.conftest import Yard
from tests.plugins.deployment import Site
from tests.plugins.metadata import MetadataServer


class Enough(Exception):
    """Ends a loop that does not end by itself."""


def test_a_notice_in_the_metadata_closes_the_machine_tells_its_users_and_starts_another(
    yard: Yard, metadata: MetadataServer, tmp_path: Path
) -> None:
    fleet = yard.fleet()
    yard.start_server("ann")
    yard.tick(fleet)
    (instance,) = yard.started(1)
    yard.cloud.backend("ec2").get_instance(instance).lifecycle = "spot"
    node = yard.join(instance)
    yard.tick(fleet)
    yard.swarm.wait(lambda: any(t.get("NodeID") == node for t in yard.swarm.tasks()))
    home = yard.folder / "home" / "ann"
    home.mkdir()
    assert yard.tick(fleet) == []

    # the agent on that machine, with its role's rights, asks its metadata every few seconds
    site = Site(yard.cloud, metadata, tmp_path / "site")
    rounds = iter(range(3))

    def pause(_seconds: float) -> None:
        if next(rounds, None) is None:
            raise Enough
        notice = {"action": "terminate", "time": stamp(yard.now + 118)}
        metadata.paths["spot/instance-action"] = json.dumps(notice)

    address = yard.address(instance)
    with (
        site.machine(Role.WORKER, instance, private_ip=address, spot=True) as agent,
        pytest.raises(Enough),
    ):
        spot.watch(agent, pause=pause)
    until = stamp(yard.now + 118)

    # at the fleet's next look at AWS, fifteen seconds later at most
    assert yard.tick(fleet, seconds=16) == [
        f"Cordon {instance}",
        f"TellUsers {instance}",
        "SetDesired hubdeploy-demo-workers-m6i.xlarge",
    ]
    spec = yard.swarm.cluster.node(node)["Spec"]
    assert spec["Availability"] == "pause"
    assert spec["Labels"][LABEL_FLEET].startswith("spot:")
    (note,) = home.iterdir()
    assert f"taken back at {until[11:19]} UTC" in note.read_text()
    replacement = next(name for name in yard.started(2) if name != instance)

    # who was sent there just before it was closed is told as well, and nobody twice
    (yard.folder / "home" / "bob").mkdir()
    yard.start_server("bob", node=node)
    assert yard.tick(fleet, seconds=5) == [f"TellUsers {instance}"]
    assert yard.tick(fleet, seconds=5) == []
    yard.join(replacement)
    assert yard.tick(fleet, seconds=5) == [f"Activate {replacement}"]


def stamp(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
