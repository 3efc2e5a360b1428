"""Facts about this machine, as one JSON object, for ``hubdeploy doctor``. Judges nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hubdeploy import __version__
from hubdeploy.config.names import EFS_DIR, STATE_DIR, Role
from hubdeploy.errors import HubdeployError
from hubdeploy.node import converging, system, tls
from hubdeploy.node.aws import Cloud

UNITS = {
    Role.CHEF: ("hubdeploy-goiardi", "hubdeploy-chef-backup.timer"),
    Role.WORKSTATION: ("hubdeploy-workstation",),
    Role.LEADER: (
        "docker",
        "hubdeploy-swarm",
        "hubdeploy-nginx",
        "hubdeploy-hub",
        "jupyterhub",
        "hubdeploy-proxy",
        "configurable-http-proxy",
        "hubdeploy-converge.timer",
        "hubdeploy-hub-backup.timer",
        "hubdeploy-tls.timer",
    ),
    Role.WORKER: ("docker", "hubdeploy-swarm", "hubdeploy-spot", "hubdeploy-converge.timer"),
}
_ALL = ("hubdeploy-boot", "hubdeploy-logs", "amazon-ssm-agent")


def memory(meminfo: Path = Path("/proc/meminfo")) -> dict[str, int]:
    """Bytes: total and available."""
    pairs = (line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
    facts = {key: int(value.split()[0]) * 1024 for key, value in pairs if value.split()}
    return {"total": facts["MemTotal"], "available": facts["MemAvailable"]}


def disk(path: str) -> dict[str, int] | None:
    """Bytes: total, used and free of the file system that holds a path; None where it is not."""
    try:
        found = shutil.disk_usage(path)
    except OSError:
        return None
    return {"total": found.total, "used": found.used, "free": found.free}


def units(root: Path, role: Role) -> dict[str, dict[str, str]]:
    """Unit -> its states; only those that exist."""
    result = {}
    for name in (*_ALL, *UNITS[role]):
        full = name if "." in name else f"{name}.service"
        shown = system.systemctl(
            root,
            "show",
            full,
            "--property=LoadState,ActiveState,SubState,Result,NRestarts",
            check=False,
        )
        facts = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        if facts.get("LoadState") == "loaded":
            result[name] = {
                "active": facts.get("ActiveState", ""),
                "sub": facts.get("SubState", ""),
                "result": facts.get("Result", ""),
                "restarts": facts.get("NRestarts", "0"),
            }
    return result


def docker() -> dict[str, Any] | None:
    """Engine and swarm as Docker tells; None where there is no Docker."""
    if not shutil.which("docker"):
        return None
    import docker as library
    from docker.errors import DockerException

    try:
        info = library.from_env(timeout=20).info()
    except (DockerException, OSError) as error:
        return {"error": str(error)[:300]}
    swarm = info["Swarm"]
    return {
        "version": info["ServerVersion"],
        "containers": info["ContainersRunning"],
        "images": info["Images"],
        "swarm": {
            "state": swarm["LocalNodeState"],
            "manager": swarm["ControlAvailable"],
            "node": swarm.get("NodeID", ""),
            "error": swarm.get("Error", ""),
            "nodes": swarm.get("Nodes"),
        },
    }


def packages() -> dict[str, str]:
    """Versions of what matters, where Debian's package manager knows it."""
    names = ("docker.io", "cinc", "chef", "cinc-server-core", "goiardi", "amazon-ssm-agent")
    done = system.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *names], check=False, timeout=30
    )
    pairs = (line.split(" ") for line in done.stdout.splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2 and pair[0] in names}


def facts(cloud: Cloud) -> dict[str, Any]:
    """All of it. What cannot be told is ``{"error": …}``; nothing here raises for it."""
    machine = cloud.machine
    role = machine.role

    def told(ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except (HubdeployError, OSError, ValueError, KeyError) as error:
            return {"error": str(error)[:300]}

    link = machine.path("/opt/hubdeploy/venv")
    result: dict[str, Any] = {
        "role": role.value,
        "deployment": machine.deployment,
        "agent": {
            "version": __version__,
            "wheel": link.readlink().name if link.is_symlink() else "",
        },
        "identity": told(lambda: vars(machine.identity)),
        "load": list(os.getloadavg()),
        "processors": os.cpu_count(),
        "memory": told(memory),
        "disks": {path: disk(path) for path in ("/", "/var/lib/docker", STATE_DIR, EFS_DIR)},
        "mounts": {path: os.path.ismount(path) for path in (STATE_DIR, EFS_DIR)},
        "units": told(lambda: units(machine.root, role)),
        "docker": told(docker),
        "packages": told(packages),
        "converge": converging.last(cloud),
        "reboot_wanted": Path("/run/reboot-required").exists(),
    }
    if role is Role.LEADER:
        result["certificate"] = told(lambda: _certificate(cloud))
    return result


def _certificate(cloud: Cloud) -> dict[str, Any]:
    from hubdeploy.node import certificates

    chain = (cloud.machine.path(tls.FOLDER) / "fullchain.pem").read_text()
    return {**tls.note(cloud), "days_left": round(certificates.days_left(chain), 1)}
