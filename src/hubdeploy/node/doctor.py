"""Facts about this machine, as one JSON object, for ``hubdeploy doctor``. Judges nothing."""

from __future__ import annotations

import os
import shutil
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hubdeploy import __version__
from hubdeploy.config.names import (
    EFS_DIR,
    LABEL_INSTANCE,
    LABEL_SERVER,
    LABEL_USER,
    STATE_DIR,
    Port,
    Role,
)
from hubdeploy.errors import HubdeployError
from hubdeploy.node import certificates, converging, release, system, tls
from hubdeploy.node.aws import Cloud

UNITS = {
    Role.CHEF: ("hubdeploy-goiardi", "hubdeploy-chef-backup.timer"),
    Role.WORKSTATION: ("hubdeploy-workstation",),
    Role.LEADER: (
        "docker",
        "hubdeploy-swarm",
        "hubdeploy-nginx",
        "hubdeploy-proxy",
        "jupyterhub",
        "hubdeploy-converge.timer",
        "hubdeploy-hub-backup.timer",
        "hubdeploy-tls.timer",
    ),
    Role.WORKER: (
        "docker",
        "hubdeploy-swarm",
        "hubdeploy-spot",
        "hubdeploy-use",
        "hubdeploy-converge.timer",
    ),
}
_ALL = ("hubdeploy-boot", "hubdeploy-logs", "amazon-ssm-agent")
_PACKAGES = ("docker.io", "cinc", "chef", "cinc-server-core", "goiardi", "amazon-ssm-agent")


def memory(meminfo: Path = Path("/proc/meminfo")) -> dict[str, int]:
    """Bytes: total and available."""
    pairs = (line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
    facts = {key: int(value.split()[0]) * 1024 for key, value in pairs if value.split()}
    return {"total": facts["MemTotal"], "available": facts["MemAvailable"]}


def disk(path: str) -> dict[str, int]:
    """Bytes of the file system that holds a path; empty where it is not."""
    try:
        found = shutil.disk_usage(path)
    except OSError:
        return {}
    return {"size": found.total, "used": found.used, "free": found.free}


def units(root: Path, role: Role) -> dict[str, str]:
    """Unit -> ``active``, ``failed`` …; of those that exist, and of the role's own in any case."""
    result = {}
    for name in (*_ALL, *UNITS[role]):
        full = name if "." in name else f"{name}.service"
        shown = system.systemctl(
            root, "show", full, "--property=LoadState,ActiveState", check=False
        )
        facts = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        if facts.get("LoadState") == "loaded":
            result[name] = facts.get("ActiveState", "")
        elif name in UNITS[role] and facts:
            result[name] = "missing"
    if role is Role.CHEF and result.get("hubdeploy-goiardi") == "missing":
        del result["hubdeploy-goiardi"]  # another distribution, with its own init
    return result


def _client() -> Any:
    import docker as library

    return library.from_env(timeout=20)


def docker() -> dict[str, Any] | None:
    """Engine and swarm as Docker tells; None where there is no Docker."""
    if not shutil.which("docker"):
        return None
    info = _client().info()
    swarm = info["Swarm"]
    return {
        "version": info["ServerVersion"],
        "containers": info["ContainersRunning"],
        "images": info["Images"],
        "swarm": swarm["LocalNodeState"],
        "manager": swarm["ControlAvailable"],
        "node_id": swarm.get("NodeID", ""),
        "error": swarm.get("Error", ""),
    }


def node(raw: dict[str, Any]) -> dict[str, str]:
    """A swarm node (of ``GET /nodes``), in short."""
    spec, status = raw["Spec"], raw.get("Status", {})
    return {
        "id": raw["ID"],
        "hostname": raw.get("Description", {}).get("Hostname", ""),
        "instance": (spec.get("Labels") or {}).get(LABEL_INSTANCE, ""),
        "state": status.get("State", ""),
        "availability": spec.get("Availability", ""),
        "address": status.get("Addr", ""),
        "role": spec.get("Role", ""),
    }


def servers(services: list[dict[str, Any]], tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All services (of ``GET /services`` and ``/tasks``) with the state of their tasks.

    ``user`` is empty for one that is nobody's server; tasks whose service is gone come last, as
    services without a name.
    """
    by_service: dict[str, list[dict[str, str]]] = {}
    for task in tasks:
        status = task.get("Status", {})
        by_service.setdefault(task["ServiceID"], []).append(
            {
                "state": status.get("State", ""),
                "error": status.get("Err", ""),
                "node": task.get("NodeID", ""),
            }
        )
    found = []
    for service in services:
        labels = service["Spec"].get("Labels") or {}
        found.append(
            {
                "name": service["Spec"]["Name"],
                "user": labels.get(LABEL_USER, ""),
                "server": labels.get(LABEL_SERVER, ""),
                "tasks": by_service.pop(service["ID"], []),
            }
        )
    orphans = [task for tasks in by_service.values() for task in tasks]
    if running := [task for task in orphans if task["state"] == "running"]:
        found.append({"name": "", "user": "", "server": "", "tasks": running})
    return found


def _swarm() -> dict[str, Any]:
    low = _client().api
    return {
        "nodes": [node(raw) for raw in low.nodes()],
        "services": servers(low.services(), low.tasks()),
    }


def _answers(url: str) -> dict[str, Any]:
    """``ok``, and the HTTP status or the reason."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return {"ok": answer.status == 200, "status": str(answer.status)}
    except OSError as error:
        return {"ok": False, "status": str(error)[:200]}


def packages() -> dict[str, str]:
    """Versions of what matters, where Debian's package manager knows it."""
    done = system.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *_PACKAGES], check=False, timeout=30
    )
    pairs = (line.split(" ") for line in done.stdout.splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2 and pair[0] in _PACKAGES}


