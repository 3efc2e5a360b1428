"""Small rules of the stand-in swarm, and the server that its running tasks are."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]
INFO: Json = {
    "Name": "stand-in",
    "ServerVersion": "20.10.24",
    "Swarm": {"LocalNodeState": "active", "ControlAvailable": True, "NodeID": "leader"},
}


def now() -> str:
    text = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".")
    return f"{text}Z"


def new_id() -> str:
    return secrets.token_hex(13)[:25]


async def notebook(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers any request as a notebook server's /api does."""
    body = b'{"version": "2.14.0"}'
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
        head = (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-JupyterHub-Version: 6.1.1\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await writer.drain()
    writer.close()


def shown(task: Json) -> Json:
    return {key: value for key, value in task.items() if key not in ("stand-in", "ports", "name")}


def in_sequence(found: Json, version: int) -> None:
    if found["Version"]["Index"] != version:
        raise RuntimeError("rpc error: code = Unknown desc = update out of sequence")


def reserved(task: Json, key: str) -> int:
    reserved = (task["Spec"].get("Resources") or {}).get("Reservations") or {}
    return int(reserved.get(key) or 0)


def meets(node: Json, constraint: str) -> bool:
    equal = "==" in constraint
    name, _, value = constraint.partition("==" if equal else "!=")
    name, value = name.strip(), value.strip()
    if name.startswith("node.labels."):
        actual = node["Spec"]["Labels"].get(name.removeprefix("node.labels."), "")
    else:
        actual = {
            "node.id": node["ID"],
            "node.role": node["Spec"]["Role"],
            "node.hostname": node["Description"]["Hostname"],
        }[name]
    return (actual == value) is equal


def times() -> Json:
    return {"CreatedAt": now(), "UpdatedAt": now()}
