"""The Chef server's nodes, as the workstation sees them: for the doctor and for people."""

from __future__ import annotations

from typing import Any

from hubdeploy.chef.server import ChefServer
from hubdeploy.errors import ChefError
from hubdeploy.node.aws import Cloud
from hubdeploy.node.chefserver import Actor
from hubdeploy.node.sweeping import machines_of
from hubdeploy.node.workstation import chef_access


def _server(cloud: Cloud) -> ChefServer:
    access = chef_access(cloud)
    admin = Actor.decode(cloud.parameter(cloud.machine.names.parameters.chef_admin))
    if access is None or admin is None:
        raise ChefError("the Chef server has not published itself yet")
    return ChefServer(access.url, client=admin.name, key=admin.key, trust=access.trust)


def listed(cloud: Cloud) -> list[dict[str, Any]]:
    """``{"name", "instance", "checked_in"}`` of each machine that is a node, a client or both.

    ``checked_in`` is the end of its last converge in seconds since 1970, or None: never saved.
    """
    with _server(cloud) as server:
        known = machines_of(cloud.machine.deployment, {*server.nodes(), *server.clients()})
        rows = server.search("node", keys={"name": ["name"], "at": ["ohai_time"]})
    at = {row.get("name"): row.get("at") for row in rows}
    return [
        {"name": name, "instance": instance, "checked_in": at.get(name)}
        for name, instance in sorted(known.items())
    ]


def forget(cloud: Cloud, name: str) -> None:
    """Delete a node and its client; refused for anything but a machine of this deployment."""
    if name not in machines_of(cloud.machine.deployment, {name}):
        raise ChefError(f"{name!r} is no machine of {cloud.machine.deployment}")
    with _server(cloud) as server:
        server.forget(name)
