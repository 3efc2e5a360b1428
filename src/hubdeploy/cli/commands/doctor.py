"""``hubdeploy doctor``: can it succeed here, is it healthy, what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hubdeploy.cli import completing, help, options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hubdeploy.cli.deployment import Opened
    from hubdeploy.doctor.check import Report
    from hubdeploy.operate.status import Status

EXAMPLE = "hubdeploy doctor --fix"


def doctor(
    config: options.Config = options.DEFAULT,
    sandbox: options.Sandbox = False,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended safely.")] = False,
    spawn: Annotated[
        bool, typer.Option("--spawn", help="Also start a server and run a notebook cell.")
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", help="Only checks whose name begins so.", autocompletion=completing.checks
        ),
    ] = None,
    skip: Annotated[
        list[str] | None,
        typer.Option(
            "--skip", help="Not those whose name begins so.", autocompletion=completing.checks
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings exit with 2.")] = False,
    list_only: Annotated[bool, typer.Option("--list", help="Only name the checks.")] = False,
    via: options.Via = None,
    profile: options.Profile = None,
    region: options.Region = None,
    as_json: options.Json = False,
) -> None:
    """Check whether `up` can succeed, or, once it has, whether everything is healthy.

    Exit code 0: healthy; 1: errors; 2: warnings, with --strict.
    """
    from hubdeploy.cli.channels import channel
    from hubdeploy.cli.deployment import open_deployment
    from hubdeploy.cli.output import console, emit, folded
    from hubdeploy.doctor import all_checks, for_stage
    from hubdeploy.doctor.check import chosen, run
    from hubdeploy.doctor.context import DoctorContext
    from hubdeploy.errors import HubdeployError
    from hubdeploy.pipeline.step import Severity

    out = console()
    checks = chosen(all_checks(), only=only or (), skip=skip or ())
    if list_only:
        for check in checks:
            folded(out, f"{check.name:24} {check.title}", then=" " * 4)
        return
    opened = open_deployment(
        path=config, sandbox=sandbox, profile=profile, region=region, anonymous=True
    )
    offline = opened.refused is not None
    now = _standing(opened)
    checks = [
        check
        for check in for_stage(checks, standing=now is not None, offline=offline)
        if spawn or "spawn" in (only or ()) or check.name != "spawn"
    ]
    if not checks:
        raise HubdeployError(
            f"nothing to check: {opened.config.name} does not stand",
            hint="hubdeploy up, or leave --only and --skip out",
        )
    ctx = DoctorContext(
        config=opened.config,
        names=opened.names,
        aws=opened.aws,
        channel=channel(opened, now.machines if now else [], via=via),
        sandbox=opened.sandbox is not None,
        offline=offline,
    )
    reports = run(
        [check(ctx) for check in checks],
        fix=fix,
        done=id if as_json else lambda report: _show(report, out=out, fix=fix),
    )
    levels = [report.severity for report in reports]
    errors, warnings = levels.count(Severity.ERROR), levels.count(Severity.WARNING)
    if as_json:
        emit("doctor", {"healthy": not errors, **_dict(reports)})
    else:
        state = "with a deployment" if now else "before `up`"
        state = "without AWS, which needs credentials" if offline else state
        counts = f"{_count(errors, 'error')}, {_count(warnings, 'warning')}"
        out.print(f"{_count(len(reports), 'check')} {state}: {counts}.")
    code = 1 if errors else 2 if warnings and strict else 0
    if any(report.late for report in reports):
        _leave(code)
    if code:
        raise typer.Exit(code)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _standing(opened: Opened) -> Status | None:
    """What stands; None where nothing does, or where it cannot be read: checks then say why."""
    from hubdeploy.errors import AwsError
    from hubdeploy.operate.status import read

    if opened.refused is not None:
        return None
    try:
        found = read(aws=opened.aws, names=opened.names)
    except AwsError:
        return None
    return found if found.exists else None


def _leave(code: int) -> None:
    """End now: Python would wait for what a check that was left behind is still waiting for."""
    import logging
    import os
    import sys

    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _show(report: Report, *, out: object, fix: bool) -> None:
    from rich.console import Console
    from rich.text import Text

    from hubdeploy.cli.output import folded
    from hubdeploy.pipeline.step import Severity

    assert isinstance(out, Console)
    marks = {
        Severity.OK: ("ok  ", "green"),
        Severity.WARNING: ("warn", "yellow"),
        Severity.ERROR: ("FAIL", "bold red"),
    }
    mark, style = marks[report.severity]
    line = Text(mark, style=style)
    line.append(f"  {report.name:22}", style="dim")
    beside = f"  {report.title}"
    if len(line) + len(beside) <= out.width:
        line.append(beside)
        out.print(line, soft_wrap=True)
    else:
        line.rstrip()
        out.print(line, soft_wrap=True)
        folded(out, f"      {report.title}", then="")
    for finding in report.findings:
        folded(out, f"      {finding.message}")
        if finding.hint:
            out.print(Text(f"      -> {finding.hint}", style="dim"), soft_wrap=True)
    if report.findings and report.repairable and not fix:
        out.print(Text("      -> --fix mends this", style="dim"))
    if report.repaired:
        out.print(Text(f"      fixed: {report.repaired}", style="cyan"), soft_wrap=True)


def _dict(reports: Sequence[Report]) -> dict[str, object]:
    return {
        "checks": [
            {
                "name": report.name,
                "title": report.title,
                "severity": report.severity.value,
                "seconds": round(report.seconds, 3),
                "repaired": report.repaired,
                "findings": [
                    {
                        "severity": f.severity.value,
                        "subject": f.subject,
                        "message": f.message,
                        "hint": f.hint,
                    }
                    for f in report.findings
                ],
            }
            for report in reports
        ]
    }


def register(app: typer.Typer) -> None:
    help.add(app, doctor, panel=help.WATCH, example=EXAMPLE)
