"""``hubdeploy status``: machines, phases, sizes, limits."""

from __future__ import annotations

import typer

from hubdeploy.cli import options

EPILOG = "Example: hubdeploy status --json"


def status(
    config: options.Config = options.DEFAULT,
    sandbox: options.Sandbox = False,
    profile: options.Profile = None,
    region: options.Region = None,
    as_json: options.Json = False,
) -> None:
    """Show the machines and what they are doing, the group's sizes, the limits, the address."""
    from hubdeploy.cli.deployment import open_deployment
    from hubdeploy.cli.output import console, emit
    from hubdeploy.cli.views import show_status
    from hubdeploy.errors import HubdeployError
    from hubdeploy.operate.status import read

    opened = open_deployment(path=config, sandbox=sandbox, profile=profile, region=region)
    now = read(aws=opened.aws, names=opened.names)
    if as_json:
        emit("status", now.as_dict())
    elif now.exists:
        show_status(now, console())
    if not now.exists:
        raise HubdeployError(
            f"there is no deployment {now.deployment} in {now.region}", hint="run `hubdeploy up`"
        )


def register(app: typer.Typer) -> None:
    app.command(epilog=EPILOG)(status)
