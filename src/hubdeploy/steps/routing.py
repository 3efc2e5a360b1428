"""How machines reach the internet and S3: internet gateway, routes, endpoint."""

from __future__ import annotations

from functools import partial
from typing import Any

from hubdeploy.aws.inventory import tags_of
from hubdeploy.config.names import TAG_RESOURCE
from hubdeploy.errors import AwsError
from hubdeploy.pipeline.change import Changes, FieldChange
from hubdeploy.steps.base import Part, token

ANYWHERE = "0.0.0.0/0"


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
                    blocked_by=partial(self._mapped, item["VpcId"]),
                    InternetGatewayId=gateway,
                    VpcId=item["VpcId"],
                ),
            )
        yield self.delete(
            "gateway",
            f"internet gateway {gateway}",
            partial(self.remove, "ec2", "delete_internet_gateway", InternetGatewayId=gateway),
        )

    def _mapped(self, vpc_id: str) -> str:
        """What still has a public address in the VPC, by which AWS keeps the gateway there."""
        found = self.ctx.aws.pages(
            "ec2",
            "describe_network_interfaces",
            "NetworkInterfaces",
            Filters=[{"Name": "vpc-id", "Values": [vpc_id]}],
        )
        return ", ".join(
            f"{item['NetworkInterfaceId']} ({item['Association']['PublicIp']})"
            for item in found
            if item.get("Association", {}).get("PublicIp")
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
