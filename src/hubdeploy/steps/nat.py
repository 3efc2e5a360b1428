"""The NAT gateway, and Elastic IPs, of which it holds one."""

from __future__ import annotations

from functools import partial
from typing import Any

from hubdeploy.errors import AwsError
from hubdeploy.pipeline.change import Changes
from hubdeploy.steps.base import Part, token

NAT_ALIVE = ("pending", "available")


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

        return self.until(probe, what=f"NAT gateway {nat}")

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
