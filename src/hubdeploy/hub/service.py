"""A user's server as a swarm service: the JSON that Docker's API takes, built in one place.

Memory and CPU are always reserved (a limit alone reserves nothing, and swarm would overfill its
machines: moby/moby#31555). The restart policy is 'none': a server that ended stays ended until
its user or the hub starts it again. The notebook's port is published on the worker itself
(host mode) with DNS round robin in place of a virtual address, so neither an overlay network nor
IP_VS is needed and no idle connection is cut after 15 minutes (moby/moby#31208).
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hubdeploy.config.names import (
    LABEL_DEPLOYMENT,
    LABEL_SERVER,
    LABEL_USER,
    NOTEBOOK_GID,
    NOTEBOOK_UID,
    Port,
)
from hubdeploy.hub.homes import digest
from hubdeploy.hub.placement import NODE_TYPE, Request

NANO = 10**9
_LABEL = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
#: the hub itself watches what becomes of an update: swarm's own watch would only pause it
UPDATE = {"Parallelism": 1, "FailureAction": "continue", "Order": "stop-first"}


@dataclass(frozen=True, kw_only=True)
class Bind:
    """A folder of the worker that the container sees at ``target``."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, kw_only=True)
class Server:
    """All that makes up one user's server, except where it runs.

    ``memory`` is bytes (reserved and limited), ``cpu`` nano-CPUs reserved, ``cpu_limit`` nano-CPUs
    or 0 for 'all of the machine's'.
    """

    name: str
    user: str
    server: str
    deployment: str
    image: str
    args: Sequence[str]
    env: Mapping[str, str]
    binds: Sequence[Bind]
    memory: int
    cpu: int
    cpu_limit: int = 0
    port: int = 8888
    instance_type: str = ""
    kept: frozenset[str] = frozenset()
    grace_seconds: int = 10
    owner: str = f"{NOTEBOOK_UID}:{NOTEBOOK_GID}"
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def request(self) -> Request:
        """What it reserves, and on which machines."""
        return Request(
            memory=self.memory, cpu=self.cpu, instance_type=self.instance_type, kept=self.kept
        )


@dataclass(frozen=True, kw_only=True)
class Spot:
    """Where it goes: a node (empty: wherever swarm finds room) and the worker's port."""

    node: str
    published: int


def service_name(user: str, server: str = "") -> str:
    """Swarm service of a user's (named) server: a DNS label of at most 63 characters.

    No two servers share one; plain user names stay readable.
    """
    if not server and len(user) <= 40 and _LABEL.fullmatch(user):
        return f"nb-{user}"
    parts = [re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") for part in (user, server)]
    readable = "-".join(part[:15].strip("-") for part in parts if part)
    # the length makes the pair unambiguous
    return f"nb-{readable or 'user'}--{digest(f'{len(user)}:{user}{server}')}"


def spec(server: Server, spot: Spot) -> dict[str, Any]:
    """Keyword arguments for docker-py's ``create_service`` and ``update_service``."""
    return {
        "name": server.name,
        "labels": {
            **server.labels,
            LABEL_USER: server.user,
            LABEL_SERVER: server.server,
            LABEL_DEPLOYMENT: server.deployment,
        },
        "mode": {"Replicated": {"Replicas": 1}},
        "endpoint_spec": {
            "Mode": "dnsrr",
            "Ports": [
                {
                    "Protocol": "tcp",
                    "TargetPort": server.port,
                    "PublishedPort": spot.published,
                    "PublishMode": "host",
                }
            ],
        },
        "update_config": UPDATE,
        "task_template": _task_template(server, spot),
    }


def _task_template(server: Server, spot: Spot) -> dict[str, Any]:
    container = {
        "Image": server.image,
        "Args": list(server.args),
        "Env": [f"{name}={value}" for name, value in sorted(server.env.items())],
        "User": server.owner,
        "Mounts": [
            {
                "Type": "bind",
                "Source": bind.source,
                "Target": bind.target,
                "ReadOnly": bind.read_only,
            }
            for bind in server.binds
        ],
        "Labels": {LABEL_USER: server.user, LABEL_SERVER: server.server},
        "StopGracePeriod": server.grace_seconds * NANO,
        # a notebook needs none of root's powers, not even by a setuid program
        "CapabilityDrop": ["ALL"],
    }
    limits = {"MemoryBytes": server.memory}
    if server.cpu_limit:
        limits["NanoCPUs"] = server.cpu_limit
    return {
        "ContainerSpec": container,
        "Resources": {
            "Limits": limits,
            "Reservations": {"MemoryBytes": server.memory, "NanoCPUs": server.cpu},
        },
        "RestartPolicy": {"Condition": "none"},
        "Placement": {"Constraints": constraints(server.request, spot.node)},
    }


def constraints(request: Request, node: str) -> list[str]:
    """Workers only; of one type where the profile says so, else of none that is kept for others;
    one node where it was chosen."""
    found = ["node.role==worker"]
    if request.instance_type:
        found.append(f"{NODE_TYPE}=={request.instance_type}")
    else:
        found += [f"{NODE_TYPE}!={kept}" for kept in sorted(request.kept)]
    if node:
        found.append(f"node.id=={node}")
    return found


def as_api(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The ``Spec`` object that ``GET /services`` will show for :func:`spec`'s result."""
    return {
        "Name": kwargs["name"],
        "Labels": dict(kwargs["labels"]),
        "Mode": kwargs["mode"],
        "TaskTemplate": kwargs["task_template"],
        "EndpointSpec": kwargs["endpoint_spec"],
    }


def moved(present: Mapping[str, Any], spot: Spot, request: Request) -> dict[str, Any]:
    """Keyword arguments that give a service, whose ``Spec`` is *present*, another place.

    Everything else stays as it was: a server that is moved after the hub's configuration changed
    is still the server that its user started. The counter makes swarm start a new task even when
    it comes back to the same machine.
    """
    template = dict(present["TaskTemplate"])
    template["Placement"] = {"Constraints": constraints(request, spot.node)}
    template["ForceUpdate"] = int(template.get("ForceUpdate") or 0) + 1
    endpoint = dict(present["EndpointSpec"])
    endpoint["Ports"] = [
        {**port, "PublishedPort": spot.published} for port in endpoint.get("Ports") or ()
    ]
    return {
        "name": present["Name"],
        "labels": dict(present.get("Labels") or {}),
        "mode": present["Mode"],
        "endpoint_spec": endpoint,
        "update_config": UPDATE,
        "task_template": template,
    }


def ports_in_use(services: Iterable[Mapping[str, Any]]) -> set[int]:
    """Published ports that services ask for, on whichever machine they are."""
    return {
        int(port["PublishedPort"])
        for service in services
        for port in ((service.get("Spec") or {}).get("EndpointSpec") or {}).get("Ports") or ()
        if port.get("PublishedPort")
    }


def choose_port(taken: Collection[int], *, chance: random.Random) -> int:
    """A port of the workers' open range, preferably one that no other server has.

    Docker would itself choose from the kernel's ephemeral range for a host-mode port, which the
    workers' security group keeps closed. Where more servers run than there are ports, two may
    share a number on different machines; swarm's scheduler knows which machine has it free.
    """
    first, last = Port.NOTEBOOKS
    free = [port for port in range(first, last + 1) if port not in taken]
    return chance.choice(free) if free else chance.randint(first, last)
