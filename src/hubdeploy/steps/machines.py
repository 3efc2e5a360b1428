"""The three single instances. All are launched as early as they can be and wait for each other."""

from __future__ import annotations

from typing import Any

from hubdeploy.config.names import Role
from hubdeploy.steps.machine import Machine

CHEF_DISK = 40 << 30
WORKSTATION_DISK = 20 << 30

LAUNCH = (
    "network.routes",
    "network.endpoint",
    "firewall",
    "access.key",
    "iam",
    "release",
    "discovery",
    "logs",
)
"""What any machine has to find when it boots; all but the NAT gateway are there in seconds."""


class ChefServer(Machine):
    """The Chef server; comes up from its own backup when it is replaced."""

    name = "machine.chef-server"
    title = "Chef server"
    needs = LAUNCH
    role = Role.CHEF
    disrupts = "no converge until it is back; servers go on running"

    @property
    def instance_type(self) -> str:
        return self.config.chef.instance_type

    @property
    def disk(self) -> int:
        return CHEF_DISK

    @property
    def settings(self) -> dict[str, Any]:
        chef = self.config.chef
        return {
            **super().settings,
            "chef.server_version": chef.server_version,
            "chef.server_sha256": chef.server_sha256,
            # by its digest: a licence id is nobody's business
            "chef.licence_id": f"licence {chef.licence_id}" * 8 if chef.licence_id else None,
        }


class Workstation(Machine):
    """Uploads cookbooks and roles; holds nothing of its own."""

    name = "machine.workstation"
    title = "Workstation"
    needs = LAUNCH
    role = Role.WORKSTATION
    disrupts = ""

    @property
    def instance_type(self) -> str:
        return self.config.chef.workstation_type

    @property
    def disk(self) -> int:
        return WORKSTATION_DISK


class Leader(Machine):
    """The hub's machine, in the zone of its volume."""

    name = "machine.leader"
    title = "Leader"
    needs = (*LAUNCH, "files.targets", "leader.volume", "leader.address")
    role = Role.LEADER
    disrupts = "the hub is away for some minutes; running servers survive but cannot be reached"

    @property
    def instance_type(self) -> str:
        return self.config.leader.instance_type

    @property
    def disk(self) -> int:
        return self.config.leader.disk

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, "leader.disk": self.config.leader.disk}

    @property
    def public(self) -> bool:
        # until its Elastic IP is attached, so that it can begin at once
        return True

    def subnets(self) -> list[str]:
        zones: list[str] = self.outputs["zones"]
        public: list[str] = self.outputs["subnets.public"]
        return [public[zones.index(self.outputs["volume.zone"])]]
