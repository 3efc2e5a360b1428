"""``hubdeploy down``: remove the deployment; users' files stay unless their name is typed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hubdeploy.cli import help, options
from hubdeploy.errors import ConfigError, HubdeployError

if TYPE_CHECKING:
    from hubdeploy.pipeline.runner import Outcome

EXAMPLE = "hubdeploy down --sandbox --yes"


def down(
    config: options.Config = options.DEFAULT,
    sandbox: options.Sandbox = False,
    yes: options.Yes = False,
    delete_files: Annotated[
        str,
        typer.Option(
            "--delete-files",
            metavar="NAME",
            help="Also delete the users' files of this deployment, for ever.",
        ),
    ] = "",
    profile: options.Profile = None,
    region: options.Region = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Remove everything that `up` made and what AWS made on its behalf.

    The users' files stay: the next `up` finds their file system by itself.
    """
    from hubdeploy.aws.lock import held
    from hubdeploy.cli.deployment import open_deployment
    from hubdeploy.cli.output import confirm, console, emit
    from hubdeploy.cli.progress import Progress
    from hubdeploy.cli.views import plan_dict, show_plan, summary
    from hubdeploy.pipeline import runner
    from hubdeploy.steps import all_steps, leftovers

    began = time.monotonic()
    if sandbox and (name := _crashed(config)):
        from hubdeploy.sandbox import ending

        swept = ending.sweep(name, delete_files=delete_files == name)
        _say_swept(swept, as_json=as_json)
        return
    opened = open_deployment(path=config, sandbox=sandbox, profile=profile, region=region)
    if delete_files and delete_files != opened.config.name:
        raise ConfigError(
            f"--delete-files {delete_files}: this deployment is called {opened.config.name}",
            hint="type its exact name to delete its users' files",
        )
    planned = runner.plan_down(all_steps(opened.context(planning=True, delete_files=delete_files)))
    if planned.mutations:
        if not (quiet or as_json):
            show_plan(planned, console(stderr=True))
        where = "the sandbox" if opened.sandbox else f"account {opened.names.account}"
        if not yes and not confirm(f"{summary(planned)} in {where}"):
            raise HubdeployError("nothing was removed", hint="answer y to go on")
        ctx = opened.context(delete_files=delete_files)
        steps = all_steps(ctx)
        with (
            held(opened.aws, opened.names, purpose="down", lasts=opened.config.waits.together),
            Progress(steps, quiet=quiet, verbose=verbose, backwards=True) as progress,
        ):
            ctx.say = progress.say
            done = runner.down(steps, listener=progress.listen)
    else:
        done = planned
    left = leftovers(opened.context(delete_files=delete_files))
    if opened.sandbox is not None and not left:
        from hubdeploy.sandbox import ending

        ending.stop(opened.config.name, keep_files=not delete_files)
    if as_json:
        emit(
            "down",
            {"seconds": round(time.monotonic() - began, 1), **plan_dict(done), "left": left},
        )
    else:
        _result(done, name=opened.config.name, seconds=time.monotonic() - began)
    if left:
        raise HubdeployError(
            f"{len(left)} left: {', '.join(left)}", hint="run `hubdeploy down` again in a minute"
        )


def _crashed(config: Path) -> str:
    """The sandbox's name if no server of it answers: what a crash left is found by labels."""
    from hubdeploy.config.load import load
    from hubdeploy.sandbox import known

    name = load(config).name if config.exists() else "rehearsal"
    return name if known.find(name) is None else ""


def _say_swept(swept: list[str], *, as_json: bool) -> None:
    from hubdeploy.cli.output import console, emit

    if as_json:
        from hubdeploy.cli.views import plan_dict
        from hubdeploy.pipeline.runner import Outcome

        emit("down", {"seconds": 0, **plan_dict(Outcome()), "left": [], "swept": swept})
        return
    out = console()
    for item in swept:
        out.print(f"- {item}", markup=False)
    out.print("No sandbox is running." + (f" Removed {len(swept)} leftovers." if swept else ""))


def _result(done: Outcome, *, name: str, seconds: float) -> None:
    from hubdeploy.cli.output import console
    from hubdeploy.pipeline.change import Action

    out = console()
    kept = [c for made in done.changes.values() for c in made if c.action is Action.KEEP]
    out.print(
        f"{name} is down ({len(done.mutations)} removed, {seconds:.0f} s)."
        if done.mutations
        else f"{name}: nothing to remove."
    )
    for change in kept:
        out.print(f"Kept: {change.title}", markup=False, soft_wrap=True)
        if change.reason:
            out.print(f"  {change.reason}", markup=False, soft_wrap=True)


def register(app: typer.Typer) -> None:
    help.add(app, down, panel=help.LIFE, example=EXAMPLE)
