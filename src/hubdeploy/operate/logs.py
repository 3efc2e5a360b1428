"""Where each log is, on a machine and in CloudWatch, and the command that shows it there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from hubdeploy.config.names import Role
from hubdeploy.errors import ConfigError
from hubdeploy.remote.channel import Result


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A log that people ask for: on which kinds of machine it is, and how it is read there.

    ``group`` is the CloudWatch group that the machines' agent sends it to; ``marked`` is what only
    its lines hold there, where others share the group.
    """

    roles: tuple[Role, ...]
    journal: tuple[str, ...] = ()
    """systemd units."""
    file: str = ""
    container: str = ""
    group: str
    marked: str = ""


@dataclass(frozen=True, kw_only=True)
class Found:
    """One machine's log as it was found, wherever.

    ``problem`` says why there is none; ``missed``: the machine was not reached, so that somewhere
    else there may be one.
    """

    label: str
    text: str = ""
    problem: str = ""
    missed: bool = False

    @classmethod
    def of(cls, result: Result) -> Found:
        if result.ok:
            return cls(label=result.target.label, text=result.stdout)
        problem = result.problem or result.stderr.strip() or f"exit code {result.code}"
        return cls(label=result.target.label, problem=problem, missed=result.code is None)


ALL = tuple(Role)
SWARM = (Role.LEADER, Role.WORKER)
LEADER = (Role.LEADER,)
UNITS: dict[str, Unit] = {
    "cloud-init": Unit(roles=ALL, file="/var/log/cloud-init-output.log", group="cloud-init"),
    "boot": Unit(roles=ALL, journal=("hubdeploy-boot",), group="cloud-init"),
    "converge": Unit(roles=SWARM, journal=("hubdeploy-converge",), group="converge"),
    "docker": Unit(roles=SWARM, journal=("docker",), group="system", marked="dockerd"),
    "hub": Unit(roles=LEADER, journal=("jupyterhub",), group="hub"),
    "proxy": Unit(roles=LEADER, journal=("hubdeploy-proxy",), group="hub"),
    "nginx": Unit(roles=LEADER, container="hubdeploy-nginx", group="nginx"),
    "fleet": Unit(roles=LEADER, journal=("jupyterhub",), group="hub", marked="fleet"),
    "swarm": Unit(roles=SWARM, journal=("hubdeploy-swarm",), group="agent"),
    "chef": Unit(
        roles=(Role.CHEF,), journal=("goiardi", "cinc-server", "chef-server"), group="chef"
    ),
    "workstation": Unit(
        roles=(Role.WORKSTATION,), journal=("hubdeploy-workstation",), group="agent"
    ),
}
_SINCE = re.compile(r"^\d+\s*[smhd]$")


def named(name: str, *, machines: Iterable[str] = ()) -> Unit:
    """The log of that name; :class:`ConfigError` lists those that there are, and the machines
    whose logs can be asked for."""
    if name not in UNITS:
        there = (*UNITS, "user/NAME", *machines)
        raise ConfigError(f"no log is called {name!r}", hint=f"one of: {', '.join(there)}")
    return UNITS[name]


def seconds(since: str) -> float:
    """``10m`` in seconds."""
    past = _past(since)
    return float(past[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[past[-1]]


def command(name: str, *, lines: int, since: str = "") -> str:
    """The shell command that prints the log's last ``lines`` (those since ``10m``)."""
    unit = named(name)
    past = _past(since)
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
