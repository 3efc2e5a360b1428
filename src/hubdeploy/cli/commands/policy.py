"""``hubdeploy policy``: the least rights that the operator needs."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from hubdeploy.cli import help, options

EXAMPLE = "hubdeploy policy --account 111122223333 > policy.json"


def policy(
    config: options.Config = options.DEFAULT,
    sandbox: options.Sandbox = False,
    account: Annotated[
        str | None, typer.Option("--account", help="Account number; default: the credentials'.")
    ] = None,
    boundary: Annotated[
        str | None,
        typer.Option("--boundary", help="ARN of the permissions boundary of the machines' roles."),
    ] = None,
    keep_files: Annotated[
        bool, typer.Option("--keep-files", help="Without the right to delete users' files.")
    ] = False,
    profile: options.Profile = None,
) -> None:
    """Print the IAM policy with the least rights for this deployment's operator."""
    from hubdeploy.aws.session import Aws
    from hubdeploy.config.load import load
    from hubdeploy.config.names import Names
    from hubdeploy.errors import ConfigError
    from hubdeploy.operate.policy import document
    from hubdeploy.sandbox.adapt import ACCOUNT

    loaded = load(config)
    if account is not None and not (account.isdigit() and len(account) == 12):
        raise ConfigError(f"--account {account}: not an account number", hint="twelve digits")
    # the rehearsal's account has a number of its own; it need not be running for this
    number = account or (ACCOUNT if sandbox else Aws(region=loaded.region, profile=profile).account)
    names = Names(deployment=loaded.name, region=loaded.region, account=number)
    made = document(names, boundary=boundary or loaded.permissions_boundary, files=not keep_files)
    sys.stdout.write(json.dumps(made, indent=2) + "\n")


def register(app: typer.Typer) -> None:
    help.add(app, policy, panel=help.KNOW, example=EXAMPLE)
