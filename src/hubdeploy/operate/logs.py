"""Where each log is on a machine, and the command that shows it."""

from __future__ import annotations

import io
import re
import shlex
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass

from hubdeploy.aws.masking import masked
from hubdeploy.config.names import Role
from hubdeploy.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A log that people ask for: on which kinds of machine it is, and how it is read there."""

    roles: tuple[Role, ...]
    journal: tuple[str, ...] = ()
    """systemd units."""
    file: str = ""
    container: str = ""


ALL = tuple(Role)
SWARM = (Role.LEADER, Role.WORKER)
UNITS: dict[str, Unit] = {
    "cloud-init": Unit(roles=ALL, file="/var/log/cloud-init-output.log"),
    "boot": Unit(roles=ALL, journal=("hubdeploy-boot",)),
    "converge": Unit(roles=SWARM, journal=("hubdeploy-converge",)),
    "docker": Unit(roles=SWARM, journal=("docker",)),
    "hub": Unit(roles=(Role.LEADER,), journal=("jupyterhub",)),
    "proxy": Unit(roles=(Role.LEADER,), journal=("hubdeploy-proxy",)),
    "nginx": Unit(roles=(Role.LEADER,), container="hubdeploy-nginx"),
    "fleet": Unit(roles=(Role.LEADER,), journal=("jupyterhub",)),
    "swarm": Unit(roles=SWARM, journal=("hubdeploy-swarm",)),
    "chef": Unit(roles=(Role.CHEF,), journal=("goiardi", "cinc-server", "chef-server")),
    "workstation": Unit(roles=(Role.WORKSTATION,), journal=("hubdeploy-workstation",)),
}
_SINCE = re.compile(r"^\d+\s*[smhd]$")


def command(name: str, *, lines: int, since: str = "") -> str:
    """The shell command that prints the log's last ``lines`` (those since ``10m``)."""
    if name not in UNITS:
        raise ConfigError(
            f"no log is called {name!r}", hint=f"one of: {', '.join(UNITS)}, user/NAME"
        )
    past = _past(since)
    unit = UNITS[name]
    if unit.file:
        if past:
            raise ConfigError(
                f"--since: the lines of {name} bear no times", hint="--lines says how many to show"
            )
        return f"tail -n {lines} {shlex.quote(unit.file)}"
    # the fleet runs as a child of the hub and marks its lines: they are looked for among many
    looked = min(lines * 50, 100_000) if name == "fleet" else lines
    parts = ["journalctl", "--no-pager", "-o", "short-iso", "-n", str(looked)]
    if past:
        parts += ["--since", f"-{past}"]
    if unit.container:
        parts.append(f"CONTAINER_NAME={unit.container}")
    for journal in unit.journal:
        parts += ["-u", journal]
    shown = shlex.join(parts)
    return f"{shown} | grep -i fleet | tail -n {lines}" if name == "fleet" else shown


def _past(since: str) -> str:
    if since and not _SINCE.match(since):
        raise ConfigError(f"--since {since}: not a time", hint="for example 10m, 2h or 1d")
    return since.replace(" ", "")


def server_command(user: str, *, lines: int, since: str = "") -> str:
    """The log of a user's server, by its swarm service; asked on the leader."""
    if not re.fullmatch(r"[A-Za-z0-9._@+-]{1,64}", user):
        raise ConfigError(f"{user!r} is no user name")
    wanted = shlex.quote(f"label=hubdeploy.user={user}")
    past = _past(since)
    if past.endswith("d"):  # Docker knows no days
        past = f"{int(past[:-1]) * 24}h"
    limit = f"--since {past} " if past else ""
    return (
        f"found=$(docker service ls -q --filter {wanted}) || exit; "
        f'[ -n "$found" ] || {{ echo "{user} has no server" >&2; exit 1; }}; '
        "for s in $found; do "
        f'docker service ps --no-trunc "$s"; docker service logs --raw {limit}--tail {lines} "$s"; '
        "done 2>&1"
    )


def fresh(before: str, now: str) -> list[str]:
    """The lines that came between two looks at the last lines of one log."""
    old, new = before.splitlines(), now.splitlines()
    for gone in range(len(old) + 1):
        rest = old[gone:]
        if new[: len(rest)] == rest:
            return new[len(rest) :]
    return new


def clean(text: str) -> str:
    """A log without what looks like a secret."""
    hidden = re.sub(
        r"(?i)\b((?:password|secret|token|authorization)[\"']?\s*[:=]\s*)(\"[^\"]*\"|'[^']*'|\S+)",
        r"\1***",
        str(masked(text)),
    )
    return re.sub(r"(?<=[?&]token=)[^&\s]+", "***", hidden)


def archive(files: Mapping[str, str]) -> bytes:
    """A ``tar.gz`` of cleaned texts by name; the same texts give the same bytes."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz", compresslevel=6) as tar:
        for name, text in sorted(files.items()):
            body = clean(text).encode()
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(body), 0o600
            tar.addfile(info, io.BytesIO(body))
    return raw.getvalue()
