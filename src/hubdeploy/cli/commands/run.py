"""``hubdeploy run``: one command on one machine, a role or all."""

from __future__ import annotations

from typing import Annotated

import typer

from hubdeploy.cli import completing, help, options

EXAMPLE = "hubdeploy run --on worker 'docker ps'"


def run(
    command: Annotated[str, typer.Argument(help="A shell command; it runs as root.")],
    config: options.Config = options.DEFAULT,
    sandbox: options.Sandbox = False,
    on: Annotated[
        str,
        typer.Option(
            "--on",
            help="all, a role, worker/2, or an instance id.",
            autocompletion=completing.several,
        ),
    ] = "all",
    via: options.Via = None,
    deadline: Annotated[
        float, typer.Option("--deadline", min=1, help="Seconds after which it is cancelled.")
    ] = 60,
    profile: options.Profile = None,
    region: options.Region = None,
    as_json: options.Json = False,
) -> None:
    """Run a command on machines in parallel; the exit code is the worst one's."""
    from hubdeploy.cli.channels import channel
    from hubdeploy.cli.deployment import open_deployment
    from hubdeploy.cli.output import emit, plain
    from hubdeploy.operate import choose
    from hubdeploy.operate.status import machines
    from hubdeploy.remote.channel import worst

    opened = open_deployment(path=config, sandbox=sandbox, profile=profile, region=region)
    there = machines(aws=opened.aws, names=opened.names)
    targets = [m.target for m in choose.machines(on, there)]
    results = channel(opened, there, via=via).run(targets, command, deadline=deadline)
    if as_json:
        emit(
            "run",
            {
                "results": [
                    {
                        "machine": r.target.label,
                        "instance": r.target.instance_id,
                        "code": r.code,
                        "problem": r.problem,
                        "stdout": r.stdout,
                        "stderr": r.stderr,
                    }
                    for r in results
                ]
            },
        )
    else:
        for r in results:
            for line in r.stdout.splitlines():
                plain(f"{r.target.label}: {line}" if len(results) > 1 else line)
            for line in r.stderr.splitlines():
                plain(f"{r.target.label}: {line}", stderr=True)
            if not r.ok:
                plain(f"{r.target.label}: {r.problem or f'exit code {r.code}'}", stderr=True)
    raise typer.Exit(worst(results))


def register(app: typer.Typer) -> None:
    help.add(app, run, panel=help.REACH, example=EXAMPLE)
