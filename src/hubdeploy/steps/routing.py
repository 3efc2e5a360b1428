"""How machines reach the internet and S3: internet gateway, NAT gateway, routes, endpoint."""

from __future__ import annotations

from functools import partial
from typing import Any

from hubdeploy.aws.inventory import tags_of
from hubdeploy.config.names import TAG_RESOURCE
from hubdeploy.errors import AwsError
from hubdeploy.pipeline.change import Changes, FieldChange
from hubdeploy.steps.base import Part, token

ANYWHERE = "0.0.0.0/0"
NAT_ALIVE = ("pending", "available")
NAT_DEADLINE = 600.0


class InternetGateway(Part[dict[str, Any]]):
    """The VPC's way out."""

    name = "network.gateway"
    title = "Internet gateway"
    needs = ("network.vpc",)

    def observe(self) -> dict[str, Any]:
        found = self.ctx.inventory.by_resource("describe_internet_gateways", "InternetGateways")
        return found.get("gateway", {})

    def changes(self, observed: dict[str, Any]) -> Changes:
        tags = self.tags("gateway")
        gateway = observed.get("InternetGatewayId")
        if gateway is None:
            gateway = yield self.create(
                "gateway", "internet gateway", partial(self._create, tags), {}
            )
        else:
            yield from self.retag_ec2(observed, gateway, tags)
        vpc_id = self.outputs["vpc"]
        attached = [item["VpcId"] for item in observed.get("Attachments", [])]
        if vpc_id not in attached:
            yield self.update(
                "gateway",
                "attach the internet gateway to the VPC",
                partial(
                    self.settle,
                    "ec2",
                    "attach_internet_gateway",
                    InternetGatewayId=gateway,
                    VpcId=vpc_id,
                ),
                (FieldChange(name="vpc", old=" ".join(attached), new=vpc_id),),
            )
        self.outputs["gateway"] = gateway

    def _create(self, tags: dict[str, str]) -> str:
        made = self.call(
            "ec2",
            "create_internet_gateway",
            TagSpecifications=[self.tag_spec("internet-gateway", tags)],
        )
        return str(made["InternetGateway"]["InternetGatewayId"])

    def destroy(self, observed: dict[str, Any]) -> Changes:
        if not observed:
            return
        gateway = observed["InternetGatewayId"]
        for item in observed.get("Attachments", []):
            yield self.delete(
                "gateway",
                f"detach {gateway} from {item['VpcId']}",
                partial(
                    self.remove,
                    "ec2",
                    "detach_internet_gateway",
                    wait_on={"DependencyViolation"},
                    InternetGatewayId=gateway,
                    VpcId=item["VpcId"],
                ),
            )
        yield self.delete(
            "gateway",
            f"internet gateway {gateway}",
            partial(self.remove, "ec2", "delete_internet_gateway", InternetGatewayId=gateway),
        )


class Nat(Part[dict[str, Any]]):
    """One NAT gateway with its address, for private machines; none with ``egress = "public"``."""

    name = "network.nat"
    title = "NAT gateway"
    needs = ("network.subnets", "network.gateway")

    def observe(self) -> dict[str, Any]:
        gateways = self.ctx.inventory.ec2("describe_nat_gateways", "NatGateways")
        addresses = self.ctx.inventory.by_resource("describe_addresses", "Addresses")
        return {
            "gateways": [g for g in gateways if g["State"] in NAT_ALIVE],
            "address": addresses.get("address.nat"),
        }

    def changes(self, observed: dict[str, Any]) -> Changes:
        if self.config.network.egress != "nat":
            return
        address = observed["address"]
        if address is None:
            allocation = yield self.create(
                "address.nat", "address of the NAT gateway", partial(allocate, self, "address.nat")
            )
        else:
            allocation = address["AllocationId"]
            yield from self.retag_ec2(address, allocation, self.tags("address.nat"))
        gateways = observed["gateways"]
        if gateways:
            nat = gateways[0]["NatGatewayId"]
            yield from self.retag_ec2(gateways[0], nat, self.tags("nat"))
            if gateways[0]["State"] == "pending":
                yield self.waiting("nat", "NAT gateway", partial(self._available, nat))
        else:
            subnet = self.outputs["subnets.public"][0]
            nat = yield self.create(
                "nat",
                "NAT gateway (takes about two minutes)",
                partial(self._create, subnet, allocation),
                {"subnet": subnet},
            )
        self.outputs["nat"] = nat

    def _create(self, subnet: str, allocation: str) -> str:
        seed = token("nat", subnet, allocation)
        for _ in range(5):
            made = self.settle(
                "ec2",
                "create_nat_gateway",
                SubnetId=subnet,
                AllocationId=allocation,
                ClientToken=seed,
                TagSpecifications=[self.tag_spec("natgateway", self.tags("nat"))],
            )["NatGateway"]
            nat = str(made["NatGatewayId"])
            # a token remembers its gateway after that is gone
            if made.get("State", "pending") in NAT_ALIVE:
                break
            seed = token(seed, nat)
        self._available(nat)
        return nat

    def _available(self, nat: str) -> str:
        def probe() -> str | None:
            found = self.settle("ec2", "describe_nat_gateways", NatGatewayIds=[nat])
            state = found["NatGateways"][0] if found["NatGateways"] else {}
            if state.get("State") in ("failed", "deleting", "deleted"):
                code = state.get("FailureCode", state["State"])
                raise AwsError(
                    f"NAT gateway {nat}: {state.get('FailureMessage', code)}",
                    hint="run `hubdeploy up` again; it makes another",
                    code=code,
                    operation="create_nat_gateway",
                )
            return nat if state.get("State") == "available" else None

        return self.until(probe, what=f"NAT gateway {nat}", deadline=NAT_DEADLINE)

    def destroy(self, observed: dict[str, Any]) -> Changes:
        for item in self.ctx.inventory.ec2("describe_nat_gateways", "NatGateways"):
            if item["State"] != "deleted":
                nat = item["NatGatewayId"]
                yield self.delete(
                    "nat", f"NAT gateway {nat}", partial(self._end, nat, item["State"])
                )
        address = observed["address"]
        if address is not None:
            yield self.delete(
                "address.nat",
                f"address {address['AllocationId']}",
                partial(release, self, address["AllocationId"]),
            )

    def _end(self, nat: str, state: str) -> None:
        if state != "deleting":
            self.remove("ec2", "delete_nat_gateway", NatGatewayId=nat)

        def probe() -> bool | None:
            try:
                found = self.call("ec2", "describe_nat_gateways", NatGatewayIds=[nat])
            except AwsError as error:
                if error.code == "NatGatewayNotFound":
                    return True
                raise
            states = {item["State"] for item in found["NatGateways"]}
            return True if states <= {"deleted", "failed"} else None

        self.until(probe, what=f"NAT gateway {nat} to be gone", deadline=self.config.waits.delete)


