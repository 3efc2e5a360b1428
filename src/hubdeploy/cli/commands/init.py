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
    _refuse(name=name, region=region, domain=domain, admin=admin, email=email)
    if sys.stdin.isatty():
        name = name or _ask("name", "Name of the deployment", default="hub")
        region = region or _ask("region", "AWS region", default="eu-central-1")
        domain = domain or _ask("domain", "Domain (empty for none)")
        if domain and not email:
            email = _ask("email", "E-mail address for Let's Encrypt", needed=True)
        if not admin:
            admin = [_ask("admin", "First admin's user name", default="admin")]
    if not name or not region:
        raise ConfigError(
            "without a terminal, --name and --region have to be given",
            hint=f"for example: {EXAMPLE}",
        )
    if domain and not email:
        raise ConfigError(
            "--domain needs --email: Let's Encrypt writes there before a certificate expires"
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


_SETTINGS: dict[str, tuple[str | int, ...]] = {
    "name": ("name",),
    "region": ("region",),
    "domain": ("domain",),
    "admin": ("hub", "admins", 0),
    "email": ("tls", "email"),
}
"""Where an option's value goes in the file."""


def _fault(option: str, value: str) -> str:
    from hubdeploy.config.faults import of_value
    from hubdeploy.config.model import Config

    return of_value(_SETTINGS[option], value, model=Config)


def _refuse(**given: str | list[str] | None) -> None:
    """What options gave is looked at before anything is asked; the first fault is the error."""
    from hubdeploy.errors import ConfigError

    for option, values in given.items():
        for value in [values] if isinstance(values, str) else values or []:
            if fault := _fault(option, value):
                raise ConfigError(f"--{option}: {fault}")


def _ask(option: str, question: str, *, default: str = "", needed: bool = False) -> str:
    """The answer, asked for until it is one; empty only where nothing is needed."""
    from hubdeploy.cli.output import console

    while True:
        answer = typer.prompt(
            question, default=None if needed else default, show_default=bool(default)
        ).strip()
        fault = _fault(option, answer) if answer or needed else ""
        if not fault:
            return str(answer)
        console(stderr=True).print(fault, markup=False, highlight=False)


def register(app: typer.Typer) -> None:
    help.add(app, init, panel=help.LIFE, example=EXAMPLE)
