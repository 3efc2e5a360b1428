"""JupyterHub's configuration, from the deployment's settings.

``/etc/hubdeploy/jupyterhub_config.py`` shows the limits of ``c.HubFleet`` and then calls
:func:`configure`. Whatever stands after that call wins over what is set here.
"""

from __future__ import annotations

import html
import ipaddress
import json
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nativeauthenticator
from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult

from hubdeploy.config.limits import Limits, parse_size
from hubdeploy.config.names import STATE_DIR, Port
from hubdeploy.errors import ConfigError
from hubdeploy.hub import authenticators, profiles
from hubdeploy.hub.admission import FLEET_URL
from hubdeploy.hub.fleet.wiring import hub_role, hub_service
from hubdeploy.hub.progress import Times, last_words, needed_timeout
from hubdeploy.hub.secrets import Secrets
from hubdeploy.hub.spawner import HubSpawner

HERE = Path(__file__).parent
DOCTOR_USER = "hubdeploy-doctor"
CONCURRENT_SPAWNS = 500
"""More starts than this at once are asked to come back; each costs the hub next to nothing, and a
whole class has to be able to wait for its machines together."""
COUNTS = ("min_nodes", "max_nodes", "headroom", "idle_after", "join_deadline")
LIMITS = ("max_cluster_memory", "max_concurrent_users", "max_disk_utilization")


class FreshResolver(AbstractResolver):
    """Names are looked up by the system, each time.

    JupyterHub would use aiodns where it is installed, which keeps an address long after it
    changed: a leader that was rebuilt would stay unreachable.
    """

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        # made here: it belongs to the running loop
        return await ThreadedResolver().resolve(host, port, family)

    async def close(self) -> None:
        """Nothing is held."""


def configure(
    c: Any,
    settings_file: str | Path,
    secrets_dir: str | Path,
    *,
    address: str = "",
    state_dir: str | Path = STATE_DIR,
) -> None:
    """Fill the traitlets config *c*.

    ``settings_file``: JSON as :class:`hubdeploy.config.settings.Settings`; ``secrets_dir``: see
    :mod:`hubdeploy.hub.secrets`; ``address``: where workers reach the hub (else the environment's
    ``HUBDEPLOY_ADDRESS``, else this machine's own address); ``state_dir``: the hub's database.
    Raises ConfigError or SecretError, which name what is missing.
    """
    settings = _load(Path(settings_file))
    secrets = Secrets(Path(secrets_dir))
    state = Path(state_dir)
    limits = _limits(c, settings)
    address = address or os.environ.get("HUBDEPLOY_ADDRESS", "") or own_address()
    _logging(c, settings)
    _hub(c, settings, secrets, state=state, address=address)
    authenticators.configure(c, settings["hub"], secrets, origin=_origin(settings))
    _spawner(c, settings, limits, state=state)
    _bounds(c, settings, limits)
    _services(c, settings, secrets, limits, state=state)
    _pages(c, settings)


def _load(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", hint="run a converge") from error
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path} is not JSON: {error}", hint="run a converge") from error
    if not isinstance(settings, dict) or not isinstance(settings.get("hub"), dict):
        raise ConfigError(f"{path} holds no hub settings", hint="run a converge")
    return settings


def _limits(c: Any, settings: Mapping[str, Any]) -> Limits:
    """What ``c.HubFleet`` says, over what the settings say."""
    merged = {**(settings.get("limits") or {}), **(settings.get("workers") or {})}
    merged.update({name: c.HubFleet[name] for name in (*LIMITS, *COUNTS) if name in c.HubFleet})
    counts = {name: int(merged[name]) for name in COUNTS if name in merged}
    values = {
        "max_cluster_memory": parse_size(merged.get("max_cluster_memory") or 0),
        "max_concurrent_users": int(merged.get("max_concurrent_users") or 0),
        "max_disk_utilization": parse_size(merged.get("max_disk_utilization") or 0),
    }
    return Limits.from_mapping({**counts, **values})