def allocate(part: Part[Any], resource: str) -> str:
    """An Elastic IP with our tags; its allocation id."""
    made = part.call(
        "ec2",
        "allocate_address",
        Domain="vpc",
        TagSpecifications=[part.tag_spec("elastic-ip", part.tags(resource))],
    )
    return str(made["AllocationId"])


def release(part: Part[Any], allocation: str) -> None:
    """Give an Elastic IP back. It stays in use for a while after what used it is gone."""
    part.remove(
        "ec2",
        "release_address",
        wait_on={"InvalidIPAddress.InUse", "AuthFailure"},
        AllocationId=allocation,
    )


class Routes(Part[dict[str, dict[str, Any]]]):
    """Route tables: public subnets go out by the internet gateway, private ones by NAT."""

    name = "network.routes"
    title = "Routes"
    needs = ("network.subnets", "network.gateway", "network.nat")

    def observe(self) -> dict[str, dict[str, Any]]:
        return self.ctx.inventory.by_resource("describe_route_tables", "RouteTables")

    def changes(self, observed: dict[str, dict[str, Any]]) -> Changes:
        subnets: dict[str, str] = self.outputs["subnets"]
        tables = {"routes.public": ("GatewayId", self.outputs["gateway"])}
        if self.config.network.egress == "nat":
            tables["routes.private"] = ("NatGatewayId", self.outputs["nat"])
        ids = []
        for resource, (kind, target) in tables.items():
            table = observed.get(resource, {})
            table_id = table.get("RouteTableId")
            if table_id is None:
                table_id = yield self.create(
                    resource, f"route table {resource}", partial(self._create, resource)
                )
            else:
                yield from self.retag_ec2(table, table_id, self.tags(resource))
            ids.append(table_id)
            yield from self._default_route(resource, table, table_id, kind, target)
            wanted = [
                subnet
                for name, subnet in subnets.items()
                if name.startswith("subnet." + resource.removeprefix("routes."))
            ]
            yield from self._associate(resource, table_id, wanted, observed)
        self.outputs["routes"] = ids

    def _create(self, resource: str) -> str:
        made = self.settle(
            "ec2",
            "create_route_table",
            VpcId=self.outputs["vpc"],
            ClientToken=token("routes", resource, self.outputs["vpc"]),
            TagSpecifications=[self.tag_spec("route-table", self.tags(resource))],
        )
        return str(made["RouteTable"]["RouteTableId"])

    def _default_route(
        self, resource: str, table: dict[str, Any], table_id: str, kind: str, target: str
    ) -> Changes:
        default = [
            route
            for route in table.get("Routes", [])
            if route.get("DestinationCidrBlock") == ANYWHERE
        ]
        old = next((route.get(kind, "other") for route in default), "")
        if old == target and default[0].get("State") != "blackhole":
            return
        operation = "replace_route" if default else "create_route"
        yield self.update(
            resource,
            f"route {ANYWHERE} of {resource}",
            partial(
                self.settle,
                "ec2",
                operation,
                RouteTableId=table_id,
                DestinationCidrBlock=ANYWHERE,
                **{kind: target},
            ),
            (FieldChange(name=ANYWHERE, old=old, new=target),),
        )

    def _associate(
        self,
        resource: str,
        table_id: str,
        wanted: list[str],
        observed: dict[str, dict[str, Any]],
    ) -> Changes:
        used = {
            item.get("SubnetId"): (table["RouteTableId"], item["RouteTableAssociationId"])
            for table in observed.values()
            for item in table.get("Associations", [])
        }
        for subnet in wanted:
            old, association = used.get(subnet, ("", ""))
            if old == table_id:
                continue
            # a subnet has one table: one that was moved by hand is moved back
            how = (
                {"operation": "replace_route_table_association", "AssociationId": association}
                if old
                else {"operation": "associate_route_table", "SubnetId": subnet}
            )
            yield self.update(
                resource,
                f"use {resource} in a subnet",
                partial(self.settle, "ec2", RouteTableId=table_id, **how),
                (FieldChange(name=subnet, old=old, new=table_id),),
            )

    def destroy(self, observed: dict[str, dict[str, Any]]) -> Changes:
        for resource, table in observed.items():
            for item in table.get("Associations", []):
                if not item.get("Main"):
                    association = item["RouteTableAssociationId"]
                    yield self.delete(
                        resource,
                        f"association {association}",
                        partial(
                            self.remove,
                            "ec2",
                            "disassociate_route_table",
                            AssociationId=association,
                        ),
                    )
            table_id = table["RouteTableId"]
            yield self.delete(
                resource,
                f"route table {table_id}",
                partial(self.remove, "ec2", "delete_route_table", RouteTableId=table_id),
            )


