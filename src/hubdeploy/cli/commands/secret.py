"""``hubdeploy secret set|list|show``: secrets live in SSM, never in the configuration."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hubdeploy.cli import completing, help, options

Name = Annotated[
    str,
    typer.Argument(help="For example hub/oauth-client-secret.", autocompletion=completing.secrets),
]


def set_(
    name: Name,
    config: options.Config = options.DEFAULT,
    sandbox: options.Sandbox = False,
    profile: options.Profile = None,
    region: options.Region = None,
) -> None:
    """Store a secret; it is read from stdin, or asked for at a terminal, never an argument."""
    from hubdeploy.cli.deployment import open_deployment
    from hubdeploy.cli.output import console
    from hubdeploy.config.names import Names
    from hubdeploy.errors import ConfigError
    from hubdeploy.operate import secrets

    secrets.parameter(name, Names(deployment="x", region="x", account="x"))
    value = typer.prompt(name, hide_input=True) if sys.stdin.isatty() else sys.stdin.read().strip()
    if not value:
        raise ConfigError(f"{name}: empty", hint="give it on stdin")
    opened = open_deployment(path=config, sandbox=sandbox, profile=profile, region=region)
    secrets.store(name, value, aws=opened.aws, names=opened.names)
    console().print(f"{name} stored; the leader takes it over at its next converge.")


def list_(
    config: options.Config = options.DEFAULT,
    sandbox: options.Sandbox = False,
    profile: options.Profile = None,
    region: options.Region = None,
    as_json: options.Json = False,
) -> None:
    """List the secrets that can be set, and which are."""
    from hubdeploy.cli.deployment import open_deployment
    from hubdeploy.cli.output import console, emit, folded
    from hubdeploy.operate import secrets

    opened = open_deployment(path=config, sandbox=sandbox, profile=profile, region=region)
    there = secrets.present(aws=opened.aws, names=opened.names)
    if as_json:
        emit("secrets", {"set": there, "known": sorted(secrets.NAMES)})
        return
    out = console()
    for name, what in secrets.NAMES.items():
        state = "set    " if name in there else "not set"
        folded(out, f"{state}  {name:26} {what}", then=" " * 11)


def show(
    name: Name,
    config: options.Config = options.DEFAULT,
    sandbox: options.Sandbox = False,
    profile: options.Profile = None,
    region: options.Region = None,
) -> None:
    """Print a secret on stdout, and nothing else."""
    from hubdeploy.cli.deployment import open_deployment
    from hubdeploy.errors import HubdeployError
    from hubdeploy.operate import secrets

    opened = open_deployment(path=config, sandbox=sandbox, profile=profile, region=region)
    value = secrets.read(name, aws=opened.aws, names=opened.names)
    if value is None:
        raise HubdeployError(f"{name} is not set", hint=f"hubdeploy secret set {name}")
    sys.stdout.write(value + "\n")


def register(app: typer.Typer) -> None:
    group = help.group(
        app, "secret", help="Secrets of the deployment (kept in SSM).", panel=help.KNOW
    )
    help.add(group, set_, name="set", example="hubdeploy secret set tls/key < key.pem")
    help.add(group, list_, name="list", example="hubdeploy secret list")
    help.add(group, show, example="hubdeploy secret show hub/admin-password")
