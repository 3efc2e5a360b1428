"""The deployment's Chef server as the operator sees it: nodes, roles, cookbooks.

The admin's key comes from SSM by the operator's own right to read it, stays in this process's
memory, and is neither written nor shown. The way to the server is a tunnel: see
:mod:`hubdeploy.remote.tunnel`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hubdeploy.aws.session import Aws
from hubdeploy.chef.server import ChefServer
from hubdeploy.config.names import Names, Port, Role
from hubdeploy.errors import ChefError
from hubdeploy.operate.status import Machine
from hubdeploy.remote.tunnel import Tunnel

_ATTRIBUTES = {
    "name": ["name"],
    "run_list": ["run_list"],
    "converged": ["ohai_time"],
    "address": ["ipaddress"],
}


@dataclass(frozen=True, kw_only=True)
class ChefNode:
    """A node. ``machine`` is its label (``worker/2``), empty if no machine is behind it;
    ``converged`` the end of its last converge (ISO 8601 UTC), empty: never."""

    name: str
    machine: str
    run_list: list[str]
    address: str
    converged: str


@dataclass(frozen=True, kw_only=True)
class ChefRole:
    """A role and what it runs."""

    name: str
    run_list: list[str]


@dataclass(frozen=True, kw_only=True)
class Overview:
    """``cookbooks`` are the newest version of each; ``server`` its kind and version."""

    server: str
    nodes: list[ChefNode]
    roles: list[ChefRole]
    cookbooks: dict[str, str]


@contextmanager
def connected(
    tunnel: Tunnel, there: Sequence[Machine], *, aws: Aws, names: Names
) -> Iterator[ChefServer]:
    """The Chef server, signed for as its admin, through ``tunnel``.

    Its certificate is checked for its own name against the one that it published, wherever the
    tunnel ends.

    Raises:
        ChefError: there is no Chef server, or it has not published itself.
    """
    machine = next((m for m in there if m.role == Role.CHEF and m.state == "running"), None)
    if machine is None:
        raise ChefError("no Chef server is running", hint="`hubdeploy status` shows what there is")
    parameters = names.parameters
    wanted = (parameters.chef_state, parameters.chef_certificate, parameters.chef_admin)
    found = {
        item["Name"]: item["Value"]
        for item in aws.call("ssm", "get_parameters", Names=list(wanted), WithDecryption=True)[
            "Parameters"
        ]
    }
    if missing := [name for name in wanted if name not in found]:
        raise ChefError(
            f"the Chef server has not published itself yet: {missing[0]} is missing",
            hint="`hubdeploy status` shows how far it is",
        )
    try:
        state = json.loads(found[parameters.chef_state])
        admin = json.loads(found[parameters.chef_admin])
        url, client, key = str(state["url"]), str(admin["name"]), str(admin["key"])
    except (ValueError, KeyError, TypeError):
        raise ChefError(
            "what the Chef server published of itself cannot be read",
            hint="hubdeploy run --on chef-server 'hubdeploy-node chef-server publish' writes it "
            "again",
        ) from None
    with (
        tunnel.open(machine.target, port=Port.HTTPS) as local,
        ChefServer(
            url, client=client, key=key, trust=found[parameters.chef_certificate], connect=local
        ) as server,
    ):
        yield server


def overview(server: ChefServer, there: Sequence[Machine], *, names: Names) -> Overview:
    """What the server knows, with the machines' labels; some nodes' search rows may lag a second
    behind their saving."""
    labels = {names.node(Role(m.role), m.instance_id): m.label for m in there if m.role}
    rows = {row.get("name"): row for row in server.search("node", keys=_ATTRIBUTES)}
    info = server.check()
    return Overview(
        server=f"{info.flavour} {info.version}".strip(),
        nodes=[
            _node(name, rows.get(name) or {}, machine=labels.get(name, ""))
            for name in server.nodes()
        ],
        roles=[
            ChefRole(name=name, run_list=list(server.role(name).run_list))
            for name in server.roles()
        ],
        cookbooks={
            name: str(found["versions"][0]["version"])
            for name, found in sorted(server.request("GET", "/cookbooks").items())
            if found.get("versions")
        },
    )


def _node(name: str, row: dict[str, Any], *, machine: str) -> ChefNode:
    at = row.get("converged")
    return ChefNode(
        name=name,
        machine=machine,
        run_list=[str(item) for item in row.get("run_list") or []],
        address=str(row.get("address") or ""),
        converged=datetime.fromtimestamp(float(at), UTC).isoformat(timespec="seconds")
        if at
        else "",
    )
