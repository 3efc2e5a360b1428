"""Cloud Map: filters that moto ignores, and the hosted zone that goes with its namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hubdeploy.sandbox.cloud.hooks import Hooks

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.calls import Call
    from hubdeploy.sandbox.cloud.server import Cloud

hooks = Hooks()


@hooks.amend("servicediscovery", "CreatePrivateDnsNamespace")
def created(cloud: Cloud, call: Call, _result: dict[str, Any]) -> None:
    """The zone bears the namespace's name, and AWS's mark that the service made it."""
    zones = cloud.backend("route53", call.account, call.region).zones
    for zone in zones.values():
        if zone.name.rstrip(".") == f"{call.params['Name']}-hz":
            zone.name = f"{call.params['Name']}."


@hooks.take("servicediscovery", "DeleteNamespace")
def deleting(cloud: Cloud, call: Call) -> None:
    backend = cloud.backend("servicediscovery", call.account, call.region)
    found = backend.namespaces.get(call.params["Id"])
    if found is None:
        return
    zone = str((found.dns_properties or {}).get("HostedZoneId", ""))
    zones = cloud.backend("route53", call.account, call.region).zones
    zones.pop(zone.rpartition("/")[2], None)


@hooks.amend("servicediscovery", "ListNamespaces")
def namespaces(_cloud: Cloud, call: Call, result: dict[str, Any]) -> None:
    for item in call.params.get("Filters") or []:
        field = {"TYPE": "Type", "NAME": "Name"}.get(item["Name"])
        if field:
            result["Namespaces"] = [n for n in result["Namespaces"] if n[field] in item["Values"]]


@hooks.amend("servicediscovery", "ListServices")
def services(cloud: Cloud, call: Call, result: dict[str, Any]) -> None:
    held = cloud.backend("servicediscovery", call.account, call.region).services
    for item in call.params.get("Filters") or []:
        if item["Name"] == "NAMESPACE_ID":
            result["Services"] = [
                s for s in result["Services"] if held[s["Id"]].namespace_id in item["Values"]
            ]
