"""``hubdeploy cookbooks push``: new cookbooks onto the machines, and watch them converge."""

from __future__ import annotations

import typer

from hubdeploy.cli import help, options

STEPS = ("artifacts", "release", "wait.workstation", "converge")


def push(
    config: options.Config = options.DEFAULT,
    sandbox: options.Sandbox = False,
    profile: options.Profile = None,
    region: options.Region = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Package and upload the cookbooks, have them published, and converge every machine.

    The rest of the deployment has to be as configured; `up` brings it there.
    """
    from hubdeploy.aws.lock import held
    from hubdeploy.cli.deployment import open_deployment
    from hubdeploy.cli.output import console
    from hubdeploy.cli.progress import Progress
    from hubdeploy.errors import HubdeployError
    from hubdeploy.pipeline import runner
    from hubdeploy.steps import all_steps

    opened = open_deployment(path=config, sandbox=sandbox, profile=profile, region=region)
    planned = runner.plan(all_steps(opened.context(planning=True)))
    other = [
        change
        for step, made in planned.changes.items()
        for change in made
        if change.action.mutates and step not in STEPS
    ]
    if other:
        raise HubdeployError(
            f"more than the cookbooks differs: {other[0].resource} ({len(other)} changes)",
            hint="`hubdeploy plan` shows it, `hubdeploy up` does it all",
        )
    out = console()
    if not planned.mutations:
        out.print("Nothing to push: the machines have these cookbooks.")
        return
    ctx = opened.context()
    steps = all_steps(ctx)
    with (
        held(opened.aws, opened.names, purpose="cookbooks push"),
        Progress(steps, quiet=quiet, verbose=verbose) as progress,
    ):
        ctx.say = progress.say
        done = runner.up(steps, listener=progress.listen)
    out.print(f"Pushed: {len(done.mutations)} changes, every machine converged.")


def register(app: typer.Typer) -> None:
    group = help.group(
        app, "cookbooks", help="The cookbooks that configure the machines.", panel=help.KNOW
    )
    help.add(group, push, example="hubdeploy cookbooks push")
