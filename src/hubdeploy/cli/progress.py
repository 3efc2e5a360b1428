"""Shows a running pipeline: one live tree on a terminal, plain lines anywhere else."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from hubdeploy.cli.output import console
from hubdeploy.pipeline.events import Event, StepState
from hubdeploy.pipeline.step import Step, current_step

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

REPEAT = 15.0
"""Seconds after which a plain log says again what a step still waits for."""

_MARKS = {
    StepState.PENDING: ("·", "dim"),
    StepState.RUNNING: ("…", "cyan"),
    StepState.DONE: ("✓", "green"),
    StepState.FAILED: ("✗", "bold red"),
    StepState.BLOCKED: ("-", "dim"),
}


@dataclass
class _Row:
    title: str
    needs: tuple[str, ...]
    state: StepState = StepState.PENDING
    detail: str = ""
    started: float = 0.0
    ended: float = 0.0
    said: float = 0.0
    changes: int = 0

    @property
    def seconds(self) -> float:
        return (self.ended or time.monotonic()) - self.started if self.started else 0.0


class Progress:
    """A context manager; give its :meth:`listen` to the runner and :meth:`say` to the context.

    ``quiet`` shows failures only. Everything goes to stderr, so that stdout holds the result.
    """

    def __init__(
        self, steps: Sequence[tuple[str, str, tuple[str, ...]]], *, quiet: bool, verbose: bool
    ) -> None:
        self._rows = {name: _Row(title, needs) for name, title, needs in steps}
        self._out = console(stderr=True)
        self._quiet, self._verbose = quiet, verbose
        self._live: Live | None = None
        self._began = time.monotonic()
        self._lock = threading.RLock()

    @classmethod
    def of(cls, steps: Sequence[Step[Any]], *, quiet: bool, verbose: bool) -> Progress:
        return cls([(s.name, s.title, s.needs) for s in steps], quiet=quiet, verbose=verbose)

    def __enter__(self) -> Progress:
        if self._out.is_terminal and not self._quiet:
            from rich.live import Live

            self._live = Live(
                get_renderable=self._table,
                console=self._out,
                refresh_per_second=8,
                transient=False,
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """What the step of the current thread waits for."""
        name = current_step.get()
        if name in self._rows:
            self.listen(Event(step=name, state=StepState.RUNNING, detail=text))

    def listen(self, event: Event) -> None:
        with self._lock:
            row = self._rows.get(event.step)
            if row is None:
                return
            now = time.monotonic()
            changed = row.state is not event.state
            if event.state is StepState.RUNNING and not row.started:
                row.started = now
            if event.state in (StepState.DONE, StepState.FAILED):
                row.ended = now
            row.changes += event.change is not None and event.finished
            row.state = event.state
            fresh = event.detail != row.detail
            row.detail = event.detail
            if self._live is None:
                self._line(row, event, changed=changed, fresh=fresh)

    def _line(self, row: _Row, event: Event, *, changed: bool, fresh: bool) -> None:
        now = time.monotonic()
        at = f"[{now - self._began:6.1f}s]"
        if event.state is StepState.FAILED:
            self._print(f"{at} FAILED {row.title}: {event.detail}")
        elif self._quiet:
            return
        elif event.state is StepState.DONE and (row.changes or self._verbose):
            self._print(f"{at} done   {row.title} ({row.seconds:.1f} s)")
        elif event.state is StepState.BLOCKED:
            self._print(f"{at} left   {row.title}")
        elif event.change is not None and self._verbose:
            self._print(f"{at} {'did' if event.finished else 'do '}    {event.detail}")
        elif (
            event.change is None
            and event.detail.startswith("waiting")
            and (fresh or now - row.said > REPEAT)
        ):
            row.said = now
            self._print(f"{at} ...    {row.title}: {event.detail}")
        del changed

    def _print(self, text: str) -> None:
        self._out.print(text, markup=False, soft_wrap=True)

    def _table(self) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        with self._lock:
            table = Table.grid(padding=(0, 1))
            table.add_column(width=1)
            table.add_column(no_wrap=True, max_width=30)
            table.add_column(justify="right", width=6)
            table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
            for row in self._rows.values():
                mark, style = _MARKS[row.state]
                detail = row.detail
                if row.state is StepState.PENDING:
                    left = [
                        self._rows[n].title
                        for n in row.needs
                        if n in self._rows and self._rows[n].state is not StepState.DONE
                    ]
                    detail = f"after {', '.join(left)}" if left else ""
                elif row.state is StepState.DONE:
                    detail = f"{row.changes} changes" if row.changes > 1 else ""
                seconds = f"{row.seconds:.0f} s" if row.started else ""
                table.add_row(
                    Text(mark, style=style),
                    Text(row.title, style="dim" if row.state is StepState.PENDING else ""),
                    Text(seconds, style="dim"),
                    Text(detail, style="red" if row.state is StepState.FAILED else "dim"),
                )
            return table
