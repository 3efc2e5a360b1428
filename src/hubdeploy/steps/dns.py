"""The hub's name in the operator's Route 53 zone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from hubdeploy.aws.inventory import tags_of
from hubdeploy.config.names import TAG_ADDRESS, TAG_HOST
from hubdeploy.errors import ConfigError
from hubdeploy.pipeline.change import Action, Change, Changes, FieldChange, Unknown
from hubdeploy.steps.base import Part, pairs
from hubdeploy.steps.leader_parts import ADDRESS

TTL = 60
RESOURCE = "dns"


def best_zone(domain: str, zones: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The public zone whose name is the longest end of ``domain``."""
    fitting = [
        zone
        for zone in zones
        if not zone.get("Config", {}).get("PrivateZone")
        and f".{domain}.".endswith(f".{zone['Name']}")
    ]
    return max(fitting, key=lambda zone: len(zone["Name"]), default=None)


def zone_of(part: Part[Any], domain: str) -> str:
    """Id of the public zone that holds ``domain``, or an empty string; one read for all."""
    zones = part.ctx.inventory.once(
        "zones of DNS",
        lambda: part.ctx.aws.pages("route53", "list_hosted_zones", "HostedZones"),
    )
    zone = best_zone(domain, zones)
    return str(zone["Id"]).rpartition("/")[2] if zone else ""


class Zone(Part[str]):
    """Finds the zone; without a domain there is none, and nothing to do."""

    name = "dns.zone"
    title = "DNS zone"
    needs = ("deployment",)

    def observe(self) -> str:
        return zone_of(self, self.config.domain) if self.config.domain else ""

    def changes(self, observed: str) -> Changes:
        domain = self.config.domain
        if domain is not None and not observed:
            raise ConfigError(
                f"domain: no public Route 53 zone for {domain} in account {self.names.account}",
                hint="create the zone, correct the domain, or leave it out: then self-signed",
            )
        self.outputs["zone"] = observed
        yield from ()


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A name, the zone that may hold it (empty for none) and its record of type A, if any."""

    host: str
    zone: str
    record: dict[str, Any] | None

    @property
    def addresses(self) -> list[str]:
        return [item["Value"] for item in (self.record or {}).get("ResourceRecords", [])]


class Record(Part[list[Seen]]):
    """``notebooks.DOMAIN`` is the leader's address.

    The VPC remembers in tags which name was pointed to which address: so the record is found again
    when the configuration names another domain, or none, and known as ours also when somebody gave
    the address back by hand. Such a record would lead to whomever AWS gives the address next.
    """

    name = "dns.record"
    title = "DNS record"
    needs = ("dns.zone", "leader.address", "network.vpc")

    @property
    def _noted(self) -> dict[str, str]:
        """The VPC's tags."""
        vpcs = self.ctx.inventory.by_resource("describe_vpcs", "Vpcs")
        return tags_of(vpcs.get("vpc", {}))

    def _ours(self, host: str) -> list[str]:
        """The leader's address and, for the name that is noted, those that it was given before."""
        found = self.ctx.inventory.by_resource("describe_addresses", "Addresses")
        now = [found[ADDRESS]["PublicIp"]] if ADDRESS in found else []
        return [*now, *self._noted_for(host)]

    def _noted_for(self, host: str) -> list[str]:
        noted = self._noted
        return noted.get(TAG_ADDRESS, "").split() if noted.get(TAG_HOST) == host else []

    def observe(self) -> list[Seen]:
        """The configured name first, then the one of earlier."""
        hosts = (self.config.hub_host, self._noted.get(TAG_HOST))
        return [self._look(host) for host in dict.fromkeys(hosts) if host]

    def _look(self, host: str) -> Seen:
        zone = zone_of(self, host)
        found = (
            self.call(
                "route53",
                "list_resource_record_sets",
                HostedZoneId=zone,
                StartRecordName=f"{host}.",
                StartRecordType="A",
                MaxItems="1",
            )["ResourceRecordSets"]
            if zone
            else []
        )
        here = [item for item in found if item["Name"] == f"{host}." and item["Type"] == "A"]
        return Seen(host=host, zone=zone, record=here[0] if here else None)

    def changes(self, observed: list[Seen]) -> Changes:
        # the older name first: once the new one is noted, nothing leads to its record
        for seen in reversed(observed):
            if seen.host == self.config.hub_host:
                yield from self._point(seen, self.outputs["address.ip"])
            elif self._is_ours(seen):
                yield self._delete(seen)

    def _point(self, seen: Seen, address: str) -> Changes:
        host, old = seen.host, seen.addresses
        apply = partial(self._set, seen, address)
        if seen.record is None:
            yield self.create(RESOURCE, f"{host} is {address}", apply, {"address": address})
        elif old != [address] or seen.record.get("TTL") != TTL:
            yield self.update(
                RESOURCE,
                f"{host} is {address}",
                apply,
                (FieldChange(name="address", old=" ".join(old), new=address),),
                disrupts=""
                if isinstance(address, Unknown) or self._is_ours(seen)
                else f"{host} points elsewhere now",
            )
        elif address not in self._noted_for(host):
            yield self.update(
                RESOURCE,
                f"note at the VPC that {host} is {address}",
                partial(self._note, host, [address]),
                (FieldChange(name=TAG_HOST, old=self._noted.get(TAG_HOST, ""), new=host),),
            )

    def _note(self, host: str, addresses: list[str]) -> None:
        tags = {TAG_HOST: host, TAG_ADDRESS: " ".join(addresses)}
        self.settle("ec2", "create_tags", Resources=[self.outputs["vpc"]], Tags=pairs(tags))

    def _set(self, seen: Seen, address: str) -> None:
        # noted first, with what the record says until then: a run that is killed in between still
        # knows it as ours
        before = seen.addresses if self._is_ours(seen) else []
        self._note(seen.host, [address, *(item for item in before if item != address)])
        self._change("UPSERT", seen, [address], TTL)

    def _is_ours(self, seen: Seen) -> bool:
        return len(seen.addresses) == 1 and seen.addresses[0] in self._ours(seen.host)

    def _delete(self, seen: Seen) -> Change:
        ttl = int((seen.record or {}).get("TTL", TTL))
        return self.delete(
            RESOURCE,
            f"DNS record {seen.host}, which is {seen.addresses[0]}",
            partial(self._change, "DELETE", seen, seen.addresses, ttl),
        )

    def _change(self, action: str, seen: Seen, addresses: list[str], ttl: int) -> None:
        record = {
            "Name": f"{seen.host}.",
            "Type": "A",
            "TTL": ttl,
            "ResourceRecords": [{"Value": address} for address in addresses],
        }
        self.call(
            "route53",
            "change_resource_record_sets",
            HostedZoneId=seen.zone,
            ChangeBatch={"Changes": [{"Action": action, "ResourceRecordSet": record}]},
        )

    def destroy(self, observed: list[Seen]) -> Changes:
        for seen in observed:
            if self._is_ours(seen):
                yield self._delete(seen)
            elif seen.record is not None:
                # perhaps somebody else's by now: only a person can tell
                yield Change(
                    action=Action.KEEP,
                    resource=RESOURCE,
                    title=f"DNS record {seen.host}, which points to {' '.join(seen.addresses)}",
                    apply=lambda: None,
                    reason="that was never this deployment's address; if nothing else uses the "
                    "name, delete the record in Route 53",
                )
