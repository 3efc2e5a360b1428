"""What runs that failed or were cut short have left behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from hubdeploy.aws.inventory import tags_of
from hubdeploy.config.names import TAG_KEEP, TAG_RESOURCE, Role
from hubdeploy.doctor.check import Check, Stage
from hubdeploy.pipeline.step import Finding

SINGLE = (
    ("describe_vpcs", "Vpcs", "VpcId"),
    ("describe_subnets", "Subnets", "SubnetId"),
    ("describe_internet_gateways", "InternetGateways", "InternetGatewayId"),
    ("describe_nat_gateways", "NatGateways", "NatGatewayId"),
    ("describe_route_tables", "RouteTables", "RouteTableId"),
    ("describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId"),
    ("describe_security_groups", "SecurityGroups", "GroupId"),
    ("describe_addresses", "Addresses", "AllocationId"),
    ("describe_launch_templates", "LaunchTemplates", "LaunchTemplateId"),
)
"""EC2 objects of which a deployment has one for each logical name: read, items, id."""
LOOSE = (
    ("describe_volumes", "Volumes", "VolumeId", "State"),
    ("describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId", "Status"),
)
"""What should hang on a machine: read, items, id, state."""
SHOWN = 8
"""Names in one finding."""


class Leftovers(Check):
    """Nothing costs money or stands in the way that no part of the deployment is.

    Without a deployment: what an `up` that failed or a `down` that was cut short has left. With
    one: second objects of one logical name, and disks and interfaces that hang on nothing.
    """

    name = "leftovers"
    title = "Nothing is left of earlier failures"
    stage: ClassVar[Stage] = Stage.ALWAYS
    deadline = 45.0

    def find(self) -> Iterable[Finding]:
        if not self.ctx.status.exists:
            left = list(self._without_deployment())
            if left:
                more = f" and {len(left) - SHOWN} more" if len(left) > SHOWN else ""
                yield self.warning(
                    f"left of an earlier run: {', '.join(left[:SHOWN])}{more}",
                    hint="`hubdeploy up` goes on from there, `hubdeploy down` removes it",
                )
            return
        for what, why in (*self._doubles(), *self._loose(), *self._machines()):
            yield self.warning(f"{what} {why}", hint="look at it, then remove it by hand")

    def _without_deployment(self) -> Iterator[str]:
        from hubdeploy.steps import leftovers

        # secrets may be set before the first `up`
        yield from (n for n in leftovers(self.ctx.planning()) if not n.startswith("parameter "))

    def _doubles(self) -> Iterator[tuple[str, str]]:
        for operation, key, field in SINGLE:
            items = [item for item in self._items(operation, key) if not _is_going(item)]
            names = Counter(tags_of(item).get(TAG_RESOURCE, "") for item in items)
            for item in items:
                name = tags_of(item).get(TAG_RESOURCE, "")
                if not name:
                    yield str(item[field]), "bears this deployment's tag and is no part of it"
                elif names[name] > 1:
                    yield str(item[field]), f"is one of {names[name]} called {name}"

    def _loose(self) -> Iterator[tuple[str, str]]:
        from hubdeploy.steps.leader_parts import VOLUME

        for operation, key, field, state in LOOSE:
            items = self._items(operation, key)
            states = sum(tags_of(item).get(TAG_RESOURCE) == VOLUME for item in items)
            for item in items:
                tags = tags_of(item)
                # the hub's state waits there for the next leader
                kept = TAG_KEEP in tags or (tags.get(TAG_RESOURCE) == VOLUME and states == 1)
                if item.get(state) == "available" and not kept:
                    yield str(item[field]), "hangs on no machine"

    def _machines(self) -> Iterator[tuple[str, str]]:
        roles = Counter(m.role for m in self.ctx.status.machines)
        for machine in self.ctx.status.machines:
            if machine.role != Role.WORKER and roles[machine.role] > 1:
                yield machine.instance_id, f"is one of {roles[machine.role]} called {machine.role}"

    def _items(self, operation: str, key: str) -> list[dict[str, Any]]:
        return self.ctx.inventory.ec2(operation, key)


def _is_going(item: dict[str, Any]) -> bool:
    return str(item.get("State", "")).lower() in ("deleted", "deleting")


CHECKS: tuple[type[Check], ...] = (Leftovers,)
