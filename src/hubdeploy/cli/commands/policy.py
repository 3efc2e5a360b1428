"""``hubdeploy policy``: the least rights that the operator needs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hubdeploy.cli import help, options

if TYPE_CHECKING:
    from hubdeploy.config.names import Names

EXAMPLE = "hubdeploy policy --account 111122223333 --out policies"


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
    out: Annotated[
        Path | None,
        typer.Option("--out", help="A folder: write it as managed policies, a file each."),
    ] = None,
    profile: options.Profile = None,
) -> None:
    """Print the IAM policy with the least rights for this deployment's operator.

    As a whole it fits a permission set of IAM Identity Center. A managed policy may hold 6,144
    characters, which is less: --out writes as many as it takes, to be attached all.
    """
    from hubdeploy.aws.session import Aws
    from hubdeploy.config.load import load
    from hubdeploy.config.names import Names
    from hubdeploy.errors import ConfigError
    from hubdeploy.operate.policy import document, documents
    from hubdeploy.sandbox.adapt import ACCOUNT

    loaded = load(config)
    if account is not None and not (account.isdigit() and len(account) == 12):
        raise ConfigError(f"--account {account}: not an account number", hint="twelve digits")
    # the rehearsal's account has a number of its own; it need not be running for this
    number = account or (ACCOUNT if sandbox else Aws(region=loaded.region, profile=profile).account)
    names = Names(deployment=loaded.name, region=loaded.region, account=number)
    bound, files = boundary or loaded.permissions_boundary, not keep_files
    if out is None:
        sys.stdout.write(_text(document(names, boundary=bound, files=files)))
    else:
        _write(documents(names, boundary=bound, files=files), out, names)


def _write(documents: list[dict[str, Any]], out: Path, names: Names) -> None:
    """A file each, and on stdout the commands that make policies of them."""
    from hubdeploy.cli.output import plain
    from hubdeploy.errors import HubdeployError

    for number, document in enumerate(documents, 1):
        name = f"{names.operator_policy}-{number}"
        path = out / f"{name}.json"
        try:
            out.mkdir(parents=True, exist_ok=True)
            path.write_text(_text(document), encoding="utf-8")
        except OSError as error:
            raise HubdeployError(f"cannot write {path}: {error.strerror}") from error
        plain(f"aws iam create-policy --policy-name {name} \\")
        plain(f"  --policy-document file://{path.as_posix()}")
    plain(f"Make these {len(documents)}, and attach each to the operator's role, group or user.")


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"


def register(app: typer.Typer) -> None:
    help.add(app, policy, panel=help.KNOW, example=EXAMPLE)