def own_address() -> str:
    """This machine's address towards its network; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # any address beyond this machine picks the interface of the default route
            probe.connect(("10.255.255.255", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def _logging(c: Any, settings: Mapping[str, Any]) -> None:
    """One log for the hub and for what is ours in it: where servers go, who refuses them, why.

    JupyterHub's handlers hang on its own logger only; what other packages say would be lost, but
    for bare warnings. The handler's level, ``hub.log_level``, decides what is written.
    """
    c.JupyterHub.log_level = (settings["hub"].get("log_level") or "info").upper()
    c.JupyterHub.logging_config = {
        "loggers": {"hubdeploy": {"level": "DEBUG", "handlers": ["console"], "propagate": False}}
    }


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _origin(settings: Mapping[str, Any]) -> str:
    parts = urlsplit(settings.get("hub_url") or "")
    if parts.scheme and parts.netloc:
        return f"{parts.scheme}://{parts.netloc}"
    return f"https://{settings['hub_host']}"


def _hub(
    c: Any, settings: Mapping[str, Any], secrets: Secrets, *, state: Path, address: str
) -> None:
    hub = c.JupyterHub
    # the proxy is a unit of its own and users' servers are swarm services: a restart of the hub
    # leaves both alone
    hub.cleanup_servers = False
    hub.cleanup_proxy = False
    hub.proxy_class = "jupyterhub.proxy.ConfigurableHTTPProxy"
    c.ConfigurableHTTPProxy.should_start = False
    c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{Port.PROXY_API}"
    c.ConfigurableHTTPProxy.auth_token = secrets.need("proxy-token", hint=_LOCAL_HINT)
    hub.bind_url = f"http://127.0.0.1:{Port.PROXY}"
    hub.hub_bind_url = f"http://0.0.0.0:{Port.HUB_API}"
    hub.hub_connect_url = f"http://{address}:{Port.HUB_API}"
    # where there is only an address, people may come by another one (the rehearsal's loopback
    # port): without a public URL the hub's redirects stay with the address they used
    if not _is_address(settings["hub_host"]):
        hub.public_url = f"{_origin(settings)}/"
    # on a local disk: sqlite and NFS do not go together
    hub.db_url = f"sqlite:///{state / 'jupyterhub.sqlite'}"
    hub.cookie_secret = secrets.key("cookie-secret")
    hub.spawner_class = HubSpawner
    # a start that fails at once is answered at once, all others show their progress
    hub.tornado_settings = {"slow_spawn_timeout": 2}
    hub.allow_named_servers = bool(settings["hub"].get("named_servers"))
    hub.named_server_limit_per_user = int(settings["hub"].get("named_servers") or 0)
    c.JupyterHubHTTPClient.connector_options = {
        "resolver": FreshResolver(),
        "use_dns_cache": False,
    }


_LOCAL_HINT = "run: python -m hubdeploy.hub.secrets FOLDER"


def _spawner(c: Any, settings: Mapping[str, Any], limits: Limits, *, state: Path) -> None:
    hub = settings["hub"]
    offered = profiles.choices(hub)
    times_file = state / "spawn-times.json"
    # the hub would exit after so many failed starts in a row, and with it everybody's way in
    c.Spawner.consecutive_failure_limit = 0
    c.Spawner.poll_interval = 5
    c.Spawner.http_timeout = 60
    c.Spawner.start_timeout = needed_timeout(
        Times.load(times_file), configured=int(hub.get("start_timeout") or 900)
    )
    c.Spawner.default_url = "/lab"
    c.Spawner.environment = dict(hub.get("environment") or {})
    spawner = c.HubSpawner
    spawner.cmd = ["jupyterhub-singleuser"]
    spawner.deployment = settings["deployment"]
    spawner.offered = offered
    spawner.kept_types = list((settings.get("workers") or {}).get("profile_types") or ())
    spawner.image = offered[0].image
    spawner.mem_guarantee = spawner.mem_limit = offered[0].memory
    spawner.cpu_guarantee = offered[0].cpu
    if hub.get("cpu_limit"):
        spawner.cpu_limit = float(hub["cpu_limit"])
    spawner.network_name = ""
    spawner.use_internal_ip = False
    spawner.shared_folders = [
        {"name": f["name"], "mount": f["mount"], "writable": bool(f.get("writable"))}
        for f in hub.get("shared_folders") or ()
    ]
    spawner.user_environment = dict(hub.get("user_environment") or {})
    spawner.limits = {name: getattr(limits, name) for name in LIMITS}
    spawner.servers_per_user = _servers_per_user(settings)
    spawner.fleet_url = FLEET_URL
    spawner.fleet_token_file = str(state / "fleet" / "admission-token")
    spawner.times_file = str(times_file)


def _bounds(c: Any, settings: Mapping[str, Any], limits: Limits) -> None:
    c.JupyterHub.concurrent_spawn_limit = CONCURRENT_SPAWNS
    # the hub counts servers, the limit counts people
    c.JupyterHub.active_server_limit = limits.max_concurrent_users * _servers_per_user(settings)


def _servers_per_user(settings: Mapping[str, Any]) -> int:
    return 1 + int(settings["hub"].get("named_servers") or 0)


def _services(
    c: Any, settings: Mapping[str, Any], secrets: Secrets, limits: Limits, *, state: Path
) -> None:
    fleet = hub_service(settings, limits, token=secrets.get("fleet-token"), state_dir=state)
    services: list[dict[str, Any]] = [fleet]
    roles = [hub_role()]
    hub = settings["hub"]
    idle, age = int(hub.get("idle_after") or 0), int(hub.get("max_age") or 0)
    if idle or age:
        services.append(_culler(idle=idle, age=age))
        roles.append(
            {
                "name": "idle-culler",
                "services": ["idle-culler"],
                "scopes": [
                    "list:users",
                    "read:users:activity",
                    "read:servers",
                    "delete:servers",
                ],
            }
        )
    doctor = secrets.get("doctor-token")
    if doctor:
        services.append({"name": "doctor", "api_token": doctor})
        roles.append({"name": "doctor", "services": ["doctor"], "scopes": doctor_scopes()})
    c.JupyterHub.services = services
    c.JupyterHub.load_roles = roles


def _culler(*, idle: int, age: int) -> dict[str, Any]:
    every = max(10, min(300, (idle or age) // 2))
    command = [sys.executable, "-m", "jupyterhub_idle_culler", f"--cull-every={every}"]
    # never idle long enough, where only the age counts
    command.append(f"--timeout={idle or 10 * 365 * 86400}")
    if age:
        command.append(f"--max-age={age}")
    return {"name": "idle-culler", "command": command}


def doctor_scopes() -> list[str]:
    """What the health check may do: see how the hub is, and have a server of its own."""
    own = ("admin:users", "servers", "access:servers", "read:users:activity")
    return ["read:hub", *(f"{scope}!user={DOCTOR_USER}" for scope in own)]


def _pages(c: Any, settings: Mapping[str, Any]) -> None:
    hub = settings["hub"]
    c.JupyterHub.template_paths = [
        str(HERE / "templates"),
        str(Path(nativeauthenticator.__file__).parent / "templates"),
    ]
    announcement = "<br>".join(html.escape(hub.get("announcement") or "").splitlines())
    c.JupyterHub.template_vars = {
        "announcement": announcement,
        "hd_title": hub.get("title") or "JupyterHub",
        "hd_logo": hub.get("logo") or "",
        "hd_native": hub["authenticator"]["kind"] == "native",
        "hd_last_words": last_words,
    }
