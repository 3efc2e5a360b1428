"""How plans and machines are shown, and their ``--json`` form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from hubdeploy.pipeline.change import Action, Change
from hubdeploy.pipeline.runner import Outcome

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from hubdeploy.operate.status import Machine, Status

_SIGNS = {
    Action.CREATE: ("+", "green"),
    Action.UPDATE: ("~", "yellow"),
    Action.REPLACE: ("±", "magenta"),
    Action.DELETE: ("-", "red"),
    Action.KEEP: ("=", "cyan"),
    Action.WAIT: (".", "dim"),
}


def counts(outcome: Outcome) -> dict[str, int]:
    """Changes by kind, waits left out."""
    return {action.value: outcome.count(action) for action in Action if action.mutates}


def summary(outcome: Outcome) -> str:
    """``41 to create, 1 to update``."""
    parts = [f"{number} to {name}" for name, number in counts(outcome).items() if number]
    kept = outcome.count(Action.KEEP)
    if kept:
        parts.append(f"{kept} kept")
    return ", ".join(parts) or "nothing to change"


def show_plan(outcome: Outcome, out: Console) -> None:
    """One line a change, its fields below it, waits left out."""
    from rich.text import Text

    for made in outcome.changes.values():
        for change in made:
            if change.action is Action.WAIT:
                continue
            sign, style = _SIGNS[change.action]
            line = Text(f"{sign} ", style=style)
            line.append(change.resource, style="bold")
            line.append(f"  {change.title}", style="")
            out.print(line, soft_wrap=True)
            for field in change.fields:
                shown = f"{field.old} -> {field.new}" if field.old else field.new
                out.print(Text(f"    {field.name}: {shown}", style="dim"), soft_wrap=True)
            if change.reason:
                out.print(Text(f"    why: {change.reason}", style="dim"), soft_wrap=True)
            if change.disrupts:
                out.print(Text(f"    interrupts: {change.disrupts}", style="yellow"))
    out.print(f"Plan: {summary(outcome)}.")


def change_dict(change: Change) -> dict[str, Any]:
    return {
        "action": change.action.value,
        "resource": change.resource,
        "title": change.title,
        "reason": change.reason,
        "disrupts": change.disrupts,
        "fields": [{"name": f.name, "old": f.old, "new": f.new} for f in change.fields],
    }


def plan_dict(outcome: Outcome) -> dict[str, Any]:
    return {
        "counts": counts(outcome),
        "changes": [
            {"step": step, **change_dict(change)}
            for step, made in outcome.changes.items()
            for change in made
            if change.action is not Action.WAIT
        ],
    }


def phase(machine: Machine) -> str:
    """``waiting (for the workstation)``: what it says of itself while it runs, else EC2's word."""
    state = machine.phase or machine.state if machine.state == "running" else machine.state
    return f"{state} ({machine.detail})" if machine.detail and state != "ready" else state


def machines_table(machines: Iterable[Machine], *, width: int) -> RenderableType:
    """Name, instance, type, zone, address and phase; fewer columns where they do not fit.

    Nothing is cut: the phase is what wraps, and below :data:`ROOMY` columns what can be looked up
    elsewhere (type, zone, address) goes first.
    """
    from rich.table import Table

    titles = ["machine", "instance", "type", "zone", "address", "phase"]
    if width < ROOMY:
        titles = ["machine", "instance", "phase"] if width >= SLIM else ["machine", "phase"]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in titles:
        table.add_column(title, no_wrap=title != "phase", overflow="fold")
    for machine in machines:
        cells = {
            "machine": machine.label,
            "instance": machine.instance_id,
            "type": machine.instance_type,
            "zone": machine.zone[-2:],
            "address": machine.private_ip,
            "phase": phase(machine),
        }
        table.add_row(*(cells[title] for title in titles))
    return table


ROOMY, SLIM = 76, 44
"""Columns that all of a machine's line needs, and its name, id and phase."""


def show_cost(lines: Iterable[str], out: Console, *, rehearsal: bool) -> None:
    """An estimate's lines, and in a rehearsal of what they are an estimate."""
    from hubdeploy.cli.output import folded
    from hubdeploy.operate.cost import REHEARSAL

    for line in (*lines, *((REHEARSAL,) if rehearsal else ())):
        folded(out, line)


def show_status(status: Status, out: Console) -> None:
    """The deployment at a glance."""
    head = f"{status.deployment} in {status.region}"
    hub = f"  {status.url}" if status.url else "  (no hub yet)"
    out.print(f"[bold]{status.deployment}[/] in {status.region}", end="")
    if len(head) + len(hub) > out.width:
        out.print()
    out.print(hub, soft_wrap=True, markup=False)
    out.print(machines_table(status.machines, width=out.width))
    if status.group is not None:
        group = status.group
        out.print(
            f"workers: {group.in_service} in service, {group.desired} wanted, "
            f"{group.minimum} to {group.maximum} allowed"
        )
    if len(status.groups) > 1:
        for each in status.groups:
            kind = {"profiles": ", for profiles", "none": ", retired: empties"}
            out.print(
                f"  {each.instance_type}: {each.in_service} in service, {each.desired} wanted"
                f"{kind.get(each.preference, '')}"
            )
    limits = status.limits
    if limits:
        out.print(
            f"limits: {limits.get('max_nodes')} machines, "
            f"{limits.get('max_cluster_memory')} memory, "
            f"{limits.get('max_concurrent_users')} users, "
            f"{limits.get('max_disk_utilization')} disk, headroom {limits.get('headroom')}"
        )
