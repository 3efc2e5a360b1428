"""The fleet at a glance, as one JSON object, for ``hubdeploy status --watch``. Judges nothing."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from hubdeploy.config.names import LABEL_USER, STATE_DIR

HISTORY = Path(STATE_DIR) / "fleet" / "fleet.sqlite"
DECISIONS = 8
"""How many of the newest are told."""
_ENDED = frozenset({"complete", "shutdown", "failed", "rejected", "remove", "orphaned"})
"""States of a task that holds no memory any more."""
_WAITING = frozenset({"new", "pending"})

Json = dict[str, Any]


def swarm(nodes: list[Json], services: list[Json], tasks: list[Json]) -> Json:
    """Of ``GET /nodes``, ``/services`` and ``/tasks``: people with a server, who waits and in the
    scheduler's words why, bytes of the ready workers' memory and how much of it is reserved."""
    people = {
        service["ID"]: user
        for service in services
        if (user := (service["Spec"].get("Labels") or {}).get(LABEL_USER))
    }
    memory = {
        node["ID"]: int(node.get("Description", {}).get("Resources", {}).get("MemoryBytes", 0))
        for node in nodes
        if node["Spec"].get("Role") == "worker" and node.get("Status", {}).get("State") == "ready"
    }
    reserved = 0
    waiting: dict[str, str] = {}
    for task in tasks:
        status = task.get("Status", {})
        if status.get("State") in _ENDED or task.get("DesiredState") in ("shutdown", "remove"):
            continue
        if task.get("NodeID") in memory:
            wants = (task.get("Spec", {}).get("Resources") or {}).get("Reservations") or {}
            reserved += int(wants.get("MemoryBytes") or 0)
        user = people.get(task.get("ServiceID", ""))
        if user and status.get("State") in _WAITING:
            waiting[user] = status.get("Err") or "being placed"
    return {
        "users": len(set(people.values())),
        "waiting": [{"user": user, "why": why} for user, why in sorted(waiting.items())],
        "workers": len(memory),
        "memory": sum(memory.values()),
        "reserved": reserved,
    }


def history(file: Path = HISTORY, *, count: int = DECISIONS) -> Json:
    """The fleet's last decisions, newest first, and bytes of disk used by its last sample (0
    while unknown). Read only, beside the service that writes."""
    if not file.is_file():
        return {"decisions": [], "disk": 0}
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=5)) as db:
        db.row_factory = sqlite3.Row
        decisions = db.execute(
            "select at, kind, subject, reason, ok, outcome from decisions order by id desc limit ?",
            (count,),
        ).fetchall()
        sample = db.execute("select disk from samples order by at desc limit 1").fetchone()
    return {
        "decisions": [{**dict(row), "ok": bool(row["ok"])} for row in decisions],
        "disk": int(sample["disk"] or 0) if sample else 0,
    }


def glance() -> Json:
    """All of it; what cannot be told is named in ``problems``."""
    import docker
    from docker.errors import DockerException

    found: Json = {"at": time.time(), "problems": []}
    try:
        low: Any = docker.from_env(timeout=15).api
        found |= swarm(low.nodes(), low.services(), low.tasks())
    except (DockerException, OSError) as error:
        found["problems"].append(f"the swarm does not answer: {error}"[:200])
    try:
        found |= history()
    except sqlite3.Error as error:
        found["problems"].append(f"the fleet's history cannot be read: {error}"[:200])
    return found
