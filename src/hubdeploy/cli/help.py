"""The help pages: panels that fold to the terminal's width, made without rich.

Loading rich takes longer than all the rest of ``hubdeploy --help``; a page of text in boxes needs
nothing of it. Commands are registered through :func:`add` and :func:`group`, so that each has this
help, an example and a panel.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import typer
from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from typer._click import Context

LIFE, WATCH, REACH, KNOW = "Deployment", "Health and limits", "Machines", "Settings and rights"
"""Panels of the command list, in this order."""

WIDEST = 100
"""Columns; longer lines are hard to read."""
NARROW = 60
"""Columns below which an explanation goes under its name instead of beside it."""

Row = tuple[str, str]
"""A name and its explanation."""


def add(
    app: typer.Typer,
    function: Callable[..., None],
    *,
    example: str,
    name: str | None = None,
    panel: str | None = None,
) -> None:
    """Register a command; ``example`` is a whole command line."""
    app.command(name, cls=Command, epilog=f"Example: {example}", rich_help_panel=panel)(function)


def group(app: typer.Typer, name: str, *, help: str, panel: str) -> typer.Typer:
    """Register a command that has commands of its own, and return where those go."""
    made = typer.Typer(rich_markup_mode=None)
    app.add_typer(made, cls=Group, name=name, help=help, rich_help_panel=panel)
    return made


class Command(TyperCommand):
    def get_help(self, ctx: Context) -> str:
        return page(self, ctx)


class Group(TyperGroup):
    def get_help(self, ctx: Context) -> str:
        return page(self, ctx)

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            typer.echo(self.get_help(ctx))
            raise typer.Exit(2)
        return super().parse_args(ctx, args)


def page(command: TyperCommand | TyperGroup, ctx: Context) -> str:
    """The whole help of a command, for the terminal that stdout is (or 80 columns)."""
    width = min(shutil.get_terminal_size((80, 24)).columns, WIDEST)
    usage = f"Usage: {ctx.command_path} {' '.join(command.collect_usage_pieces(ctx))}"
    parts = [_folded(usage, width, then=" " * 7)]
    parts += [_folded(text, width) for text in _paragraphs(command.help)]
    paint = _paint if coloured() else _plain
    parts.append("\n".join(_panel(*panel, width, paint) for panel in _panels(command, ctx)))
    parts += [_folded(text, width, then="  ") for text in _paragraphs(command.epilog)]
    return "\n\n".join(parts)


def coloured() -> bool:
    """Whether stdout is for eyes that want colours (see no-color.org)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") in ("dumb", "unknown")
    return sys.stdout.isatty() and not plain


def _panels(command: TyperCommand | TyperGroup, ctx: Context) -> list[tuple[str, list[Row]]]:
    """What goes into which box: arguments, the command's own options, the shared ones, commands."""
    boxes: dict[str, list[Row]] = {"Arguments": [], "Options": []}
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx)
        if record is not None:
            usual = "Arguments" if param.param_type_name == "argument" else "Options"
            boxes.setdefault(getattr(param, "rich_help_panel", None) or usual, []).append(record)
    if isinstance(command, TyperGroup):
        for name, each in command.commands.items():
            title = getattr(each, "rich_help_panel", None) or "Commands"
            said = (_paragraphs(each.help) or [""])[0]
            boxes.setdefault(title, []).append((name, said))
    return [(title, rows) for title, rows in boxes.items() if rows]


def _panel(title: str, rows: Sequence[Row], width: int, paint: Callable[[str, str], str]) -> str:
    inner = width - 4
    column = max(len(name) for name, _ in rows)
    beside = width >= NARROW and column <= inner // 2
    lines: list[tuple[str, str]] = []
    for name, said in rows:
        if beside:
            folded = textwrap.wrap(said, inner - column - 2, break_on_hyphens=False) or [""]
            lines += [(f"{name:{column}}  ", folded[0])]
            lines += [(" " * (column + 2), more) for more in folded[1:]]
        else:
            lines += [(part, "") for part in textwrap.wrap(name, inner, break_on_hyphens=False)]
            lines += [("   ", part) for part in textwrap.wrap(said, inner - 3)]
    top = f"╭─ {title} {'─' * (width - len(title) - 5)}╮"
    body = [
        f"│ {paint(name, 'name')}{said}{' ' * (inner - len(name) - len(said))} │"
        for name, said in lines
    ]
    return "\n".join([top.replace(title, paint(title, "title")), *body, f"╰{'─' * (width - 2)}╯"])


def _plain(text: str, kind: str) -> str:
    del kind
    return text


def _paint(text: str, kind: str) -> str:
    return typer.style(text, bold=True) if kind == "title" else typer.style(text, fg="cyan")


def _paragraphs(text: str | None) -> list[str]:
    """Each as one line."""
    return [" ".join(part.split()) for part in (text or "").split("\n\n") if part.strip()]


def _folded(text: str, width: int, *, then: str = "") -> str:
    return textwrap.fill(text, width, subsequent_indent=then, break_on_hyphens=False)
