"""``hubdeploy logs``: what a machine, a unit or a user's server wrote."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hubdeploy.cli import options

if TYPE_CHECKING:
    from hubdeploy.cli.deployment import Opened

EPILOG = "Example: hubdeploy logs hub --since 10m"
POLL = 1.0
"""Seconds between looks when following; each is one Run Command."""


def logs(
    what: Annotated[
        str,
        typer.Argument(
            help="cloud-init, boot, converge, docker, hub, proxy, nginx, fleet, swarm, chef, "
            "workstation, user/NAME; or 'export' for an archive of all."
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
    from hubdeploy.cli.output import plain
    from hubdeploy.operate import logs as operate

    opened = open_deployment(path=config, sandbox=sandbox, profile=profile, region=region)
    if what == "export":
        texts = {
            f"{label}/{name}.log": text
            for name in operate.UNITS
            for label, text in _read(opened, name, on=on, lines=5000, since=since, via=via).items()
        }
        output.write_bytes(operate.archive(texts))
        plain(f"{output}: {len(texts)} logs, secrets masked")
        return
    shown: dict[str, str] = {}
    while True:
        found = _read(opened, what, on=on, lines=lines, since=since, via=via)
        for label, text in found.items():
            cleaned = operate.clean(text)
            for line in _fresh(shown.get(label, ""), cleaned):
                plain(f"{label}: {line}" if len(found) > 1 else line)
            shown[label] = cleaned
        if not follow:
            return
        time.sleep(POLL)


def _fresh(before: str, now: str) -> list[str]:
    """The lines of ``now`` after the last line that ``before`` had."""
    old, new = before.splitlines(), now.splitlines()
    if not old:
        return new
    for index in range(len(new) - 1, -1, -1):
        if new[index] == old[-1]:
            return new[index + 1 :]
    return new


def _read(
    opened: Opened, what: str, *, on: str | None, lines: int, since: str, via: str | None
) -> dict[str, str]:
    """The log's text by machine label."""
    from hubdeploy.cli.channels import channel
    from hubdeploy.config.names import Role
    from hubdeploy.errors import ConfigError
    from hubdeploy.operate import choose
    from hubdeploy.operate import logs as operate
    from hubdeploy.operate.status import machines

    there = machines(aws=opened.aws, names=opened.names)
    if what.startswith("user/"):
        command = operate.server_command(what.removeprefix("user/"), lines=lines)
        wanted = choose.machines(Role.LEADER, there)
    else:
        command = operate.command(what, lines=lines, since=since)
        roles = operate.UNITS[what].roles
        wanted = [m for m in choose.machines(on or "all", there) if m.role in roles]
        if not wanted and on:
            raise ConfigError(f"{on} has no log {what!r}")
    results = channel(opened, there, via=via).run([m.target for m in wanted], command, deadline=60)
    return {
        r.target.label: r.stdout if r.ok else f"({r.problem or r.stderr.strip()})" for r in results
    }


def register(app: typer.Typer) -> None:
    app.command(epilog=EPILOG)(logs)
