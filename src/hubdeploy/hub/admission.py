"""May this server start? The fleet knows; where it does not answer, the limits decide here.

The fleet service sees what the hub does not (machines that boot, how far the group may grow, how
full the file system is), so it is asked before each start. It restarts with every hub and may
fail, and users must not be kept out by that: then the limits of the hub's own configuration are
applied to what the hub can see.
"""

from __future__ import annotations

import json
import logging
import urllib.parse
import urllib.request
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from hubdeploy.config.limits import Limits, show_size
from hubdeploy.config.names import Port
from hubdeploy.errors import ConfigError
from hubdeploy.hub.placement import NodeView, Request

log = logging.getLogger(__name__)

FLEET_URL = f"http://127.0.0.1:{Port.FLEET}/services/fleet"
TIMEOUT = 3.0


@dataclass(frozen=True, kw_only=True)
class Admission:
    """``reason`` is for the user; ``waiting_for``: ``machine``, ``limit`` or nothing; ``eta``:
    seconds until there is room, if known; ``asked``: the fleet itself said so."""

    allowed: bool
    reason: str = ""
    waiting_for: str = ""
    eta: float | None = None
    asked: bool = True


def ask_fleet(
    user: str,
    request: Request,
    *,
    url: str = FLEET_URL,
    token_file: Path | None = None,
    timeout: float = TIMEOUT,
) -> Admission | None:
    """The fleet's answer, or None when it gives none. Blocks up to *timeout* seconds."""
    query = urllib.parse.urlencode(
        {
            "user": user,
            "memory": request.memory,
            "cpu": request.cpu / 1e9,
            "type": request.instance_type,
        }
    )
    try:
        return read_answer(_get(f"{url}/api/admission?{query}", token_file, timeout))
    except (OSError, ValueError) as error:
        log.warning("the fleet service does not answer (%s); using the limits alone", error)
        return None


def ask_limits(
    *, url: str = FLEET_URL, token_file: Path | None = None, timeout: float = TIMEOUT
) -> Limits | None:
    """The limits that hold now (an admin may have changed them), or None without an answer."""
    try:
        return Limits.from_json(_get(f"{url}/api/limits", token_file, timeout))
    except (OSError, ValueError, ConfigError) as error:
        log.info("the fleet service does not tell its limits (%s)", error)
        return None


def _get(address: str, token_file: Path | None, timeout: float) -> str:
    headers = {"Accept": "application/json"}
    if token_file is not None:
        headers["Authorization"] = f"token {token_file.read_text().strip()}"
    # the fleet is on this machine: a proxy in the environment is not meant for it
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(address, headers=headers), timeout=timeout) as answer:
        return str(answer.read().decode())


def read_answer(text: str) -> Admission:
    """Raises ValueError unless *text* is the JSON object that the fleet answers with."""
    data = json.loads(text)
    if not isinstance(data, dict) or not isinstance(data.get("allowed"), bool):
        raise ValueError("the fleet's answer lacks 'allowed'")
    eta = data.get("eta")
    return Admission(
        allowed=data["allowed"],
        reason=str(data.get("reason") or ""),
        waiting_for=str(data.get("waiting_for") or ""),
        eta=float(eta) if isinstance(eta, (int, float)) and not isinstance(eta, bool) else None,
    )


def local_answer(
    user: str,
    request: Request,
    *,
    limits: Limits,
    active_users: Collection[str],
    nodes: Iterable[NodeView],
) -> Admission:
    """By *limits* and what the hub sees. The file system's size is not known here.

    ``active_users``: people with a server running or starting. A further server of one of them
    takes no further place among the users.
    """
    others = set(active_users) - {user}
    if limits.max_concurrent_users and len(others) >= limits.max_concurrent_users:
        return Admission(
            allowed=False,
            asked=False,
            waiting_for="limit",
            reason=f"All {limits.max_concurrent_users} places are taken. Try again later.",
        )
    reserved = sum(node.memory_reserved for node in nodes)
    if limits.max_cluster_memory and reserved + request.memory > limits.max_cluster_memory:
        return Admission(
            allowed=False,
            asked=False,
            waiting_for="limit",
            reason=f"All of the {show_size(limits.max_cluster_memory)} of memory that servers "
            "may use here is taken. Try again later.",
        )
    return Admission(allowed=True, asked=False)