def applied(cloud: Cloud) -> dict[str, str]:
    """SHA-256 of what this machine runs: ``wheel`` (its first digits), ``cookbooks``, ``settings``.

    On a machine that does not converge only the wheel.
    """
    link = cloud.machine.path("/opt/hubdeploy/venv")
    wheel = {"wheel": link.readlink().name} if link.is_symlink() else {}
    last = converging.last(cloud) or {}
    return {**wheel, **last.get("release", {})}


def certificate(cloud: Cloud) -> dict[str, Any]:
    """The hub's certificate: names, end (ISO 8601), kind; ``why`` if it is a stand-in."""
    chain = (cloud.machine.path(tls.FOLDER) / "fullchain.pem").read_text()
    first = certificates.load(chain)
    return {
        **tls.note(cloud),
        "issuer": first.issuer.rfc4514_string(),
        "subject": first.subject.rfc4514_string(),
        "not_after": first.not_valid_after_utc.isoformat(),
        "days_left": round(certificates.days_left(chain), 1),
    }


def facts(cloud: Cloud) -> dict[str, Any]:
    """All of it. What cannot be told is left out and named in ``problems``; nothing raises."""
    from docker.errors import DockerException

    machine, role = cloud.machine, cloud.machine.role
    problems: dict[str, str] = {}
    result: dict[str, Any] = {
        "version": __version__,
        "role": role.value,
        "deployment": machine.deployment,
        "clock": time.time(),
        "load": list(os.getloadavg()),
        "processors": os.cpu_count(),
        "disks": {path: disk(path) for path in ("/", "/var/lib/docker", STATE_DIR, EFS_DIR)},
        "mounts": {path: os.path.ismount(path) for path in (EFS_DIR,) if role in _MOUNTING},
        "converge": converging.last(cloud),
        "reboot_wanted": Path("/run/reboot-required").exists(),
        "problems": problems,
    }

    def tell(name: str, ask: Callable[[], Any]) -> None:
        try:
            result[name] = ask()
        except (HubdeployError, DockerException, OSError, ValueError, KeyError) as error:
            problems[name] = f"{type(error).__name__}: {error}"[:300]

    tell("identity", lambda: vars(machine.identity))
    tell("memory", memory)
    tell("units", lambda: units(machine.root, role))
    tell("docker", docker)
    tell("packages", packages)
    tell("release", lambda: applied(cloud))
    if role is Role.LEADER:
        settings: dict[str, Any] = {}
        tell("settings", lambda: settings.update(release.settings(cloud)))
        result.pop("settings", None)
        result["url"] = settings.get("hub_url", "")
        if settings.get("state_volume"):
            result["mounts"][STATE_DIR] = os.path.ismount(STATE_DIR)
        tell("swarm", lambda: result.update(_swarm()))
        result.pop("swarm", None)
        result["hub"] = _answers(f"http://127.0.0.1:{Port.PROXY}/hub/health")
        result["proxy"] = _answers(f"http://127.0.0.1:{Port.PROXY}/_chp_healthz")
        tell("certificate", lambda: certificate(cloud))
    return result


_MOUNTING = (Role.LEADER, Role.WORKER)
