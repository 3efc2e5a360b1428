"""``hubdeploy up``: plan, confirm, carry out, wait for the hub."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from hubdeploy.cli import help, options

if TYPE_CHECKING:
    from rich.console import Console

    from hubdeploy.cli.deployment import Opened
    from hubdeploy.operate.status import Status
    from hubdeploy.pipeline.change import Change

EXAMPLE = "hubdeploy up --sandbox --yes"


def up(
    config: options.Config = options.DEFAULT,
    sandbox: options.Sandbox = False,
    machines: options.Machines = None,
    yes: options.Yes = False,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="With --yes: also what replaces an instance or interrupts users.",
        ),
    ] = False,
    profile: options.Profile = None,
    region: options.Region = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Create or update the deployment, and wait until its hub answers.

    Safe to run again at any time, also after an interrupt: it goes on from where things are.
    """
    from hubdeploy.aws.lock import held
    from hubdeploy.cli.deployment import open_deployment
    from hubdeploy.cli.output import console, emit
    from hubdeploy.cli.progress import Progress
    from hubdeploy.cli.views import plan_dict
    from hubdeploy.operate import status
    from hubdeploy.pipeline import runner
    from hubdeploy.pipeline.change import Action
    from hubdeploy.steps import all_steps

    began = time.monotonic()
    err = console(stderr=True)
    opened = open_deployment(
        path=config,
        sandbox=sandbox,
        profile=profile,
        region=region,
        machines=machines,
        start=True,
        say=err.print if not quiet else str,
    )
    opened.refuse_contradictions()
    planned = runner.plan(all_steps(opened.context(planning=True)))
    # a wait has to be waited for; what is kept is as it is
    todo = any(c.action is not Action.KEEP for made in planned.changes.values() for c in made)
    if todo:
        _agree(opened, planned, yes=yes, replace=replace, quiet=quiet or as_json)
        ctx = opened.context()
        steps = all_steps(ctx)
        with (
            held(opened.aws, opened.names, purpose="up", lasts=opened.config.waits.together),
            Progress(steps, quiet=quiet, verbose=verbose) as progress,
        ):
            ctx.say = progress.say
            done = runner.up(steps, listener=progress.listen)
    else:
        done = planned
    now = status.read(aws=opened.aws, names=opened.names)
    seconds = time.monotonic() - began
    if as_json:
        emit(
            "up",
            {
                "changed": bool(done.mutations),
                "seconds": round(seconds, 1),
                **plan_dict(done),
                "status": now.as_dict(),
            },
        )
        return
    _result(opened, now, console(), changed=bool(done.mutations), seconds=seconds, quiet=quiet)


def _agree(opened: Opened, planned: object, *, yes: bool, replace: bool, quiet: bool) -> None:
    """Show the plan and ask; what ends an instance or interrupts users needs more than --yes."""
    from hubdeploy.cli.output import confirm, console
    from hubdeploy.cli.views import show_plan, summary
    from hubdeploy.errors import HubdeployError
    from hubdeploy.pipeline.change import Action
    from hubdeploy.pipeline.runner import Outcome

    assert isinstance(planned, Outcome)
    grave = [c for c in planned.mutations if c.disrupts or c.action is Action.REPLACE]
    if not quiet:
        show_plan(planned, console(stderr=True))
        _costs(opened, console(stderr=True))
    if not planned.mutations:
        return
    if yes:
        if grave and not replace:
            raise HubdeployError(
                "\n".join(_why_grave(change) for change in grave),
                hint="add --replace to --yes if that is meant, or leave --yes out to be asked",
            )
        return
    where = "the sandbox" if opened.sandbox else f"account {opened.names.account}"
    if not confirm(f"{summary(planned)} in {where}"):
        raise HubdeployError("nothing was changed", hint="answer y to go on")


def _why_grave(change: Change) -> str:
    """``instance.leader: Leader (t3.large) would be replaced (type): the hub is away …``."""
    from hubdeploy.pipeline.change import Action

    why = change.reason or ", ".join(field.name for field in change.fields)
    what = "replaced" if change.action is Action.REPLACE else "changed"
    told = f"{change.resource}: {change.title} would be {what}" + (f" ({why})" if why else "")
    return f"{told}: {change.disrupts}" if change.disrupts else told


def _costs(opened: Opened, out: Console) -> None:
    """What is agreed to: the difference where something stands, else the whole."""
    from hubdeploy.cli.views import show_cost
    from hubdeploy.operate import cost, costchange

    estimate = cost.read(opened.config, aws=opened.aws)
    change = costchange.read(opened.config, estimate, aws=opened.aws, names=opened.names)
    lines = estimate.lines() if change is None else change.lines()
    show_cost(lines, out, rehearsal=opened.sandbox is not None)


def _result(
    opened: Opened, now: Status, out: Console, *, changed: bool, seconds: float, quiet: bool
) -> None:
    from hubdeploy.cli.views import show_status

    if changed:
        out.print(f"Done in {seconds:.0f} s.")
    else:
        out.print(f"Nothing to change: {now.deployment} is as configured ({seconds:.1f} s).")
    if quiet:
        return
    show_status(now, out)
    flag = " --sandbox" if opened.sandbox else ""
    if opened.sandbox is not None:
        for line in opened.sandbox.directions():
            out.print(line, markup=False, soft_wrap=True)
        _sign_in(opened, out)
    out.print("Next:")
    out.print(f"  hubdeploy status{flag}                  machines, users, limits")
    out.print(f"  hubdeploy scale{flag} --max-nodes 12    let it grow further")
    out.print(f"  hubdeploy down{flag}                    remove it; users' files stay")


def _sign_in(opened: Opened, out: Console) -> None:
    """The one admin of a rehearsal: that hub is on loopback, and ends with the sandbox."""
    from hubdeploy.operate import secrets
    from hubdeploy.sandbox.adapt import ADMIN

    password = secrets.read("hub/admin-password", aws=opened.aws, names=opened.names)
    if password:
        out.print(f"Sign in as {ADMIN}, password {password}", markup=False, soft_wrap=True)


def register(app: typer.Typer) -> None:
    help.add(app, up, panel=help.LIFE, example=EXAMPLE)
