"""A stand-in for Docker's swarm API: nodes, services and tasks behind real HTTP.

It keeps swarm's rules as far as the hub meets them: constraints, reservations and host-mode ports
decide where a task goes; a task without a place stays pending and is tried again whenever
something changes; the restart policy 'none' replaces nothing; an update makes a new task; a node
that is down or drained loses its tasks; a removed service's tasks linger until they have stopped.
What a task does on its way is scripted by :class:`Script`. Running tasks can answer HTTP as a
notebook would, so that a real hub can be driven against it.

Everything happens on one event loop in a thread of its own; tests call the plain methods.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp import web

from tests.plugins.dockerrules import INFO, Json
from tests.plugins.dockerscript import Script
from tests.plugins.dockerswarm import Cluster

T = TypeVar("T")


@dataclass
class Fault:
    """The next *times* requests whose path starts with *path* are answered with *status*."""

    times: int
    status: int = 500
    path: str = "/"
    method: str = ""
    message: str = "rpc error: code = Unavailable desc = transport is closing"


@dataclass
class FakeSwarm:
    """``with FakeSwarm() as swarm: docker.APIClient(base_url=swarm.url)``.

    ``latency``: seconds added to each answer. ``notebooks``: whether running tasks listen on
    their node's address (use loopback addresses such as 127.0.7.1 for the nodes then).
    """

    latency: float = 0.0
    notebooks: bool = False
    requests: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""
    registry_auth: list[str] = field(default_factory=list)
    """The credentials (base64 JSON) that came with creations and updates of services."""
    faults: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="dockerapi", daemon=True
        )
        self.cluster = Cluster(notebooks=self.notebooks)

    def __enter__(self) -> FakeSwarm:
        self._thread.start()
        self._run(self._serve())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    # --- for tests ------------------------------------------------------------------------------

    def add_node(self, node: str, **about: Any) -> str:
        """See :meth:`Cluster.add_node`."""
        return self._do(lambda: self.cluster.add_node(node, **about))

    def set_node(self, node: str, **about: Any) -> None:
        """``state`` (ready, down), ``availability`` (active, pause, drain), ``labels``."""
        self._do(lambda: self.cluster.set_node(node, **about))

    def remove_node(self, node: str) -> None:
        self._do(lambda: self.cluster.remove_node(node))

    def script(self, script: Script) -> Script:
        """Tasks that match it, made from now on, follow it (the latest that matches wins)."""
        self._do(lambda: self.cluster.scripts.insert(0, script))
        return script

    def end_task(self, service: str, *, exit_code: int = 0, err: str = "") -> None:
        """The running task of *service* (by name) stops by itself."""
        self._do(lambda: self.cluster.end_task(service, exit_code=exit_code, err=err))

    def set_task(
        self, service: str, state: str, *, err: str = "", exit_code: int | None = None
    ) -> None:
        """The task of *service* (by name) is in *state*, whatever swarm would have done."""
        self._do(lambda: self.cluster.set_task(service, state, err=err, exit_code=exit_code))

    def fault(self, fault: Fault) -> None:
        self._do(lambda: self.faults.append(fault))

    def services(self) -> dict[str, Json]:
        """By name, as the API shows them."""
        return self._do(lambda: {s["Spec"]["Name"]: s for s in self.cluster.services.values()})

    def tasks(self, service: str = "") -> list[Json]:
        """All tasks, or those of a service by name, oldest first."""
        return self._do(lambda: self.cluster.tasks_of(service))

    def wait(self, condition: Callable[[], object], *, seconds: float = 10.0) -> None:
        """Until *condition* holds; AssertionError when it does not in time."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "the stand-in swarm did not get there in time"
            time.sleep(0.02)

    def _do(self, function: Callable[[], T]) -> T:
        async def run() -> T:
            return function()

        return self._run(run())

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=30)

    # --- HTTP -----------------------------------------------------------------------------------

    async def _serve(self) -> None:
        self.cluster.start()
        app = web.Application(middlewares=[self._middleware], client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", self._answer)
        # a client that hangs must not hold up the end
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"tcp://127.0.0.1:{port}"

    async def _close(self) -> None:
        await self._runner.cleanup()
        await self.cluster.stop()

    @web.middleware
    async def _middleware(
        self, request: web.Request, handler: Callable[[web.Request], Any]
    ) -> web.StreamResponse:
        path = _api_path(request)
        self.requests.append((request.method, path))
        if self.latency:
            await asyncio.sleep(self.latency)
        for fault in self.faults:
            hit = path.startswith(fault.path) and fault.method in ("", request.method)
            if fault.times > 0 and hit:
                fault.times -= 1
                return _error(fault.status, fault.message)
        try:
            answer: web.StreamResponse = await handler(request)
        except LookupError as error:
            return _error(404, str(error.args[0]))
        except FileExistsError as error:
            return _error(409, str(error))
        except RuntimeError as error:
            return _error(500, str(error))
        return answer

    async def _answer(self, request: web.Request) -> web.Response:
        parts = [part for part in _api_path(request).split("/") if part]
        query = request.query
        body = await request.json() if request.can_read_body else {}
        cluster = self.cluster
        if request.method == "POST" and parts[:1] == ["services"]:
            self.registry_auth.append(request.headers.get("X-Registry-Auth", ""))
        match (request.method, *parts):
            case ("GET" | "HEAD", "_ping"):
                return web.Response(text="OK", headers={"API-Version": "1.41"})
            case ("GET", "version"):
                return web.json_response(
                    {"ApiVersion": "1.41", "MinAPIVersion": "1.12", "Version": "20.10.24"}
                )
            case ("GET", "info"):
                return web.json_response(INFO)
            case ("GET", "nodes"):
                return web.json_response(list(cluster.nodes.values()))
            case ("GET", "nodes", node):
                return web.json_response(cluster.node(node))
            case ("POST", "nodes", node, "update"):
                cluster.update_node(node, int(query["version"]), body)
                return web.json_response({})
            case ("DELETE", "nodes", node):
                cluster.delete_node(node, force=query.get("force", "").lower() in ("1", "true"))
                return web.json_response({})
            case ("GET", "services"):
                return web.json_response(list(cluster.services.values()))
            case ("POST", "services", "create"):
                return web.json_response({"ID": cluster.create(body)}, status=201)
            case ("GET", "services", name):
                return web.json_response(cluster.service(name))
            case ("POST", "services", name, "update"):
                cluster.update(name, int(query["version"]), body)
                return web.json_response({"Warnings": None})
            case ("DELETE", "services", name):
                cluster.remove(name)
                return web.json_response({})
            case ("GET", "tasks"):
                return web.json_response(cluster.list_tasks(query.get("filters", "")))
            case ("GET", "tasks", task):
                return web.json_response(cluster.task(task))
        return _error(404, f"page not found: {request.method} {_api_path(request)}")


def _api_path(request: web.Request) -> str:
    """The path without the API's version."""
    path = "/" + request.path.lstrip("/")
    return "/" + path.split("/", 2)[2] if path.startswith("/v1.") else path


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"message": message}, status=status)
