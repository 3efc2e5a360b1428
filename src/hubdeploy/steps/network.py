"""The VPC and its subnets."""

from __future__ import annotations

from functools import partial
from typing import Any

from hubdeploy.aws.inventory import tags_of
from hubdeploy.config.names import TAG_RESOURCE
from hubdeploy.pipeline.change import Changes, FieldChange
from hubdeploy.steps import fixed
from hubdeploy.steps.base import Part
from hubdeploy.steps.carving import Subnet, carve, choose_zones

DNS = {"enableDnsSupport": "EnableDnsSupport", "enableDnsHostnames": "EnableDnsHostnames"}
"""VPC attribute, as it is read -> as it is set. Mounting EFS by name needs both."""


class Vpc(Part[dict[str, Any]]):
    """The VPC; its tags remember the settings that cannot be changed."""

    name = "network.vpc"
    title = "VPC"
    needs = ("deployment",)

    def observe(self) -> dict[str, Any]:
        vpc = self.ctx.inventory.by_resource("describe_vpcs", "Vpcs").get("vpc")
        if vpc is None:
            return {}
        attributes = {}
        for attribute, field in DNS.items():
            answer = self.call(
                "ec2", "describe_vpc_attribute", VpcId=vpc["VpcId"], Attribute=attribute
            )
            attributes[attribute] = bool(answer[field]["Value"])
        return {**vpc, "attributes": attributes}

    def changes(self, observed: dict[str, Any]) -> Changes:
        cidr = self.config.network.cidr
        tags = {**self.tags("vpc"), **fixed.tags(self.config)}
        vpc_id = observed.get("VpcId")
        if vpc_id is None:
            vpc_id = yield self.create(
                "vpc", f"VPC {cidr}", lambda: self._create(cidr, tags), {"cidr": cidr}
            )
        else:
            yield from self.retag_ec2(observed, vpc_id, tags)
        seen = observed.get("attributes", {"enableDnsSupport": True, "enableDnsHostnames": False})
        for attribute, field in DNS.items():
            if not seen[attribute]:
                yield self.update(
                    "vpc",
                    f"{attribute} of the VPC",
                    partial(
                        self.settle,
                        "ec2",
                        "modify_vpc_attribute",
                        VpcId=vpc_id,
                        **{field: {"Value": True}},
                    ),
                    (FieldChange(name=attribute, old="False", new="True"),),
                )
        self.outputs["vpc"] = vpc_id

    def _create(self, cidr: str, tags: dict[str, str]) -> str:
        made = self.call(
            "ec2", "create_vpc", CidrBlock=cidr, TagSpecifications=[self.tag_spec("vpc", tags)]
        )
        return str(made["Vpc"]["VpcId"])

    def destroy(self, observed: dict[str, Any]) -> Changes:
        if observed:
            vpc_id = observed["VpcId"]
            yield self.delete(
                "vpc",
                f"VPC {vpc_id}",
                lambda: self.remove(
                    "ec2", "delete_vpc", VpcId=vpc_id, blocked_by=lambda: self._dependents(vpc_id)
                ),
            )

    def _dependents(self, vpc_id: str) -> str:
        """DeleteVpc does not say what blocks it (hashicorp/terraform#5762): look for ourselves."""
        found: list[str] = []
        for operation, key, field in (
            ("describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId"),
            ("describe_subnets", "Subnets", "SubnetId"),
            ("describe_security_groups", "SecurityGroups", "GroupId"),
            ("describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId"),
        ):
            for item in self.ctx.aws.pages(
                "ec2", operation, key, Filters=[{"Name": "vpc-id", "Values": [vpc_id]}]
            ):
                if item.get("GroupName") == "default":
                    continue
                about = item.get("Description", "")
                found.append(f"{item[field]} ({about})" if about else str(item[field]))
        return ", ".join(found[:10])


