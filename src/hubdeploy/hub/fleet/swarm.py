"""What the fleet reads from the leader's Docker engine and does to swarm nodes there."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import requests
from docker import APIClient
from docker.errors import APIError, DockerException
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from hubdeploy.config.names import LABEL_USER
from hubdeploy.errors import HubdeployError
from hubdeploy.hub.fleet.model import Pending
from hubdeploy.hub.placement import NodeView, is_alive, node_views, pinned_to, request_of

Json = dict[str, Any]


class SwarmError(HubdeployError):
    """The Docker engine of the leader refused something or was not reached."""


@dataclass(frozen=True, kw_only=True)
class SwarmFacts:
    """One look at the swarm. ``people``: users with a server that has a place;
    ``last_arrival``: when the newest service was made (epoch seconds)."""

    nodes: tuple[NodeView, ...] = ()
    pending: tuple[Pending, ...] = ()
    people: frozenset[str] = frozenset()
    servers: int = 0
    last_arrival: float = 0.0
    node_states: Mapping[str, str] = field(default_factory=dict)


def facts(nodes: list[Json], tasks: list[Json], services: list[Json]) -> SwarmFacts:
    """Read the three listings. A server waits when its task has no node and names none."""
    users: dict[str, str] = {}
    fresh: dict[str, Json] = {}
    arrival = ""
    for service in services:
        spec = service.get("Spec") or {}
        user = (spec.get("Labels") or {}).get(LABEL_USER, "")
        if user:
            users[service["ID"]] = user
            fresh[service["ID"]] = service
            arrival = max(arrival, service.get("CreatedAt", ""))
    waiting: list[Pending] = []
    people: set[str] = set()
    servers = 0
    for task in tasks:
        owner = task.get("ServiceID", "")
        fresh.pop(owner, None)
        user = users.get(owner, "")
        if not user or not is_alive(task) or task.get("DesiredState") in ("shutdown", "remove"):
            continue
        spec = task.get("Spec") or {}
        if task.get("NodeID") or pinned_to(spec):
            people.add(user)
            servers += 1
        else:
            status = task.get("Status") or {}
            words = str(status.get("Err") or status.get("Message") or "")
            waiting.append(_pending(user, spec, task.get("CreatedAt", ""), words))
    for owner, service in fresh.items():
        spec = service["Spec"]
        if ((spec.get("Mode") or {}).get("Replicated") or {}).get("Replicas", 1):
            template = spec.get("TaskTemplate") or {}
            if pinned_to(template):
                people.add(users[owner])
                servers += 1
            else:
                waiting.append(_pending(users[owner], template, service.get("CreatedAt", ""), ""))
    return SwarmFacts(
        nodes=tuple(node_views(nodes, tasks, services)),
        pending=tuple(sorted(waiting, key=lambda p: (p.since, p.user))),
        people=frozenset(people),
        servers=servers,
        last_arrival=when(arrival),
        node_states={node["ID"]: (node.get("Status") or {}).get("State", "") for node in nodes},
    )


def _pending(user: str, spec: Mapping[str, Any], created: str, words: str) -> Pending:
    request = request_of(spec)
    return Pending(
        user=user,
        memory=request.memory,
        cpu=request.cpu,
        instance_type=request.instance_type,
        since=when(created),
        reason=words,
    )


def when(text: str) -> float:
    """Epoch seconds of Docker's RFC 3339 time (nanoseconds and all); 0 for none."""
    if not text:
        return 0.0
    whole, dot, rest = text.partition(".")
    if not dot:
        return datetime.fromisoformat(whole.replace("Z", "+00:00")).timestamp()
    digits = rest.rstrip("Z")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{digits[:9] or 0}")


class Swarm:
    """The leader's engine. Methods raise SwarmError."""

    def __init__(self, base_url: str | None = None, *, timeout: int = 30) -> None:
        url = base_url or os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
        # a fixed version: asking the engine for its own would fail here when it is down
        self._api: Any = APIClient(base_url=url, version="1.41", timeout=timeout)

    def look(self) -> SwarmFacts:
        try:
            return facts(self._api.nodes(), self._api.tasks(), self._api.services())
        except (APIError, DockerException, requests.RequestException, ValueError) as error:
            raise SwarmError(
                f"the leader's Docker engine does not answer: {error}",
                hint="systemctl status docker",
            ) from error

    def services(self) -> list[Json]:
        """As ``GET /services`` shows them."""
        try:
            found: list[Json] = self._api.services()
        except (APIError, DockerException, requests.RequestException, ValueError) as error:
            raise SwarmError(f"the leader's Docker engine does not answer: {error}") from error
        return found

    def remove_service(self, service: str) -> None:
        """By id; one that is gone already is fine."""
        try:
            self._api.remove_service(service)
        except APIError as error:
            if error.response is None or error.response.status_code != 404:
                raise SwarmError(f"service {service}: {error.explanation or error}") from error
        except (DockerException, requests.RequestException) as error:
            raise SwarmError(f"service {service}: {error}") from error

    def update(self, node: str, change: Callable[[Json], None]) -> None:
        """Apply *change* to the node's spec; tried anew when somebody else was faster."""
        retrying = Retrying(
            retry=retry_if_exception_type(_OutOfSequence),
            stop=stop_after_attempt(4),
            wait=wait_fixed(0.2),
            reraise=True,
        )
        retrying(self._update, node, change)

    def _update(self, node: str, change: Callable[[Json], None]) -> None:
        try:
            found = self._api.inspect_node(node)
            spec: Json = {"Labels": {}, **found["Spec"]}
            spec["Labels"] = dict(spec["Labels"] or {})
            change(spec)
            self._api.update_node(node, found["Version"]["Index"], spec)
        except APIError as error:
            if "out of sequence" in str(error):
                raise _OutOfSequence(f"node {node} was changed meanwhile") from error
            raise SwarmError(f"swarm node {node}: {error.explanation or error}") from error
        except (DockerException, requests.RequestException) as error:
            raise SwarmError(f"swarm node {node}: {error}") from error

    def remove(self, node: str) -> None:
        """Forget a node that is down; one that is gone already is fine."""
        try:
            self._api.remove_node(node, force=True)
        except APIError as error:
            if error.response is None or error.response.status_code != 404:
                raise SwarmError(f"swarm node {node}: {error.explanation or error}") from error
        except (DockerException, requests.RequestException) as error:
            raise SwarmError(f"swarm node {node}: {error}") from error


class _OutOfSequence(SwarmError):
    """Somebody else changed the node between our reading and writing it."""
