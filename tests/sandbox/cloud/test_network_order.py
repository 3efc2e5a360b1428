"""A VPC's parts go in AWS's order or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.plugins.aws import CloudAccount
from tests.sandbox.cloud.world import World


def refused(call: Callable[..., Any], **params: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**params)
    return str(caught.value.response["Error"]["Code"])


def test_a_vpc_with_anything_in_it_stays(world: World) -> None:
    ec2, vpc = world.ec2, world.vpc
    for subnet in world.subnets:
        assert refused(ec2.delete_vpc, VpcId=vpc) == "DependencyViolation"
        ec2.delete_subnet(SubnetId=subnet)

    group = ec2.create_security_group(GroupName="g", Description="d", VpcId=vpc)["GroupId"]
    assert refused(ec2.delete_vpc, VpcId=vpc) == "DependencyViolation"
    ec2.delete_security_group(GroupId=group)

    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    assert refused(ec2.delete_vpc, VpcId=vpc) == "DependencyViolation"
    assert refused(ec2.delete_internet_gateway, InternetGatewayId=gateway) == "DependencyViolation"
    ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)

    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    assert refused(ec2.delete_vpc, VpcId=vpc) == "DependencyViolation"
    ec2.delete_route_table(RouteTableId=table)

    endpoint = ec2.create_vpc_endpoint(
        VpcId=vpc, ServiceName=f"com.amazonaws.{world.cloud.region}.s3", VpcEndpointType="Gateway"
    )["VpcEndpoint"]["VpcEndpointId"]
    assert refused(ec2.delete_vpc, VpcId=vpc) == "DependencyViolation"
    ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint])
    ec2.delete_vpc(VpcId=vpc)


def test_a_subnet_with_an_instance_stays_until_the_instance_is_gone(world: World) -> None:
    ident = world.running()
    subnet = world.subnets[0]
    assert refused(world.ec2.delete_subnet, SubnetId=subnet) == "DependencyViolation"
    world.cloud.plan.power_off = 0.2
    world.ec2.terminate_instances(InstanceIds=[ident])
    assert world.state(ident) == "shutting-down"
    assert refused(world.ec2.delete_subnet, SubnetId=subnet) == "DependencyViolation"
    world.wait_for(ident, "terminated")
    world.ec2.delete_subnet(SubnetId=subnet)


def test_a_security_group_that_others_name_or_wear_stays(world: World) -> None:
    ec2 = world.ec2
    one, two = (
        ec2.create_security_group(GroupName=name, Description="d", VpcId=world.vpc)["GroupId"]
        for name in ("one", "two")
    )
    rule = {
        "IpProtocol": "tcp",
        "FromPort": 22,
        "ToPort": 22,
        "UserIdGroupPairs": [{"GroupId": one}],
    }
    ec2.authorize_security_group_ingress(GroupId=two, IpPermissions=[rule])
    assert refused(ec2.delete_security_group, GroupId=one) == "DependencyViolation"
    ec2.revoke_security_group_ingress(GroupId=two, IpPermissions=[rule])

    ident = world.running(SecurityGroupIds=[one])
    assert refused(ec2.delete_security_group, GroupId=one) == "DependencyViolation"
    ec2.terminate_instances(InstanceIds=[ident])
    world.wait_for(ident, "terminated")
    ec2.delete_security_group(GroupId=one)


def test_a_group_may_name_itself_and_still_go(world: World) -> None:
    ec2 = world.ec2
    group = ec2.create_security_group(GroupName="g", Description="d", VpcId=world.vpc)["GroupId"]
    ec2.authorize_security_group_ingress(
        GroupId=group,
        IpPermissions=[{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}],
    )
    ec2.delete_security_group(GroupId=group)


def test_the_default_security_group_cannot_be_deleted(world: World) -> None:
    filters = [{"Name": "vpc-id", "Values": [world.vpc]}]
    (default,) = world.ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
    assert refused(world.ec2.delete_security_group, GroupId=default["GroupId"]) == "CannotDelete"


def test_a_gateway_stays_while_public_addresses_are_mapped(world: World) -> None:
    ec2 = world.ec2
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=world.vpc)
    ident = world.running()
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    link = ec2.associate_address(InstanceId=ident, AllocationId=address)["AssociationId"]
    detach = {"InternetGatewayId": gateway, "VpcId": world.vpc}
    assert refused(ec2.detach_internet_gateway, **detach) == "DependencyViolation"
    assert refused(ec2.release_address, AllocationId=address) == "InvalidIPAddress.InUse"
    ec2.disassociate_address(AssociationId=link)
    ec2.release_address(AllocationId=address)
    ec2.detach_internet_gateway(**detach)


def test_a_vpc_takes_one_internet_gateway(world: World) -> None:
    ec2 = world.ec2
    first, second = (
        ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"] for _ in range(2)
    )
    ec2.attach_internet_gateway(InternetGatewayId=first, VpcId=world.vpc)
    again = {"InternetGatewayId": second, "VpcId": world.vpc}
    assert refused(ec2.attach_internet_gateway, **again) == "InvalidParameterValue"


def test_a_nat_gateway_holds_subnet_and_address_until_it_is_deleted(world: World) -> None:
    world.cloud.settings.nat_delay = 0.15
    ec2, subnet = world.ec2, world.subnets[0]
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    made = ec2.create_nat_gateway(SubnetId=subnet, AllocationId=address)["NatGateway"]
    assert made["State"] == "pending"
    ident = made["NatGatewayId"]

    def state() -> str:
        found = ec2.describe_nat_gateways(NatGatewayIds=[ident])["NatGateways"][0]
        return str(found["State"])

    world.cloud.wait(lambda: state() == "available")
    ec2.delete_nat_gateway(NatGatewayId=ident)
    assert state() == "deleting"
    assert refused(ec2.delete_subnet, SubnetId=subnet) == "DependencyViolation"
    assert refused(ec2.release_address, AllocationId=address) == "InvalidIPAddress.InUse"
    world.cloud.wait(lambda: state() == "deleted")
    ec2.release_address(AllocationId=address)
    ec2.delete_subnet(SubnetId=subnet)


def test_a_mount_target_holds_its_subnet_and_group(world: World) -> None:
    ec2, efs, subnet = world.ec2, world.cloud.client("efs"), world.subnets[0]
    group = ec2.create_security_group(GroupName="nfs", Description="d", VpcId=world.vpc)["GroupId"]
    files = efs.create_file_system(CreationToken="f")["FileSystemId"]
    target = efs.create_mount_target(FileSystemId=files, SubnetId=subnet, SecurityGroups=[group])
    assert refused(ec2.delete_subnet, SubnetId=subnet) == "DependencyViolation"
    assert refused(ec2.delete_security_group, GroupId=group) == "DependencyViolation"
    assert refused(efs.delete_file_system, FileSystemId=files) == "FileSystemInUse"
    found = ec2.describe_network_interfaces(NetworkInterfaceIds=[target["NetworkInterfaceId"]])
    assert files in found["NetworkInterfaces"][0]["Description"]
    efs.delete_mount_target(MountTargetId=target["MountTargetId"])
    ec2.delete_security_group(GroupId=group)
    ec2.delete_subnet(SubnetId=subnet)
    efs.delete_file_system(FileSystemId=files)


def test_a_route_table_in_use_stays_and_a_route_is_made_once(world: World) -> None:
    ec2 = world.ec2
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=world.vpc)
    table = ec2.create_route_table(VpcId=world.vpc)["RouteTable"]["RouteTableId"]
    route = {
        "RouteTableId": table,
        "DestinationCidrBlock": "0.0.0.0/0",
        "GatewayId": gateway,
    }
    ec2.create_route(**route)
    assert refused(ec2.create_route, **route) == "RouteAlreadyExists"
    link = ec2.associate_route_table(RouteTableId=table, SubnetId=world.subnets[0])
    assert refused(ec2.delete_route_table, RouteTableId=table) == "DependencyViolation"
    ec2.disassociate_route_table(AssociationId=link["AssociationId"])
    ec2.delete_route_table(RouteTableId=table)


def test_the_main_route_table_stays(world: World) -> None:
    filters = [{"Name": "vpc-id", "Values": [world.vpc]}]
    (main,) = world.ec2.describe_route_tables(Filters=filters)["RouteTables"]
    code = refused(world.ec2.delete_route_table, RouteTableId=main["RouteTableId"])
    assert code == "DependencyViolation"


@pytest.mark.parametrize(
    ("quota", "call", "params", "code"),
    [
        ("L-F678F1CE", "create_vpc", {"CidrBlock": "10.9.0.0/16"}, "VpcLimitExceeded"),
        ("L-0263D0A3", "allocate_address", {"Domain": "vpc"}, "AddressLimitExceeded"),
    ],
)
def test_quotas_end_what_they_end_on_aws(
    cloud: CloudAccount, quota: str, call: str, params: dict[str, Any], code: str
) -> None:
    cloud.settings.quotas[quota] = 2
    make = getattr(cloud.client("ec2"), call)
    make(**params)
    if quota == "L-0263D0A3":
        make(**params)
    assert refused(make, **params) == code


def test_public_addresses_stay_on_this_machine(world: World) -> None:
    """moto's own inventions belong to strangers."""
    address = world.ec2.allocate_address(Domain="vpc")["PublicIp"]
    assert address.startswith("127.")
    nic = {"DeviceIndex": 0, "AssociatePublicIpAddress": True, "SubnetId": world.subnets[0]}
    ident = world.run(SubnetId=None, NetworkInterfaces=[nic])
    assert world.instance(ident)["PublicIpAddress"].startswith("127.")
