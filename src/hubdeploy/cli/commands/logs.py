"""``hubdeploy logs``: what a machine, a unit or a user's server wrote."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hubdeploy.cli import completing, help, options

if TYPE_CHECKING:
    from hubdeploy.operate.logs import Found
    from hubdeploy.operate.reading import Reader

EXAMPLE = "hubdeploy logs hub --since 10m"
POLL = 1.0
"""Seconds between looks when following; each is one Run Command."""


def logs(
    what: Annotated[
        str,
        typer.Argument(
            help="cloud-init, boot, converge, docker, hub, proxy, nginx, fleet, swarm, chef, "
            "workstation, user/NAME; a machine for all of its logs; or 'export' for an archive.",
            autocompletion=completing.logs,
        ),
    ] = "hub",
    config: options.Config = options.DEFAULT,
    sandbox: options.Sandbox = False,
    on: Annotated[
        str | None,
        typer.Option(
            "--on",
            help="A machine or a role; default: all that have it.",
            autocompletion=completing.several,
        ),
    ] = None,
    since: Annotated[str, typer.Option("--since", help="For example 10m, 2h, 1d.")] = "",
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=1, max=100_000, help="How many, at most.")
    ] = 200,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come.")] = False,
    source: Annotated[
        str,
        typer.Option(
            "--from",
            help="machine, cloudwatch, or auto: the machine while it can be reached.",
            autocompletion=completing.sources,
        ),
    ] = "auto",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="export: the archive's name.")
    ] = Path("hubdeploy-logs.tar.gz"),
    via: options.Via = None,
    profile: options.Profile = None,
    region: options.Region = None,
) -> None:
    """Show a log from the machines that have it, or from CloudWatch; secrets are masked.

    A machine that does not answer, or has ended, is read from what it sent to CloudWatch, and a
    line says so. `logs export` makes one archive for a bug report: all logs, the status, doctor's
    findings, versions, the configuration and the log of the last `up` from here.
    """
    from hubdeploy.cli.channels import channel
    from hubdeploy.cli.deployment import open_deployment
    from hubdeploy.cli.output import console, plain
    from hubdeploy.errors import ConfigError
    from hubdeploy.operate.cleaning import clean
    from hubdeploy.operate.logs import fresh
    from hubdeploy.operate.reading import SOURCES, Reader
    from hubdeploy.operate.status import machines

    if source not in SOURCES:
        raise ConfigError(f"--from {source}: no such source", hint=f"one of: {', '.join(SOURCES)}")
    opened = open_deployment(path=config, sandbox=sandbox, profile=profile, region=region)
    err = console(stderr=True)

    def say(text: str) -> None:
        err.print(clean(text), markup=False, soft_wrap=True)

    def reader() -> Reader:
        there = machines(aws=opened.aws, names=opened.names)
        way = channel(opened, there, via=via)
        return Reader(
            aws=opened.aws, names=opened.names, there=there, channel=way, source=source, say=say
        )

    if what == "export":
        from hubdeploy.cli.bundle import write

        made = write(output, opened, reader(), on=on, since=since)
        plain(f"{output}: {made}, secrets masked")
        return
    shown: dict[str, str] = {}
    reading = reader()
    while True:
        found = _wanted(reading, what, on=on, lines=lines, since=since)
        for label, each in found.items():
            if each.problem:
                if label not in shown:
                    say(f"{label}: {each.problem}")
                shown.setdefault(label, "")
                continue
            cleaned = clean(each.text)
            for line in fresh(shown.get(label, ""), cleaned):
                plain(f"{label}: {line}" if len(found) > 1 else line)
            shown[label] = cleaned
        if not follow:
            if not any(not each.problem for each in found.values()):
                if not found:
                    say(f"nothing of {what} was found")
                raise typer.Exit(1)
            return
        time.sleep(POLL)


def _wanted(
    reader: Reader, what: str, *, on: str | None, lines: int, since: str
) -> dict[str, Found]:
    """By machine, or by machine and log where ``what`` is a machine."""
    from hubdeploy.operate import logs as operate

    if what in operate.UNITS or what.startswith("user/"):
        return {f.label: f for f in reader.read(what, on=on, lines=lines, since=since)}
    if not reader.knows(what):
        operate.named(what, machines=[machine.label for machine in reader.there])
    return reader.everything(what, lines=lines, since=since)


def register(app: typer.Typer) -> None:
    help.add(app, logs, panel=help.REACH, example=EXAMPLE)
