"""``hubdeploy status``: machines, phases, sizes, limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hubdeploy.cli import help, options

if TYPE_CHECKING:
    from hubdeploy.cli.deployment import Opened
    from hubdeploy.errors import HubdeployError
    from hubdeploy.operate.status import Status

EXAMPLE = "hubdeploy status --json"


def status(
    config: options.Config = options.DEFAULT,
    sandbox: options.Sandbox = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Go on showing it, until Ctrl-C.")
    ] = False,
    every: Annotated[
        float, typer.Option("--every", min=0.5, help="Seconds between looks with --watch.")
    ] = 5.0,
    times: Annotated[
        int, typer.Option("--times", min=0, help="How many looks with --watch; 0: no end.")
    ] = 0,
    profile: options.Profile = None,
    region: options.Region = None,
    as_json: options.Json = False,
) -> None:
    """Show the machines and what they are doing, the group's sizes, the limits, the address.

    With --watch also users, memory, who waits, how near the limits are and what the fleet decided:
    renewed in place on a terminal; elsewhere a line for all that changes, or with --json one
    object a line.
    """
    from dataclasses import asdict

    from hubdeploy.cli.deployment import open_deployment
    from hubdeploy.cli.output import console, emit
    from hubdeploy.cli.views import show_cost, show_status
    from hubdeploy.operate import cost
    from hubdeploy.operate.status import read

    opened = open_deployment(path=config, sandbox=sandbox, profile=profile, region=region)
    if watch:
        _watch(opened, every=every, times=times, as_json=as_json)
        return
    now = read(aws=opened.aws, names=opened.names)
    estimate = cost.read(opened.config, aws=opened.aws)
    if as_json:
        emit("status", {**now.as_dict(), "cost": asdict(estimate)})
    elif now.exists:
        out = console()
        show_status(now, out)
        show_cost(estimate.lines(), out, rehearsal=opened.sandbox is not None)
    if not now.exists:
        raise _nothing(now)


def _watch(opened: Opened, *, every: float, times: int, as_json: bool) -> None:
    """A view on a terminal, lines of what is new in a pipe, JSON lines with ``--json``."""
    from hubdeploy.cli import watching
    from hubdeploy.cli.channels import channel
    from hubdeploy.cli.output import console
    from hubdeploy.operate.fleet import Glance, glance
    from hubdeploy.operate.status import read

    def look() -> tuple[Status, Glance | None]:
        now = read(aws=opened.aws, names=opened.names)
        if not now.exists:
            raise _nothing(now)
        return now, glance(now, channel(opened, now.machines)) if now.url else None

    found = watching.looks(look, every=every, times=times)
    try:
        if as_json:
            watching.as_json(found)
        elif console().is_terminal:
            watching.as_view(found, every=every)
        else:
            watching.as_lines(found)
    except KeyboardInterrupt:
        return  # how one ends it


def _nothing(now: Status) -> HubdeployError:
    from hubdeploy.errors import HubdeployError

    return HubdeployError(
        f"there is no deployment {now.deployment} in {now.region}", hint="run `hubdeploy up`"
    )


def register(app: typer.Typer) -> None:
    help.add(app, status, panel=help.WATCH, example=EXAMPLE)
