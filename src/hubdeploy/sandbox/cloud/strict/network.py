"""The order in which a VPC's parts may go. moto deletes most of them while they are in use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hubdeploy.sandbox.cloud.fault import AwsFault
from hubdeploy.sandbox.cloud.hooks import Hooks
from hubdeploy.sandbox.cloud.overlay import gateways

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.calls import Call
    from hubdeploy.sandbox.cloud.server import Cloud

hooks = Hooks()


def _ec2(cloud: Cloud, call: Call) -> Any:
    gateways.settle(cloud, call.account, call.region)
    return cloud.backend("ec2", call.account, call.region)


def _instances(ec2: Any) -> Iterator[Any]:
    return (i for i in ec2.all_instances() if i.state != "terminated")


def _depends(kind: str, ident: str) -> AwsFault:
    return AwsFault(
        "DependencyViolation", f"The {kind} '{ident}' has dependencies and cannot be deleted."
    )


@hooks.check("ec2", "DeleteVpc")
def delete_vpc(cloud: Cloud, call: Call) -> None:
    ec2, vpc = _ec2(cloud, call), call.params["VpcId"]
    if vpc not in ec2.vpcs:
        return
    used = (
        any(subnet.vpc_id == vpc for zone in ec2.subnets.values() for subnet in zone.values())
        or any(group.name != "default" for group in ec2.groups.get(vpc, {}).values())
        or any(gw.vpc is not None and gw.vpc.id == vpc for gw in ec2.internet_gateways.values())
        or any(t.vpc_id == vpc and t.main_association_id is None for t in ec2.route_tables.values())
        or any(eni.vpc_id == vpc for eni in ec2.enis.values())
        or any(e.vpc_id == vpc and e.state != "deleted" for e in ec2.vpc_end_points.values())
        or any(n.vpc_id == vpc and n.state != "deleted" for n in ec2.nat_gateways.values())
        or any(instance.vpc_id == vpc for instance in _instances(ec2))
    )
    if used:
        raise _depends("vpc", vpc)


@hooks.check("ec2", "DeleteSubnet")
def delete_subnet(cloud: Cloud, call: Call) -> None:
    ec2, subnet = _ec2(cloud, call), call.params["SubnetId"]
    if (
        any(eni.subnet_id == subnet for eni in ec2.enis.values())
        or any(instance.subnet_id == subnet for instance in _instances(ec2))
        or any(n.subnet_id == subnet and n.state != "deleted" for n in ec2.nat_gateways.values())
    ):
        raise _depends("subnet", subnet)


@hooks.amend("ec2", "DeleteSubnet")
def subnet_deleted(cloud: Cloud, call: Call, _result: dict[str, Any]) -> None:
    """AWS takes a subnet's route table association away with it."""
    for table in _ec2(cloud, call).route_tables.values():
        for association, subnet in list(table._associations.items()):
            if subnet == call.params["SubnetId"]:
                del table._associations[association]


@hooks.check("ec2", "DeleteSecurityGroup")
def delete_security_group(cloud: Cloud, call: Call) -> None:
    ec2, ident = _ec2(cloud, call), call.params.get("GroupId")
    group = ec2.get_security_group_from_id(ident) if ident else None
    if ident is None or group is None:
        return
    if group.name == "default":
        raise AwsFault("CannotDelete", "the specified group: default cannot be deleted by a user")
    used = any(ident in [g.id for g in eni.group_set] for eni in ec2.enis.values()) or any(
        ident in [g.id for g in instance.security_groups] for instance in _instances(ec2)
    )
    if used or any(_names(other, ident) for other in _groups(ec2) if other.id != ident):
        raise AwsFault("DependencyViolation", f"resource {ident} has a dependent object")


def _groups(ec2: Any) -> list[Any]:
    return [group for groups in ec2.groups.values() for group in groups.values()]


def _names(group: Any, ident: str) -> bool:
    """Whether a group's rules name another one as their peer."""
    rules = [*group.ingress_rules, *group.egress_rules]
    return any((rule.source_group or {}).get("GroupId") == ident for rule in rules)


@hooks.check("ec2", "DetachInternetGateway")
def detach_gateway(cloud: Cloud, call: Call) -> None:
    ec2, vpc = _ec2(cloud, call), call.params["VpcId"]
    mapped = any(eni.vpc_id == vpc and eni.public_ip for eni in ec2.enis.values()) or any(
        n.vpc_id == vpc and n.state != "deleted" and n.connectivity_type == "public"
        for n in ec2.nat_gateways.values()
    )
    if mapped:
        raise AwsFault(
            "DependencyViolation",
            f"Network {vpc} has some mapped public address(es). Please unmap those public "
            "address(es) before detaching the gateway.",
        )


