"""The hub's name in the operator's Route 53 zone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from hubdeploy.aws.inventory import tags_of
from hubdeploy.config.names import TAG_HOST
from hubdeploy.errors import ConfigError
from hubdeploy.pipeline.change import Action, Change, Changes, FieldChange, Unknown
from hubdeploy.steps.base import Part
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

    The address remembers in a tag which name was pointed to it, so that the record is found again
    when the configuration names another domain, or none.
    """

    name = "dns.record"
    title = "DNS record"
    needs = ("dns.zone", "leader.address")

    @property
    def _address(self) -> dict[str, Any]:
        return self.ctx.inventory.by_resource("describe_addresses", "Addresses").get(ADDRESS, {})

    def observe(self) -> list[Seen]:
        """The configured name first, then the one of earlier."""
        hosts = (self.config.hub_host, tags_of(self._address).get(TAG_HOST))
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
                disrupts="" if isinstance(address, Unknown) else f"{host} points elsewhere now",
            )
        elif TAG_HOST not in tags_of(self._address):
            yield self.update(
                RESOURCE,
                f"note the name {host} at the leader's address",
                partial(self._note, host),
                (FieldChange(name=TAG_HOST, new=host),),
            )

    def _note(self, host: str) -> None:
        tags = [{"Key": TAG_HOST, "Value": host}]
        self.settle("ec2", "create_tags", Resources=[self.outputs["address"]], Tags=tags)

    def _set(self, seen: Seen, address: str) -> None:
        # noted first: a run that is killed in between still finds the record
        self._note(seen.host)
        self._change("UPSERT", seen, [address], TTL)

    def _is_ours(self, seen: Seen) -> bool:
        address = self._address.get("PublicIp")
        return address is not None and seen.addresses == [address]

    def _delete(self, seen: Seen) -> Change:
        ttl = int((seen.record or {}).get("TTL", TTL))
        return self.delete(
            RESOURCE,
            f"DNS record {seen.host}",
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
                    reason="that is not this deployment's address; if nothing else uses the name, "
                    "delete the record in Route 53",
                )
