"""``hubdeploy logs``: what a machine, a unit or a user's server wrote."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hubdeploy.cli import help, options

if TYPE_CHECKING:
    from hubdeploy.cli.deployment import Opened
    from hubdeploy.remote.channel import Result

EXAMPLE = "hubdeploy logs hub --since 10m"
POLL = 1.0
"""Seconds between looks when following; each is one Run Command."""


def logs(
    what: Annotated[
        str,
        typer.Argument(
            help="cloud-init, boot, converge, docker, hub, proxy, nginx, fleet, swarm, chef, "
            "workstation, user/NAME; a machine for all of its logs; or 'export' for an archive."
        ),
    ] = "hub",
    config: options.Config = options.DEFAULT,
    sandbox: options.Sandbox = False,
    on: Annotated[
        str | None, typer.Option("--on", help="A machine or a role; default: all that have it.")
    ] = None,
    since: Annotated[str, typer.Option("--since", help="For example 10m, 2h, 1d.")] = "",
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=100_000)] = 200,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come.")] = False,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="export: the archive's name.")
    ] = Path("hubdeploy-logs.tar.gz"),
    via: options.Via = None,
    profile: options.Profile = None,
    region: options.Region = None,
) -> None:
    """Show a log from the machines that have it; secrets are masked."""
    from hubdeploy.cli.deployment import open_deployment
    from hubdeploy.cli.output import console, plain
    from hubdeploy.operate import logs as operate

    opened = open_deployment(path=config, sandbox=sandbox, profile=profile, region=region)
    if what == "export":
        texts = {
            f"{label}/{name}.log": result.stdout if result.ok else f"({_problem(result)})"
            for name, unit in operate.UNITS.items()
            for label, result in _read(
                opened, name, on=on, lines=5000, since="" if unit.file else since, via=via
            ).items()
        }
        output.write_bytes(operate.archive(texts))
        plain(f"{output}: {len(texts)} logs, secrets masked")
        return
    shown: dict[str, str] = {}
    while True:
        found = _wanted(opened, what, on=on, lines=lines, since=since, via=via)
        for label, result in found.items():
            if not result.ok:
                if label not in shown:
                    console(stderr=True).print(f"{label}: {_problem(result)}", markup=False)
                shown.setdefault(label, "")
                continue
            cleaned = operate.clean(result.stdout)
            for line in operate.fresh(shown.get(label, ""), cleaned):
                plain(f"{label}: {line}" if len(found) > 1 else line)
            shown[label] = cleaned
        if not follow:
            if not any(result.ok for result in found.values()):
                raise typer.Exit(1)
            return
        time.sleep(POLL)


def _problem(result: Result) -> str:
    return result.problem or result.stderr.strip() or f"exit code {result.code}"


def _wanted(
    opened: Opened, what: str, *, on: str | None, lines: int, since: str, via: str | None
) -> dict[str, Result]:
    """By machine, or by log where ``what`` is a machine."""
    from hubdeploy.operate import choose
    from hubdeploy.operate import logs as operate
    from hubdeploy.operate.status import machines

    if what in operate.UNITS or what.startswith("user/"):
        return _read(opened, what, on=on, lines=lines, since=since, via=via)
    there = machines(aws=opened.aws, names=opened.names)
    if what not in {name for m in there for name in (m.label, m.role, m.instance_id)}:
        operate.command(what, lines=lines)  # says which logs there are
    roles = {m.role for m in choose.machines(what, there)}
    return {
        f"{label} {name}": result
        for name, unit in operate.UNITS.items()
        if roles & set(unit.roles)
        for label, result in _read(
            opened, name, on=what, lines=lines, since="" if unit.file else since, via=via
        ).items()
    }


def _read(
    opened: Opened, what: str, *, on: str | None, lines: int, since: str, via: str | None
) -> dict[str, Result]:
    """What reading the log gave, by machine label."""
    from hubdeploy.cli.channels import channel
    from hubdeploy.config.names import Role
    from hubdeploy.errors import ConfigError
    from hubdeploy.operate import choose
    from hubdeploy.operate import logs as operate
    from hubdeploy.operate.status import machines

    there = machines(aws=opened.aws, names=opened.names)
    if what.startswith("user/"):
        command = operate.server_command(what.removeprefix("user/"), lines=lines, since=since)
        wanted = choose.machines(Role.LEADER, there)
    else:
        command = operate.command(what, lines=lines, since=since)
        roles = operate.UNITS[what].roles
        wanted = [m for m in choose.machines(on or "all", there) if m.role in roles]
        if not wanted and on:
            raise ConfigError(f"{on} has no log {what!r}")
    results = channel(opened, there, via=via).run([m.target for m in wanted], command, deadline=60)
    return {result.target.label: result for result in results}


def register(app: typer.Typer) -> None:
    help.add(app, logs, panel=help.REACH, example=EXAMPLE)