class Subnets(Part[dict[str, dict[str, Any]]]):
    """A public and (with NAT) a private subnet in every zone."""

    name = "network.subnets"
    title = "Subnets"
    needs = ("network.vpc",)

    def observe(self) -> dict[str, dict[str, Any]]:
        return self.ctx.inventory.by_resource("describe_subnets", "Subnets")

    def changes(self, observed: dict[str, dict[str, Any]]) -> Changes:
        vpc_id = self.outputs["vpc"]
        ids: dict[str, str] = {}
        wanted = self._wanted(observed)
        for subnet in wanted:
            tags = self.tags(subnet.resource)
            found = observed.get(subnet.resource)
            if found is None:
                ids[subnet.resource] = yield self.create(
                    subnet.resource,
                    f"subnet {subnet.cidr} in {subnet.zone}",
                    partial(self._create, subnet, vpc_id, tags),
                    {"cidr": subnet.cidr, "zone": subnet.zone, "public": subnet.public},
                )
                public_addresses = False
            else:
                ids[subnet.resource] = found["SubnetId"]
                yield from self.retag_ec2(found, found["SubnetId"], tags)
                public_addresses = bool(found.get("MapPublicIpOnLaunch"))
            # machines ask for a public address themselves when they need one
            if public_addresses:
                subnet_id = ids[subnet.resource]
                yield self.update(
                    subnet.resource,
                    f"no public addresses by default in {subnet.resource}",
                    partial(
                        self.call,
                        "ec2",
                        "modify_subnet_attribute",
                        SubnetId=subnet_id,
                        MapPublicIpOnLaunch={"Value": False},
                    ),
                    (FieldChange(name="public addresses", old="True", new="False"),),
                )
        private = self.config.network.egress == "nat"
        self.outputs["subnets"] = ids
        self.outputs["subnets.public"] = [ids[s.resource] for s in wanted if s.public]
        self.outputs["subnets.machines"] = [
            ids[s.resource] for s in wanted if s.public is not private
        ]
        self.outputs["zones"] = [s.zone for s in wanted if s.public]

    def _wanted(self, observed: dict[str, dict[str, Any]]) -> list[Subnet]:
        wanted = self.config.network.zones
        seen = sorted({item["AvailabilityZone"] for item in observed.values()})
        # a zone that AWS adds later must not move the deployment: keep to those in use
        if isinstance(wanted, int) and len(seen) == wanted:
            zones = seen
        else:
            zones = choose_zones(wanted, self._zones())
        return carve(self.config.network.cidr, zones, private=self.config.network.egress == "nat")

    def _zones(self) -> list[str]:
        found = self.ctx.inventory.once(
            "zones",
            lambda: self.call(
                "ec2",
                "describe_availability_zones",
                Filters=[
                    {"Name": "state", "Values": ["available"]},
                    {"Name": "zone-type", "Values": ["availability-zone"]},
                ],
            )["AvailabilityZones"],
        )
        return [zone["ZoneName"] for zone in found]

    def _create(self, subnet: Subnet, vpc_id: str, tags: dict[str, str]) -> str:
        made = self.settle(
            "ec2",
            "create_subnet",
            VpcId=vpc_id,
            CidrBlock=subnet.cidr,
            AvailabilityZone=subnet.zone,
            TagSpecifications=[self.tag_spec("subnet", tags)],
        )
        return str(made["Subnet"]["SubnetId"])

    def destroy(self, observed: dict[str, dict[str, Any]]) -> Changes:
        # what a service left behind when it let go holds a subnet for ever
        for item in self.ctx.inventory.ec2("describe_network_interfaces", "NetworkInterfaces"):
            if item["Status"] == "available":
                interface = item["NetworkInterfaceId"]
                yield self.delete(
                    "interface",
                    f"interface {interface}",
                    partial(
                        self.remove,
                        "ec2",
                        "delete_network_interface",
                        NetworkInterfaceId=interface,
                    ),
                )
        for item in observed.values():
            subnet_id = item["SubnetId"]
            yield self.delete(
                tags_of(item).get(TAG_RESOURCE, subnet_id),
                f"subnet {subnet_id}",
                partial(
                    self.remove,
                    "ec2",
                    "delete_subnet",
                    SubnetId=subnet_id,
                    blocked_by=partial(interfaces_in, self, "subnet-id", subnet_id),
                ),
            )


def interfaces_in(part: Part[Any], filter_name: str, value: str) -> str:
    """Network interfaces that hold a subnet or a security group, with what AWS says of each."""
    found = part.ctx.aws.pages(
        "ec2",
        "describe_network_interfaces",
        "NetworkInterfaces",
        Filters=[{"Name": filter_name, "Values": [value]}],
    )
    return ", ".join(
        f"{item['NetworkInterfaceId']} ({item.get('Description') or item.get('Status', '')})"
        for item in found[:10]
    )
