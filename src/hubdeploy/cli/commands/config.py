"""``hubdeploy config check|show|reference``."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from hubdeploy.cli import help, options


def check(config: options.Config = options.DEFAULT, as_json: options.Json = False) -> None:
    """Say whether the file is right, and what is wrong with it line by line."""
    from hubdeploy.cli.output import console, emit
    from hubdeploy.config.load import load

    loaded = load(config)
    if as_json:
        emit("config-check", {"file": str(config), "name": loaded.name, "valid": True})
    else:
        console().print(f"{config} is valid: deployment {loaded.name} in {loaded.region}.")


def show(config: options.Config = options.DEFAULT, as_json: options.Json = False) -> None:
    """Print every setting with its value, defaults included."""
    from hubdeploy.cli.output import console, emit
    from hubdeploy.config.load import load

    values = load(config).model_dump(mode="json")
    if as_json:
        emit("config", {"config": values})
        return
    import tomlkit

    console().print(tomlkit.dumps(_without_none(values)), markup=False, soft_wrap=True)


def reference(
    as_example: Annotated[
        bool, typer.Option("--example", help="A commented file with every setting instead.")
    ] = False,
) -> None:
    """Print the reference of all settings, as Markdown."""
    from hubdeploy.config.reference import example, markdown

    sys.stdout.write(
        example({"name": "demo", "region": "eu-central-1"}) if as_example else markdown()
    )


def _without_none(value: Any) -> Any:
    """TOML has no null: what is unset is left out."""
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_none(v) for v in value]
    return value


def register(app: typer.Typer) -> None:
    group = help.group(
        app, "config", help="Check, show and explain the configuration.", panel=help.KNOW
    )
    help.add(group, check, example="hubdeploy config check")
    help.add(group, show, example="hubdeploy config show --json")
    help.add(group, reference, example="hubdeploy config reference > docs/configuration.md")
