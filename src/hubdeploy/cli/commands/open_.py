"""``hubdeploy open``: the hub in the browser."""

from __future__ import annotations

import typer

from hubdeploy.cli import help, options

EXAMPLE = "hubdeploy open"


def open_hub(
    config: options.Config = options.DEFAULT,
    sandbox: options.Sandbox = False,
    print_only: bool = typer.Option(False, "--print", help="Only print the address."),
    profile: options.Profile = None,
    region: options.Region = None,
) -> None:
    """Open the hub's login page in the browser."""
    from hubdeploy.cli.deployment import open_deployment
    from hubdeploy.cli.output import plain
    from hubdeploy.errors import HubdeployError
    from hubdeploy.operate.status import read

    opened = open_deployment(path=config, sandbox=sandbox, profile=profile, region=region)
    now = read(aws=opened.aws, names=opened.names)
    if not now.url:
        raise HubdeployError("there is no hub yet", hint="`hubdeploy status` says how far it is")
    plain(now.url)
    if not print_only:
        typer.launch(now.url)


def register(app: typer.Typer) -> None:
    help.add(app, open_hub, name="open", panel=help.REACH, example=EXAMPLE)
