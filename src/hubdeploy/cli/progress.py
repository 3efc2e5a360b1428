"""Shows a running pipeline: one live tree on a terminal, plain lines anywhere else."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from hubdeploy.cli.output import console
from hubdeploy.cli.tree import Row, lay_out
from hubdeploy.pipeline.events import READING, Event, StepState
from hubdeploy.pipeline.graph import Needs, checked, reverse
from hubdeploy.pipeline.step import Step, current_step

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live

REPEAT = 15.0
"""Seconds after which a plain log says again what a step still waits for."""


class Progress:
    """A context manager; give its :meth:`listen` to the runner and :meth:`say` to the context.

    ``quiet`` shows failures only; ``backwards`` is for ``down``, where each step waits for those
    that need it. Everything goes to stderr (or ``out``), so that stdout holds the result.
    """

    def __init__(
        self,
        steps: Sequence[Step[Any]],
        *,
        quiet: bool = False,
        verbose: bool = False,
        backwards: bool = False,
        out: Console | None = None,
    ) -> None:
        needs: Needs = {step.name: step.needs for step in steps}
        graph = reverse(needs) if backwards else checked(needs)
        self._rows = {
            step.name: Row(step.name, step.title, tuple(n for n in needs if n in graph[step.name]))
            for step in steps
        }
        self._out = out or console(stderr=True)
        self._quiet, self._verbose = quiet, verbose
        self._live: Live | None = None
        self._began = time.monotonic()
        self._lock = threading.RLock()

    def __enter__(self) -> Progress:
        if self._out.is_terminal and not self._quiet:
            from rich.live import Live

            self._live = Live(
                get_renderable=lambda: self,
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
            if event.state is StepState.RUNNING and not row.started:
                row.started = now
            if event.state in (StepState.DONE, StepState.FAILED):
                row.ended = now
            row.changes += event.change is not None and event.finished
            row.state = event.state
            fresh = event.detail != row.detail
            row.detail = event.detail
            if self._live is None:
                self._line(row, event, fresh=fresh)

    def _line(self, row: Row, event: Event, *, fresh: bool) -> None:
        now = time.monotonic()
        at = f"[{now - self._began:6.1f}s]"
        if event.state is StepState.FAILED:
            self._print(f"{at} FAILED {row.title}: {event.detail}")
        elif self._quiet:
            return
        elif event.state is StepState.DONE and (row.changes or self._verbose):
            self._print(f"{at} done   {row.title} ({row.seconds(now):.1f} s)")
        elif event.state is StepState.BLOCKED:
            self._print(f"{at} left   {row.title}")
        elif event.change is not None and self._verbose:
            self._print(f"{at} {'did' if event.finished else 'do '}    {event.detail}")
        elif (
            event.change is None
            and event.detail not in ("", READING)
            and (fresh or now - row.said > REPEAT)
        ):
            row.said = now
            self._print(f"{at} ...    {row.title}: {event.detail}")

    def _print(self, text: str) -> None:
        self._out.print(text, markup=False, soft_wrap=True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The tree as it is now, for a terminal of this size."""
        with self._lock:
            yield from lay_out(
                self._rows,
                width=options.max_width,
                height=console.height - 1,
                now=time.monotonic(),
                ascii_only=options.ascii_only,
            )
