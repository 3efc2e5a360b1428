"""The hub's one view of the swarm, shared by all spawners.

A hub with a thousand servers must not ask Docker about each of them in turn. All spawners look
at one snapshot (three listings, made at most as often as somebody needs a newer one, and only
once for all who wait), and what the hub itself has just created, updated or removed is laid over
it until a listing that began later shows it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import requests
from docker.errors import APIError, DockerException

from hubdeploy.config.names import LABEL_USER
from hubdeploy.hub.placement import NodeView, node_views, pinned_to, request_of

log = logging.getLogger(__name__)

Json = dict[str, Any]
THREADS = 8
#: what the Docker engine or the way to it may do in passing
PASSING = (APIError, DockerException, requests.RequestException, OSError)


class Client(Protocol):
    """The part of docker-py's ``APIClient`` that is used here."""

    def nodes(self) -> list[Json]: ...
    def services(self) -> list[Json]: ...
    def tasks(self) -> list[Json]: ...


def status_of(error: BaseException) -> int:
    """HTTP status of a Docker API error, 0 when there was no answer."""
    response = getattr(error, "response", None)
    return int(getattr(response, "status_code", 0) or 0)


def is_passing(error: BaseException) -> bool:
    """Whether the same call may succeed later: no answer, or the engine's own trouble."""
    return isinstance(error, PASSING) and not 400 <= status_of(error) < 500


def reason_of(error: BaseException) -> str:
    """The engine's own words, or what went wrong on the way to it."""
    text = getattr(error, "explanation", None) or str(error)
    return str(text).strip() or type(error).__name__


@dataclass(kw_only=True)
class Snapshot:
    """All nodes, services and tasks at one time. ``begun``: monotonic time before the listing."""

    begun: float
    nodes: dict[str, Json]
    services: dict[str, Json]
    """By name."""
    tasks: dict[str, list[Json]]
    """By service id."""
    _views: list[NodeView] | None = field(default=None, repr=False)

    def service(self, name: str) -> Json | None:
        return self.services.get(name)

    def tasks_of(self, service: Json | None) -> list[Json]:
        return self.tasks.get(str(service["ID"]), []) if service else []

    def users(self) -> set[str]:
        """People with a server that runs or starts."""
        labels = (service["Spec"].get("Labels") or {} for service in self.services.values())
        return {each[LABEL_USER] for each in labels if LABEL_USER in each}

    def views(self, *, without: str = "") -> list[NodeView]:
        """Nodes with what is reserved on them, *without* counting one service (by id)."""
        if without:
            return self._fresh_views(without)
        if self._views is None:
            self._views = self._fresh_views("")
        return self._views

    def _fresh_views(self, without: str) -> list[NodeView]:
        return node_views(
            self.nodes.values(),
            [t for of, tasks in self.tasks.items() if of != without for t in tasks],
            [s for s in self.services.values() if s["ID"] != without],
        )

    def put(self, service: Json) -> None:
        """Lay a service that was just created or changed over the listing."""
        name = service["Spec"]["Name"]
        before = self.services.get(name)
        self.services[name] = service
        if before is None:
            # a burst of starts must not add up thousands of tasks anew for each
            self._views = _with(self._views, service)
        elif before["Spec"]["TaskTemplate"] != service["Spec"]["TaskTemplate"]:
            self._views = None

    def drop(self, name: str) -> None:
        self.services.pop(name, None)
        self._views = None


def _with(views: list[NodeView] | None, service: Json) -> list[NodeView] | None:
    """*views* with what a new service reserves on the node that it is pinned to."""
    template = service["Spec"]["TaskTemplate"]
    node = pinned_to(template)
    if views is None or not node:
        return views
    wanted = request_of(template)
    user = (service["Spec"].get("Labels") or {}).get(LABEL_USER, "")
    return [
        replace(
            view,
            memory_reserved=view.memory_reserved + wanted.memory,
            cpu_reserved=view.cpu_reserved + wanted.cpu,
            users=tuple(sorted((*view.users, user))) if user else view.users,
        )
        if view.id == node
        else view
        for view in views
    ]


class Swarm:
    """Docker's swarm API off the event loop. One per hub process, used from its loop only."""

    def __init__(self, connect: Callable[[], Any], *, threads: int = THREADS) -> None:
        self._connect = connect
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="docker")
        self._last: Snapshot | None = None
        self._listing: asyncio.Task[Snapshot] | None = None
        self._own: dict[str, tuple[float, Json | None]] = {}

    def _client(self) -> Any:
        # one client a thread: requests sessions make no promise to be shared
        client = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = self._connect()
        return client

    def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._client(), method)(*args, **kwargs)

    def call(self, method: str, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        """``APIClient.METHOD(*args, **kwargs)`` in a thread; its errors come through."""
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._pool, lambda: self._call(method, *args, **kwargs))

    async def snapshot(self, *, max_age: float = 0.5) -> Snapshot:
        """A view no older than *max_age* seconds. Raises one of PASSING when Docker fails."""
        oldest = time.monotonic() - max_age
        if self._last is not None and self._last.begun >= oldest:
            return self._last
        running = self._listing
        if running is not None and max_age <= 0:
            # it began before this call: what the caller asks for is newer
            await asyncio.wait([running])
            running = self._listing
        if running is None or running.done():
            running = self._listing = asyncio.create_task(self._list())
        return await asyncio.shield(running)

    async def _list(self) -> Snapshot:
        begun = time.monotonic()
        nodes, services, tasks = await asyncio.gather(
            self.call("nodes"), self.call("services"), self.call("tasks")
        )
        by_service: dict[str, list[Json]] = {}
        for task in tasks:
            by_service.setdefault(str(task.get("ServiceID", "")), []).append(task)
        snapshot = Snapshot(
            begun=begun,
            nodes={str(node["ID"]): node for node in nodes},
            services={str(service["Spec"]["Name"]): service for service in services},
            tasks=by_service,
        )
        self._overlay(snapshot)
        self._last = snapshot
        return snapshot

    def _overlay(self, snapshot: Snapshot) -> None:
        for name, (at, service) in list(self._own.items()):
            if at < snapshot.begun:
                del self._own[name]
            elif service is None:
                snapshot.drop(name)
            elif not (is_provisional(service) and name in snapshot.services):
                snapshot.put(service)

    def expect(self, service: Json, *, under_way: bool = False) -> None:
        """From now on *service* counts, although no listing shows it yet.

        While the call that makes it so is *under_way*, a listing that begins later may still miss
        it: it counts until :meth:`expect` says that the call is through, or :meth:`forget` or
        :meth:`unexpect` that it failed.
        """
        at = math.inf if under_way else time.monotonic()
        self._own[service["Spec"]["Name"]] = (at, service)
        if self._last is not None:
            self._last.put(service)

    def forget(self, name: str) -> None:
        """From now on the service *name* is gone (or never came to be)."""
        self._own[name] = (time.monotonic(), None)
        if self._last is not None:
            self._last.drop(name)

    def unexpect(self, name: str) -> None:
        """What was expected of *name* did not come true: only a new listing tells."""
        self._own.pop(name, None)
        self._last = None


def provisional(name: str, spec: Mapping[str, Any]) -> Json:
    """A stand-in for a service whose creation is under way."""
    return {"ID": f"coming:{name}", "Version": {"Index": 0}, "Spec": dict(spec)}


def is_provisional(service: Json) -> bool:
    return str(service["ID"]).startswith("coming:")
