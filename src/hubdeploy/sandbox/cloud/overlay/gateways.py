"""NAT gateways and VPC endpoints: they take their time, and leave nothing when they are gone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from hubdeploy.sandbox.cloud.fault import AwsFault
from hubdeploy.sandbox.cloud.hooks import Hooks

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.calls import Call
    from hubdeploy.sandbox.cloud.server import Cloud

hooks = Hooks()


def _due(cloud: Cloud, account: str, region: str) -> dict[str, tuple[float, str]]:
    """NAT gateway -> (when, state that it reaches then)."""
    return cloud.store(account, region, "nat", dict)


def settle(cloud: Cloud, account: str, region: str) -> None:
    """Bring gateways on the way to where they have got by now."""
    due = _due(cloud, account, region)
    if not due:
        return
    ec2 = cloud.backend("ec2", account, region)
    for ident, (moment, state) in list(due.items()):
        if time.monotonic() < moment:
            continue
        del due[ident]
        gateway = ec2.nat_gateways[ident]
        gateway.state = state
        if state == "deleted":
            for address in ec2.addresses:
                if address.eni is gateway._eni:
                    address.eni = address.instance = address.association_id = None
            ec2.enis.pop(gateway._eni.id, None)


@hooks.amend("ec2", "CreateNatGateway")
def created(cloud: Cloud, call: Call, result: dict[str, Any]) -> None:
    entry = result["NatGateway"]
    gateway = cloud.backend("ec2", call.account, call.region).nat_gateways[entry["NatGatewayId"]]
    gateway.state = entry["State"] = "pending"
    gateway._eni.description = f"Interface for NAT Gateway {gateway.id}"
    gateway._eni.status = "in-use"
    gateway._eni.requester_managed = True
    gateway._eni.interface_type = "nat_gateway"
    moment = time.monotonic() + cloud.settings.nat_delay
    _due(cloud, call.account, call.region)[gateway.id] = (moment, "available")


@hooks.take("ec2", "DeleteNatGateway")
def delete(cloud: Cloud, call: Call) -> dict[str, Any]:
    ident = call.params["NatGatewayId"]
    gateway = cloud.backend("ec2", call.account, call.region).nat_gateways.get(ident)
    if gateway is None:
        raise AwsFault("NatGatewayNotFound", f"The Nat Gateway {ident} was not found")
    if gateway.state != "deleted":
        gateway.state = "deleting"
        moment = time.monotonic() + cloud.settings.nat_delay
        _due(cloud, call.account, call.region)[ident] = (moment, "deleted")
    return {"NatGatewayId": ident}


@hooks.take("ec2", "DescribeNatGateways", "DescribeAddresses", "DescribeNetworkInterfaces")
def look(cloud: Cloud, call: Call) -> None:
    settle(cloud, call.account, call.region)


@hooks.amend("ec2", "DeleteVpcEndpoints")
def endpoints_deleted(cloud: Cloud, call: Call, _result: dict[str, Any]) -> None:
    held = cloud.backend("ec2", call.account, call.region).vpc_end_points
    for ident in call.params["VpcEndpointIds"]:
        held.pop(ident, None)
