"""``hubdeploy plan``: what ``up`` would do, without doing it."""

from __future__ import annotations

from typing import Annotated

import typer

from hubdeploy.cli import help, options
from hubdeploy.errors import HubdeployError

EXAMPLE = "hubdeploy plan --detailed-exitcode"


def plan(
    config: options.Config = options.DEFAULT,
    sandbox: options.Sandbox = False,
    detailed_exitcode: Annotated[
        bool,
        typer.Option("--detailed-exitcode", help="Exit with 0 nothing, 2 changes, 1 error."),
    ] = False,
    machines: options.Machines = None,
    profile: options.Profile = None,
    region: options.Region = None,
    as_json: options.Json = False,
) -> None:
    """Show what `up` would create, change or replace; also finds what was changed by hand."""
    from dataclasses import asdict

    from hubdeploy.cli.deployment import open_deployment
    from hubdeploy.cli.output import console, emit
    from hubdeploy.cli.views import plan_dict, show_cost, show_plan
    from hubdeploy.operate import cost, costchange
    from hubdeploy.pipeline import runner
    from hubdeploy.steps import all_steps

    try:
        opened = open_deployment(
            path=config,
            sandbox=sandbox,
            profile=profile,
            region=region,
            machines=machines,
            start=True,
            say=console(stderr=True).print,
        )
        opened.refuse_contradictions()
    except HubdeployError as error:
        if detailed_exitcode:
            error.exit_code = 1  # here 2 means that there are changes
        raise
    outcome = runner.plan(all_steps(opened.context(planning=True)))
    estimate = cost.read(opened.config, aws=opened.aws)
    change = costchange.read(opened.config, estimate, aws=opened.aws, names=opened.names)
    if as_json:
        emit(
            "plan",
            {
                **plan_dict(outcome),
                "cost": asdict(estimate),
                "cost_change": asdict(change) if change else None,
            },
        )
    else:
        out = console()
        show_plan(outcome, out)
        lines = (*estimate.lines(), *(change.lines() if change else ()))
        show_cost(lines, out, rehearsal=opened.sandbox is not None)
    if detailed_exitcode and outcome.mutations:
        raise typer.Exit(2)


def register(app: typer.Typer) -> None:
    help.add(app, plan, panel=help.LIFE, example=EXAMPLE)