@hooks.check("ec2", "AttachInternetGateway")
def attach_gateway(cloud: Cloud, call: Call) -> None:
    vpc, ident = call.params["VpcId"], call.params["InternetGatewayId"]
    for gateway in _ec2(cloud, call).internet_gateways.values():
        if gateway.vpc is not None and gateway.vpc.id == vpc and gateway.id != ident:
            raise AwsFault(
                "InvalidParameterValue", f"Network {vpc} already has an internet gateway attached"
            )


@hooks.check("ec2", "DeleteRouteTable")
def delete_route_table(cloud: Cloud, call: Call) -> None:
    table = _ec2(cloud, call).route_tables.get(call.params["RouteTableId"])
    if table is not None and table.main_association_id is not None:
        raise _depends("routeTable", table.id)


@hooks.check("ec2", "AssociateRouteTable")
def associate_route_table(cloud: Cloud, call: Call) -> None:
    subnet, wanted = call.params.get("SubnetId"), call.params["RouteTableId"]
    for table in _ec2(cloud, call).route_tables.values():
        if subnet and subnet in table._associations.values() and table.id != wanted:
            raise AwsFault(
                "Resource.AlreadyAssociated",
                f"the specified association for route table {wanted} conflicts with an existing "
                "association",
            )


@hooks.check("ec2", "CreateRoute")
def create_route(cloud: Cloud, call: Call) -> None:
    table = _ec2(cloud, call).route_tables.get(call.params["RouteTableId"])
    cidr = call.params.get("DestinationCidrBlock")
    if table is None or cidr is None:
        return
    if any(route.destination_cidr_block == cidr for route in table._routes.values()):
        raise AwsFault("RouteAlreadyExists", f"The route identified by {cidr} already exists.")


@hooks.check("ec2", "ReleaseAddress")
def release_address(cloud: Cloud, call: Call) -> None:
    ec2, ident = _ec2(cloud, call), call.params.get("AllocationId")
    for address in ec2.addresses:
        if address.allocation_id == ident and address.association_id:
            raise AwsFault("InvalidIPAddress.InUse", f"Address {address.public_ip} is in use.")


@hooks.check("ec2", "DisassociateAddress")
def disassociate_address(cloud: Cloud, call: Call) -> None:
    """A NAT gateway's address goes only with the gateway."""
    ec2, wanted = _ec2(cloud, call), call.params.get("AssociationId")
    for gateway in ec2.nat_gateways.values():
        if gateway.state == "deleted":
            continue
        for address in ec2.addresses:
            if address.association_id == wanted and address.eni is gateway._eni:
                raise AwsFault(
                    "AuthFailure",
                    "You do not have permission to access the specified resource.",
                )


@hooks.check("ec2", "DeleteNetworkInterface")
def delete_interface(cloud: Cloud, call: Call) -> None:
    eni = _ec2(cloud, call).enis.get(call.params["NetworkInterfaceId"])
    if eni is not None and (eni.instance is not None or eni.status == "in-use"):
        raise AwsFault(
            "InvalidParameterValue", f"Network interface '{eni.id}' is currently in use."
        )


@hooks.check("ec2", "CreateVpc")
def create_vpc(cloud: Cloud, call: Call) -> None:
    limit = int(cloud.settings.quotas.get("L-F678F1CE", 5))
    if len(_ec2(cloud, call).vpcs) >= limit:
        raise AwsFault("VpcLimitExceeded", "The maximum number of VPCs has been reached.")


@hooks.check("ec2", "AllocateAddress")
def allocate_address(cloud: Cloud, call: Call) -> None:
    limit = int(cloud.settings.quotas.get("L-0263D0A3", 5))
    if len(_ec2(cloud, call).addresses) >= limit:
        raise AwsFault("AddressLimitExceeded", "The maximum number of addresses has been reached.")


@hooks.check("ec2", "CreateSubnet")
def create_subnet(cloud: Cloud, call: Call) -> None:
    zone = call.params.get("AvailabilityZone")
    if zone and not zone.startswith(call.region):
        raise AwsFault(
            "InvalidParameterValue",
            f"Value ({zone}) for parameter availabilityZone is invalid. Subnets can currently only "
            f"be created in the following availability zones: {call.region}a, {call.region}b.",
        )
    vpc = _ec2(cloud, call).vpcs.get(call.params["VpcId"])
    if vpc is None:
        raise AwsFault(
            "InvalidVpcID.NotFound", f"The vpc ID '{call.params['VpcId']}' does not exist"
        )
