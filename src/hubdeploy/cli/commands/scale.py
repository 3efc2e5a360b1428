"""``hubdeploy scale``: how far the fleet may grow, at once and for good."""

from __future__ import annotations

from typing import Annotated

import typer

from hubdeploy.cli import help, options

EXAMPLE = "hubdeploy scale --max-nodes 12 --headroom 4"


def scale(
    config: options.Config = options.DEFAULT,
    sandbox: options.Sandbox = False,
    max_nodes: Annotated[
        int | None, typer.Option("--max-nodes", min=1, max=500, help="Most workers.")
    ] = None,
    min_nodes: Annotated[
        int | None, typer.Option("--min-nodes", min=0, max=500, help="Workers that always run.")
    ] = None,
    headroom: Annotated[
        int | None, typer.Option("--headroom", min=0, help="Free places to keep ready.")
    ] = None,
    profile: options.Profile = None,
    region: options.Region = None,
    as_json: options.Json = False,
) -> None:
    """Change the fleet's limits at once, and in the configuration file.

    Without a configuration file here, the next `up` keeps them until its file says otherwise.

    Lowering them never ends a machine with notebooks on it: the fleet ends machines as they
    become empty.
    """
    from dataclasses import asdict, replace
    from functools import partial

    from hubdeploy.aws.types import sizes
    from hubdeploy.cli.deployment import open_deployment, place
    from hubdeploy.cli.output import console, emit
    from hubdeploy.config.edit import updated, write
    from hubdeploy.errors import ConfigError
    from hubdeploy.operate import scale as operate
    from hubdeploy.steps.parameters import limits

    given = {"max_nodes": max_nodes, "min_nodes": min_nodes, "headroom": headroom}
    changes = {f"workers.{name}": value for name, value in given.items() if value is not None}
    if not changes:
        raise ConfigError(
            "nothing to scale was given", hint="for example: hubdeploy scale --max-nodes 12"
        )
    opened = open_deployment(path=config, sandbox=sandbox, profile=profile, region=region)
    before = operate.current(aws=opened.aws, names=opened.names)
    after = operate.wanted(before, **given)
    text, filed, configured = "", dict[str, int](), opened.configured
    if config.exists():
        text, configured = updated(config.read_text(encoding="utf-8"), changes, source=str(config))
        said = asdict(limits(opened.rehearsed(configured)))
        filed = {name: int(said[name]) for name, value in given.items() if value is not None}
    operate.refuse(
        replace(limits(configured), max_nodes=after.max_nodes, min_nodes=after.min_nodes),
        sizes(configured.worker_types, aws=opened.aws),
        place=partial(place, config, text),
    )
    scaled = operate.scale(after, aws=opened.aws, names=opened.names, filed=filed)
    if text:
        write(config, text)
    if as_json:
        emit(
            "scale",
            {
                "before": asdict(scaled.before),
                "after": asdict(scaled.after),
                "running": scaled.running,
                "file": str(config) if text else None,
            },
        )
        return
    out = console()
    for name, old in asdict(scaled.before).items():
        new = getattr(scaled.after, name)
        if old != new:
            out.print(f"{name}: {old} -> {new}")
    if scaled.before == scaled.after:
        out.print("Nothing to change.")
    if scaled.running > scaled.after.max_nodes:
        out.print(
            f"{scaled.running} workers run; those above {scaled.after.max_nodes} end as they empty."
        )


def register(app: typer.Typer) -> None:
    help.add(app, scale, panel=help.WATCH, example=EXAMPLE)
