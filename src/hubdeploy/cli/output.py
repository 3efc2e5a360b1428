"""Where output goes: people's text to the terminal, data to stdout, never mixed.

With ``--json`` stdout holds one JSON object and everything else goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from hubdeploy.errors import HubdeployError

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA_VERSION = 1
"""Of every ``--json`` object; grows when a key changes its meaning or goes."""


def console(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal or as COLUMNS says; else 80, so that logs read well."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(
        stderr=stderr,
        highlight=False,
        soft_wrap=False,
        width=None if stream.isatty() or os.environ.get("COLUMNS") else 80,
        emoji=False,
    )


def folded(out: Console, text: str, *, then: str = "  ", style: str = "") -> None:
    """Print prose, broken between words; its further lines begin with ``then``.

    Not for what people copy: a command or an address that is broken is another one.
    """
    from rich.text import Text

    own = text[: len(text) - len(text.lstrip())]
    lines = textwrap.wrap(
        text,
        out.width,
        subsequent_indent=own + then,
        break_long_words=False,
        break_on_hyphens=False,
    )
    for line in lines:
        out.print(Text(line, style=style), soft_wrap=True)


def emit(kind: str, data: dict[str, Any]) -> None:
    """Print ``data`` as the command's JSON object; ``kind`` names its schema."""
    body = {"schema": f"hubdeploy/{kind}/{SCHEMA_VERSION}", **data}
    sys.stdout.write(json.dumps(body, indent=2, default=str) + "\n")


def plain(text: str, *, stderr: bool = False) -> None:
    """One line as it is: no wrapping, no markup; for logs and other programs' output."""
    stream = sys.stderr if stderr else sys.stdout
    stream.write(text + "\n")
    stream.flush()


def confirm(what: str) -> bool:
    """Ask at the terminal whether ``what`` is to be done; without one, refuse: nobody answers."""
    if not sys.stdin.isatty():
        raise HubdeployError(
            f"{what}: this needs a yes, and there is no terminal to ask at",
            hint="--yes answers yes",
            exit_code=2,
        )
    import typer

    try:
        return typer.confirm(f"{what}. Go on?", default=False, err=True)
    except typer.Abort:
        sys.stderr.write("\n")
        raise HubdeployError(
            "interrupted at the question: nothing was done",
            hint="answer y to go on, n to leave it",
            exit_code=130,
        ) from None


def show_error(error: HubdeployError) -> None:
    """One line for each fault, and the hint, on stderr."""
    out = console(stderr=True)
    for line in error.message.splitlines() or ["failed"]:
        out.print(f"[bold red]error:[/] {_plain(line)}", soft_wrap=True)
    if error.hint:
        out.print(f"[dim]hint:[/]  {_plain(error.hint)}", soft_wrap=True)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
