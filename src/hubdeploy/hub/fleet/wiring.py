"""How the hub starts the fleet service, and what it hands to it.

The JupyterHub configuration calls :func:`hub_service`; the service's process reads the same back
with :func:`from_environment`. Nothing of it is secret: the API token comes from the hub itself.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from traitlets import Int, Unicode
from traitlets.config import Configurable

from hubdeploy.config.limits import Limits, parse_size
from hubdeploy.config.names import HOMES_DIR, STATE_DIR, USE_DIR, Names, Port
from hubdeploy.errors import ConfigError
from hubdeploy.hub.fleet.model import Policy

NAME = "fleet"
VARIABLE = "HUBDEPLOY_FLEET"
#: of the hub's environment, what the service needs too (a hub-managed service inherits little)
PASSED_ON = ("AWS_", "DOCKER_", "NO_PROXY", "no_proxy")

#: of the hub's API: to see who has servers, and no more
SCOPES = ("list:users", "read:servers")
SWEEP_EVERY = 300.0
"""Seconds between looks for servers that the hub does not know of."""


class HubFleet(Configurable):  # type: ignore[misc]
    """``c.HubFleet``: the limits that stand in the JupyterHub configuration."""

    max_cluster_memory = Unicode(
        "", help="Most memory of all workers together, e.g. 64G; empty or 0: no limit."
    ).tag(config=True)
    max_concurrent_users = Int(
        0, min=0, help="Most people with a server at a time; 0: no limit."
    ).tag(config=True)
    max_disk_utilization = Unicode(
        "", help="Most disk used on the shared file system, e.g. 500G; empty or 0: no limit."
    ).tag(config=True)
    max_nodes = Int(4, min=0, help="Most workers at a time.").tag(config=True)
    min_nodes = Int(0, min=0, help="Workers that always run.").tag(config=True)
    headroom = Int(2, min=0, help="Free places for usual users to keep ready.").tag(config=True)
    idle_after = Int(300, min=0, help="Seconds that a worker must have been empty.").tag(
        config=True
    )
    join_deadline = Int(900, min=1, help="Seconds from launch to joined.").tag(config=True)

    def limits(self) -> Limits:
        """Raises ConfigError for what is no size or contradicts itself."""
        return Limits(
            min_nodes=self.min_nodes,
            max_nodes=self.max_nodes,
            headroom=self.headroom,
            idle_after=self.idle_after,
            join_deadline=self.join_deadline,
            max_concurrent_users=self.max_concurrent_users,
            max_cluster_memory=parse_size(
                self.max_cluster_memory or 0, what="c.HubFleet.max_cluster_memory"
            ),
            max_disk_utilization=parse_size(
                self.max_disk_utilization or 0, what="c.HubFleet.max_disk_utilization"
            ),
        )


@dataclass(frozen=True, kw_only=True)
class FleetSettings:
    """All that the service's process is told."""

    names: Names
    limits: Limits
    policy: Policy = field(default_factory=Policy)
    file_system: str = ""
    state: Path = Path(STATE_DIR) / "fleet"
    homes: Path = Path(HOMES_DIR)
    use: Path = Path(USE_DIR)
    secrets: Path = Path(STATE_DIR) / "secrets"
    interval: float = 5.0
    log_level: str = "INFO"
    sweep_every: float = SWEEP_EVERY


def hub_service(
    settings: Mapping[str, Any],
    limits: Limits,
    *,
    token: str = "",
    state_dir: str | Path = STATE_DIR,
    homes: str | Path = HOMES_DIR,
    port: int = Port.FLEET,
) -> dict[str, Any]:
    """An entry of ``c.JupyterHub.services``. *settings* as the machines get them
    (:class:`hubdeploy.config.settings.Settings`); *token* is the service's API token.

    It counts users by their servers in the swarm, and its page admits whom the hub gives
    ``access:services!service=fleet`` (admins). :func:`hub_role` is all that it may do.
    """
    hub = settings.get("hub") or {}
    told = {
        "deployment": settings["deployment"],
        "region": settings["region"],
        "account": settings["account"],
        "limits": json.loads(limits.to_json()),
        "file_system": (settings.get("efs") or {}).get("file_system") or "",
        "slot_memory": parse_size(hub.get("memory") or 0, what="hub.memory"),
        "slot_cpu": int(float(hub.get("cpu") or 0) * 10**9),
        "state": str(Path(state_dir) / "fleet"),
        "secrets": str(Path(state_dir) / "secrets"),
        "homes": str(homes),
        "log_level": (hub.get("log_level") or "info").upper(),
    }
    passed = {name: os.environ[name] for name in os.environ if name.startswith(PASSED_ON)}
    service: dict[str, Any] = {
        "name": NAME,
        "url": f"http://127.0.0.1:{port}",
        "command": [sys.executable, "-m", "hubdeploy.hub.fleet"],
        "environment": {VARIABLE: json.dumps(told), **passed},
        # admins are not asked whether the hub may tell its own service who they are
        "oauth_no_confirm": True,
    }
    return service | ({"api_token": token} if token else {})


def hub_role() -> dict[str, Any]:
    """An entry of ``c.JupyterHub.load_roles``: all that the service may ask of the hub."""
    return {"name": NAME, "services": [NAME], "scopes": list(SCOPES)}


def from_environment(environ: Mapping[str, str] = os.environ) -> FleetSettings:
    """Raises ConfigError when the hub did not start this process."""
    text = environ.get(VARIABLE)
    if not text:
        raise ConfigError(
            f"{VARIABLE} is not set", hint="the hub starts the fleet service; see hub_service"
        )
    try:
        told = json.loads(text)
        names = Names(deployment=told["deployment"], region=told["region"], account=told["account"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{VARIABLE} cannot be read: {error!r}") from error
    usual = Policy()
    return FleetSettings(
        names=names,
        limits=Limits.from_mapping(told.get("limits") or {}),
        policy=Policy(
            slot_memory=int(told.get("slot_memory") or usual.slot_memory),
            slot_cpu=int(told.get("slot_cpu") or 0),
            settle=float(told.get("settle") or usual.settle),
            settle_most=float(told.get("settle_most") or usual.settle_most),
        ),
        file_system=str(told.get("file_system") or ""),
        state=Path(told.get("state") or FleetSettings.state),
        homes=Path(told.get("homes") or HOMES_DIR),
        use=Path(told.get("use") or USE_DIR),
        secrets=Path(told.get("secrets") or FleetSettings.secrets),
        interval=float(told.get("interval") or 5.0),
        sweep_every=float(told.get("sweep_every") or SWEEP_EVERY),
        log_level=str(told.get("log_level") or FleetSettings.log_level),
    )
