"""The hub's name in the operator's Route 53 zone."""

from __future__ import annotations

from functools import partial
from typing import Any

from hubdeploy.errors import ConfigError
from hubdeploy.pipeline.change import Changes, FieldChange, Unknown
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


class Zone(Part[str]):
    """Finds the zone; without a domain there is none, and nothing to do."""

    name = "dns.zone"
    title = "DNS zone"
    needs = ("deployment",)

    def observe(self) -> str:
        domain = self.config.domain
        if domain is None:
            return ""
        zones = self.ctx.inventory.once(
            "zones of DNS",
            lambda: self.ctx.aws.pages("route53", "list_hosted_zones", "HostedZones"),
        )
        zone = best_zone(domain, zones)
        return str(zone["Id"]).rpartition("/")[2] if zone else ""

    def changes(self, observed: str) -> Changes:
        domain = self.config.domain
        if domain is not None and not observed:
            raise ConfigError(
                f"domain: no public Route 53 zone for {domain} in account {self.names.account}",
                hint="create the zone, correct the domain, or leave it out: then self-signed",
            )
        self.outputs["zone"] = observed
        yield from ()


class Record(Part[dict[str, Any]]):
    """``notebooks.DOMAIN`` is the leader's address."""

    name = "dns.record"
    title = "DNS record"
    needs = ("dns.zone", "leader.address")

    def observe(self) -> dict[str, Any]:
        zone = Zone(self.ctx).observe()
        if not zone:
            return {}
        found = self.call(
            "route53",
            "list_resource_record_sets",
            HostedZoneId=zone,
            StartRecordName=f"{self.config.hub_host}.",
            StartRecordType="A",
            MaxItems="1",
        )["ResourceRecordSets"]
        here = [
            item
            for item in found
            if item["Name"] == f"{self.config.hub_host}." and item["Type"] == "A"
        ]
        return {"zone": zone, "record": here[0] if here else None}

    def changes(self, observed: dict[str, Any]) -> Changes:
        if not observed:
            return
        host, address = str(self.config.hub_host), self.outputs["address.ip"]
        record = observed["record"]
        old = _values(record)
        if old == [address] and record.get("TTL") == TTL:
            return
        apply = partial(self._set, observed["zone"], "UPSERT", host, address)
        if record is None:
            yield self.create(RESOURCE, f"{host} is {address}", apply, {"address": address})
        else:
            yield self.update(
                RESOURCE,
                f"{host} is {address}",
                apply,
                (FieldChange(name="address", old=" ".join(old), new=address),),
                disrupts="" if isinstance(address, Unknown) else f"{host} points elsewhere now",
            )

    def _set(self, zone: str, action: str, host: str, address: str, ttl: int = TTL) -> None:
        record = {
            "Name": f"{host}.",
            "Type": "A",
            "TTL": ttl,
            "ResourceRecords": [{"Value": address}],
        }
        self.call(
            "route53",
            "change_resource_record_sets",
            HostedZoneId=zone,
            ChangeBatch={"Changes": [{"Action": action, "ResourceRecordSet": record}]},
        )

    def destroy(self, observed: dict[str, Any]) -> Changes:
        record = observed.get("record")
        if record is None:
            return
        address = self.ctx.inventory.by_resource("describe_addresses", "Addresses").get(ADDRESS)
        # a record that points elsewhere is somebody else's
        if address is not None and _values(record) == [address["PublicIp"]]:
            host = str(self.config.hub_host)
            yield self.delete(
                RESOURCE,
                f"DNS record {host}",
                partial(
                    self._set,
                    observed["zone"],
                    "DELETE",
                    host,
                    address["PublicIp"],
                    int(record.get("TTL", TTL)),
                ),
            )


def _values(record: dict[str, Any] | None) -> list[str]:
    return [item["Value"] for item in (record or {}).get("ResourceRecords", [])]
