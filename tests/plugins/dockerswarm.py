"""The rules of the stand-in swarm: what :mod:`tests.plugins.dockerapi` serves over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
from collections.abc import Iterable
from typing import Any

from tests.plugins.dockerrules import (
    Json,
    in_sequence,
    meets,
    new_id,
    notebook,
    now,
    reserved,
    shown,
    times,
)
from tests.plugins.dockerscript import Script

ENDED = {"complete", "shutdown", "failed", "rejected", "remove", "orphaned"}
WAY = ("assigned", "accepted", "preparing", "ready", "starting", "running")
GIB = 1 << 30


class Cluster:
    """Nodes, services and tasks; used from one event loop only."""

    def __init__(self, *, notebooks: bool = False) -> None:
        self.nodes: dict[str, Json] = {}
        self.services: dict[str, Json] = {}
        self.tasks: dict[str, Json] = {}
        self.scripts: list[Script] = []
        self.notebooks = notebooks
        self._index = 10
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._listening: dict[str, asyncio.Server] = {}
        self._wake = asyncio.Event()
        self._scheduler: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._scheduler = asyncio.ensure_future(self._schedule())

    async def stop(self) -> None:
        running = [*self._runs.values(), *([self._scheduler] if self._scheduler else [])]
        for run in running:
            run.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for server in self._listening.values():
            server.close()

    def _version(self) -> Json:
        self._index += 1
        return {"Index": self._index}

    # --- nodes ----------------------------------------------------------------------------------

    def add_node(
        self,
        node: str,
        *,
        memory: int = 8 * GIB,
        cpu: float = 4.0,
        role: str = "worker",
        address: str = "127.0.0.1",
        availability: str = "active",
        state: str = "ready",
        labels: dict[str, str] | None = None,
        engine_labels: dict[str, str] | None = None,
    ) -> str:
        """A node with *node* as id; memory in bytes, CPU in cores. Returns the id."""
        self.nodes[node] = {
            "ID": node,
            "Version": self._version(),
            **times(),
            "Spec": {"Labels": labels or {}, "Role": role, "Availability": availability},
            "Description": {
                "Hostname": node,
                "Platform": {"Architecture": "x86_64", "OS": "linux"},
                "Resources": {"NanoCPUs": int(cpu * 1e9), "MemoryBytes": memory},
                "Engine": {"EngineVersion": "20.10.24", "Labels": engine_labels or {}},
            },
            "Status": {"State": state, "Addr": address},
        }
        self._wake.set()
        return node

    def node(self, node: str) -> Json:
        for known in self.nodes.values():
            if node in (known["ID"], known["Description"]["Hostname"]):
                return known
        raise LookupError(f"node {node} not found")

    def set_node(self, node: str, **about: Any) -> None:
        found = self.node(node)
        if "state" in about:
            found["Status"]["State"] = about["state"]
        if "availability" in about:
            found["Spec"]["Availability"] = about["availability"]
        if "labels" in about:
            found["Spec"]["Labels"] = dict(about["labels"])
        self._node_changed(found)

    def update_node(self, node: str, version: int, spec: Json) -> None:
        found = self.node(node)
        in_sequence(found, version)
        found["Spec"] = {"Labels": {}, **spec}
        self._node_changed(found)

    def _node_changed(self, node: Json) -> None:
        node["Version"], node["UpdatedAt"] = self._version(), now()
        down = node["Status"]["State"] == "down"
        if down or node["Spec"]["Availability"] == "drain":
            for task in list(self.tasks.values()):
                if task.get("NodeID") == node["ID"] and task["Status"]["State"] not in ENDED:
                    task["DesiredState"] = "shutdown"
                    self._halt(task)
                    if not down:
                        self._state(task, "shutdown", "shutdown")
        self._wake.set()

    def delete_node(self, node: str, *, force: bool) -> None:
        found = self.node(node)
        if found["Status"]["State"] != "down" and not force:
            raise RuntimeError(
                f"rpc error: code = FailedPrecondition desc = node {node} is not down "
                "and can't be removed"
            )
        self.remove_node(node)

    def remove_node(self, node: str) -> None:
        found = self.nodes.pop(self.node(node)["ID"])
        for task in list(self.tasks.values()):
            if task.get("NodeID") == found["ID"]:
                self._halt(task)
                self._state(task, "orphaned", "node was removed")
        self._wake.set()

    # --- services -------------------------------------------------------------------------------

    def create(self, spec: Json) -> str:
        name = spec.get("Name", "")
        if any(s["Spec"]["Name"] == name for s in self.services.values()):
            raise FileExistsError(f"rpc error: code = AlreadyExists desc = name conflicts: {name}")
        if (spec["TaskTemplate"].get("RestartPolicy") or {}).get("Condition") != "none":
            raise RuntimeError("the stand-in swarm knows only the restart policy 'none'")
        service: Json = {
            "ID": new_id(),
            "Version": self._version(),
            **times(),
            "Spec": copy.deepcopy(spec),
            "Endpoint": {"Spec": copy.deepcopy(spec.get("EndpointSpec") or {})},
        }
        self.services[service["ID"]] = service
        self._new_task(service)
        return str(service["ID"])

    def service(self, name: str) -> Json:
        for service in self.services.values():
            if name in (service["ID"], service["Spec"]["Name"]):
                return service
        raise LookupError(f"service {name} not found")

    def update(self, name: str, version: int, spec: Json) -> None:
        service = self.service(name)
        in_sequence(service, version)
        service["Version"], service["UpdatedAt"] = self._version(), now()
        service["Spec"] = copy.deepcopy(spec)
        for task in self.tasks_of(spec["Name"]):
            if task["Status"]["State"] not in ENDED:
                task["DesiredState"] = "shutdown"
                self._halt(task)
                if task.get("NodeID") not in self._down():
                    self._state(task, "shutdown", "shutdown")
        self._new_task(service)

    def remove(self, name: str) -> None:
        service = self.services.pop(self.service(name)["ID"])
        for task in [t for t in self.tasks.values() if t["ServiceID"] == service["ID"]]:
            task["DesiredState"] = "remove"
            if task["Status"]["State"] in ENDED or not task.get("NodeID"):
                self._halt(task)
                del self.tasks[task["ID"]]
            elif task["NodeID"] not in self._down():
                delay = task["stand-in"].stop_delay
                self._runs[f"end:{task['ID']}"] = asyncio.ensure_future(self._end(task, delay))
        self._wake.set()

    async def _end(self, task: Json, delay: float) -> None:
        await asyncio.sleep(delay)
        self._halt(task)
        self.tasks.pop(task["ID"], None)
        self._wake.set()

    def end_task(self, service: str, *, exit_code: int, err: str) -> None:
        for task in self.tasks_of(service):
            if task["Status"]["State"] == "running":
                self._halt(task)
                task["DesiredState"] = "shutdown"
                state = "failed" if exit_code else "complete"
                words = err or (f"task: non-zero exit ({exit_code})" if exit_code else "")
                self._state(task, state, "finished", err=words, exit_code=exit_code)
        self._wake.set()

    def set_task(self, service: str, state: str, *, err: str, exit_code: int | None) -> None:
        (task,) = self.tasks_of(service)
        self._halt(task)
        if state in ENDED:
            task["DesiredState"] = "shutdown"
        self._state(task, state, state, err=err, exit_code=exit_code)

    # --- tasks ----------------------------------------------------------------------------------

    def tasks_of(self, service: str) -> list[Json]:
        if not service:
            return list(self.tasks.values())
        ids = {s["ID"] for s in self.services.values() if service in (s["ID"], s["Spec"]["Name"])}
        return [task for task in self.tasks.values() if task["ServiceID"] in ids]

    def task(self, task: str) -> Json:
        if task not in self.tasks:
            raise LookupError(f"task {task} not found")
        return shown(self.tasks[task])

    def list_tasks(self, filters: str) -> list[Json]:
        wanted = json.loads(filters) if filters else {}
        found: Iterable[Json] = self.tasks.values()
        if "service" in wanted:
            ids = {self.service(name)["ID"] for name in wanted["service"]}
            found = [task for task in found if task["ServiceID"] in ids]
        if "desired-state" in wanted:
            found = [task for task in found if task["DesiredState"] in wanted["desired-state"]]
        if "node" in wanted:
            ids = {self.node(name)["ID"] for name in wanted["node"]}
            found = [task for task in found if task.get("NodeID") in ids]
        return [shown(task) for task in found]

    def _new_task(self, service: Json) -> None:
        task: Json = {
            "ID": new_id(),
            "Version": self._version(),
            **times(),
            "Spec": copy.deepcopy(service["Spec"]["TaskTemplate"]),
            "ServiceID": service["ID"],
            "Slot": 1,
            "Status": {"Timestamp": now(), "State": "new", "Message": "created"},
            "DesiredState": "running",
            "stand-in": Script(),
            "ports": copy.deepcopy((service["Spec"].get("EndpointSpec") or {}).get("Ports") or []),
            "name": service["Spec"]["Name"],
        }
        self.tasks[task["ID"]] = task
        self._wake.set()

    def _state(
        self, task: Json, state: str, message: str, *, err: str = "", exit_code: int | None = None
    ) -> None:
        task["Version"], task["UpdatedAt"] = self._version(), now()
        status: Json = {"Timestamp": now(), "State": state, "Message": message}
        if err:
            status["Err"] = err
        if exit_code is not None or state == "running":
            status["ContainerStatus"] = {"ContainerID": new_id(), "ExitCode": exit_code or 0}
        if state == "running":
            status["PortStatus"] = {"Ports": task["ports"]}
        task["Status"] = status

    def _halt(self, task: Json) -> None:
        run = self._runs.pop(task["ID"], None)
        if run is not None:
            run.cancel()
        server = self._listening.pop(task["ID"], None)
        if server is not None:
            server.close()

    async def _schedule(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            for task in list(self.tasks.values()):
                if task["Status"]["State"] in ("new", "pending") and not task.get("NodeID"):
                    self._place(task)
            # in a real swarm too, some time passes between passes
            await asyncio.sleep(0.005)

    def _place(self, task: Json) -> None:
        if task["DesiredState"] != "running":
            return
        fitting, why = [], {"constraints": 0, "resources": 0, "ports": 0, "unavailable": 0}
        for node in self.nodes.values():
            trouble = self._trouble(node, task)
            if trouble:
                why[trouble] += 1
            else:
                fitting.append(node)
        if not fitting:
            words = {
                "unavailable": "{} node(s) not available for new tasks",
                "constraints": "scheduling constraints not satisfied on {} node(s)",
                "resources": "insufficient resources on {} node(s)",
                "ports": "host-mode port already in use on {} node(s)",
            }
            told = "; ".join(words[key].format(count) for key, count in why.items() if count)
            self._state(
                task, "pending", "pending task scheduling", err=f"no suitable node ({told})"
            )
            return
        chosen = min(fitting, key=lambda node: (len(self._on(node["ID"])), node["ID"]))
        task["NodeID"] = chosen["ID"]
        image = task["Spec"]["ContainerSpec"].get("Image", "")
        for script in self.scripts:
            if script.matches(task["name"], image, chosen["ID"]):
                script.times -= 1
                task["stand-in"] = script
                break
        self._runs[task["ID"]] = asyncio.ensure_future(self._live(task))

    def _down(self) -> set[str]:
        return {n["ID"] for n in self.nodes.values() if n["Status"]["State"] == "down"}

    def _on(self, node: str) -> list[Json]:
        return [
            task
            for task in self.tasks.values()
            if task.get("NodeID") == node and task["Status"]["State"] not in ENDED
        ]

    def _trouble(self, node: Json, task: Json) -> str:
        if node["Status"]["State"] != "ready" or node["Spec"]["Availability"] != "active":
            return "unavailable"
        for constraint in (task["Spec"].get("Placement") or {}).get("Constraints") or ():
            if not meets(node, constraint):
                return "constraints"
        size = node["Description"]["Resources"]
        for key in ("MemoryBytes", "NanoCPUs"):
            taken = sum(reserved(other, key) for other in self._on(node["ID"]))
            if taken + reserved(task, key) > size[key]:
                return "resources"
        wanted = {p["PublishedPort"] for p in task["ports"] if p.get("PublishMode") == "host"}
        used = {p["PublishedPort"] for t in self._on(node["ID"]) for p in t["ports"]}
        return "ports" if wanted & used else ""

    async def _live(self, task: Json) -> None:
        script: Script = task["stand-in"]
        for state in WAY:
            if state == "ready" and script.reject:
                task["DesiredState"] = "shutdown"
                self._state(task, "rejected", "preparing", err=script.reject)
                return
            if state == "running" and script.fail:
                task["DesiredState"] = "shutdown"
                self._state(task, "failed", "starting", err=script.fail, exit_code=script.exit_code)
                return
            if state == "running":
                await self._listen(task)
            self._state(task, state, state)
            if state == script.stop_at:
                return
            await asyncio.sleep(script.delays.get(state, 0.0))
        self._wake.set()

    async def _listen(self, task: Json) -> None:
        if not self.notebooks:
            return
        address = self.node(task["NodeID"])["Status"]["Addr"]
        for port in task["ports"]:
            with contextlib.suppress(OSError):
                self._listening[task["ID"]] = await asyncio.start_server(
                    notebook, address, port["PublishedPort"]
                )
