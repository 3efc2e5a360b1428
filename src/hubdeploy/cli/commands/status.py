"""``hubdeploy status``: machines, phases, sizes, limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hubdeploy.cli import help, options

if TYPE_CHECKING:
    from hubdeploy.cli.deployment import Opened

EXAMPLE = "hubdeploy status --json"


def status(
    config: options.Config = options.DEFAULT,
    sandbox: options.Sandbox = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Go on showing it, until Ctrl-C.")
    ] = False,
    every: Annotated[
        float, typer.Option("--every", min=0.5, help="Seconds between looks with --watch.")
    ] = 2.0,
    profile: options.Profile = None,
    region: options.Region = None,
    as_json: options.Json = False,
) -> None:
    """Show the machines and what they are doing, the group's sizes, the limits, the address."""
    from dataclasses import asdict

    from hubdeploy.cli.deployment import open_deployment
    from hubdeploy.cli.output import console, emit
    from hubdeploy.cli.views import show_status
    from hubdeploy.errors import HubdeployError
    from hubdeploy.operate import cost
    from hubdeploy.operate.status import read

    opened = open_deployment(path=config, sandbox=sandbox, profile=profile, region=region)
    if watch and not as_json:
        _watch(opened, every=every)
        return
    now = read(aws=opened.aws, names=opened.names)
    estimate = cost.read(opened.config, aws=opened.aws)
    if as_json:
        emit("status", {**now.as_dict(), "cost": asdict(estimate)})
    elif now.exists:
        out = console()
        show_status(now, out)
        for line in estimate.lines():
            out.print(line, markup=False, soft_wrap=True)
    if not now.exists:
        raise HubdeployError(
            f"there is no deployment {now.deployment} in {now.region}", hint="run `hubdeploy up`"
        )


def _watch(opened: Opened, *, every: float) -> None:
    """Machines, users, memory and the fleet's last decisions, renewed in place."""
    import time

    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from hubdeploy.cli.channels import channel
    from hubdeploy.cli.output import console
    from hubdeploy.cli.views import machines_table
    from hubdeploy.operate.fleet import glance
    from hubdeploy.operate.status import read

    out = console()
    with Live(console=out, auto_refresh=False, screen=False) as live:
        while True:
            now = read(aws=opened.aws, names=opened.names)
            seen = glance(now, channel(opened, now.machines)) if now.url else None
            lines = [
                f"{now.deployment}  {now.url or '(no hub yet)'}",
                f"workers: {now.group.in_service} in service, {now.group.desired} wanted, "
                f"{now.group.maximum} at most"
                if now.group
                else "no workers' group",
                *(seen.lines() if seen else []),
            ]
            live.update(
                Group(*(Text(line) for line in lines), machines_table(now.machines)), refresh=True
            )
            time.sleep(every)


def register(app: typer.Typer) -> None:
    help.add(app, status, panel=help.WATCH, example=EXAMPLE)
