"""``hubdeploy init``: writes a commented configuration, by a short dialogue or from options."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from hubdeploy.cli import help, options

EXAMPLE = "hubdeploy init --name physics --region eu-central-1 --admin ada"


def init(
    config: options.Config = options.DEFAULT,
    name: Annotated[str | None, typer.Option(help="The deployment's name.")] = None,
    region: Annotated[str | None, typer.Option(help="AWS region.")] = None,
    domain: Annotated[
        str | None, typer.Option(help="Domain in Route 53; the hub is notebooks.DOMAIN.")
    ] = None,
    admin: Annotated[
        list[str] | None, typer.Option(help="An admin of the hub; may be given again.")
    ] = None,
    email: Annotated[str | None, typer.Option(help="For Let's Encrypt's notices.")] = None,
    max_nodes: Annotated[int | None, typer.Option(min=1, max=500, help="Most workers.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write hubdeploy.toml, every setting in it with its explanation.

    Asks for what no option gave when there is a terminal; without one, --name and --region are
    needed.
    """
    from hubdeploy.cli.output import console
    from hubdeploy.config.edit import write
    from hubdeploy.config.load import parse
    from hubdeploy.config.reference import example
    from hubdeploy.errors import ConfigError

    if config.exists() and not force:
        raise ConfigError(f"{config} exists", hint="--force overwrites it")
    if sys.stdin.isatty():
        name = name or typer.prompt("Name of the deployment", default="hub")
        region = region or typer.prompt("AWS region", default="eu-central-1")
        domain = domain or typer.prompt("Domain (empty for none)", default="", show_default=False)
        if domain and not email:
            email = typer.prompt("E-mail address for Let's Encrypt")
        if not admin:
            admin = [typer.prompt("First admin's user name", default="admin")]
    if not name or not region:
        raise ConfigError(
            "without a terminal, --name and --region have to be given",
            hint=f"for example: {EXAMPLE}",
        )
    values: dict[str, Any] = {"name": name, "region": region}
    if domain:
        values["domain"] = domain
    if admin:
        values["hub"] = {"admins": admin}
    if email:
        values["tls"] = {"email": email}
    if max_nodes:
        values["workers"] = {"max_nodes": max_nodes}
    text = example(values)
    parse(text, source=str(config))
    write(config, text)
    out = console()
    out.print(f"Wrote {config}.")
    out.print("Next:\n  hubdeploy up --sandbox    rehearse it on this machine")
    out.print("  hubdeploy plan            what it would make in your account")


def register(app: typer.Typer) -> None:
    help.add(app, init, panel=help.LIFE, example=EXAMPLE)