class Endpoint(Part[list[dict[str, Any]]]):
    """S3 by a gateway endpoint: free, and packages and artifacts need no NAT."""

    name = "network.endpoint"
    title = "S3 endpoint"
    needs = ("network.routes",)

    def observe(self) -> list[dict[str, Any]]:
        found = self.ctx.inventory.ec2("describe_vpc_endpoints", "VpcEndpoints")
        return [item for item in found if item.get("State", "").lower() not in ("deleted",)]

    def changes(self, observed: list[dict[str, Any]]) -> Changes:
        alive = [item for item in observed if item.get("State", "").lower() != "deleting"]
        tables: list[str] = self.outputs["routes"]
        if not alive:
            yield self.create(
                "endpoint.s3", "gateway endpoint for S3", partial(self._create, tables)
            )
            return
        endpoint = alive[0]
        yield from self.retag_ec2(endpoint, endpoint["VpcEndpointId"], self.tags("endpoint.s3"))
        missing = sorted(set(tables) - set(endpoint.get("RouteTableIds", [])))
        if missing:
            yield self.update(
                "endpoint.s3",
                "use the S3 endpoint in all route tables",
                partial(
                    self.settle,
                    "ec2",
                    "modify_vpc_endpoint",
                    VpcEndpointId=endpoint["VpcEndpointId"],
                    AddRouteTableIds=missing,
                ),
                (FieldChange(name="route tables", new=" ".join(missing)),),
            )

    def _create(self, tables: list[str]) -> str:
        made = self.settle(
            "ec2",
            "create_vpc_endpoint",
            VpcEndpointType="Gateway",
            VpcId=self.outputs["vpc"],
            ServiceName=f"com.amazonaws.{self.config.region}.s3",
            RouteTableIds=tables,
            ClientToken=token("endpoint", self.outputs["vpc"], *tables),
            TagSpecifications=[self.tag_spec("vpc-endpoint", self.tags("endpoint.s3"))],
        )
        return str(made["VpcEndpoint"]["VpcEndpointId"])

    def destroy(self, observed: list[dict[str, Any]]) -> Changes:
        for item in observed:
            endpoint = item["VpcEndpointId"]
            yield self.delete(
                tags_of(item).get(TAG_RESOURCE, endpoint),
                f"endpoint {endpoint}",
                partial(self._end, endpoint, item.get("State", "").lower()),
            )

    def _end(self, endpoint: str, state: str) -> None:
        if state != "deleting":
            self.remove("ec2", "delete_vpc_endpoints", VpcEndpointIds=[endpoint])

        def probe() -> bool | None:
            try:
                found = self.call("ec2", "describe_vpc_endpoints", VpcEndpointIds=[endpoint])
            except AwsError as error:
                if error.code == "InvalidVpcEndpointId.NotFound":
                    return True
                raise
            states = {item.get("State", "").lower() for item in found["VpcEndpoints"]}
            return True if states <= {"deleted"} else None

        self.until(probe, what=f"endpoint {endpoint} to be gone", deadline=self.config.waits.delete)
