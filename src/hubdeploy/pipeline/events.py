"""What the runner tells whoever watches: the command line's tree, plain lines, a test."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from hubdeploy.pipeline.change import Change

READING = "reading"
"""The detail of a step that has only begun."""


class StepState(StrEnum):
    """Where a step stands within a run."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    BLOCKED = "blocked"
    """Never started, because a step it needs failed or the run was interrupted."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """``step`` came to ``state`` (or still is in it) at ``at`` (monotonic seconds).

    ``detail`` says what a running step does or waits for, or why it failed; ``change`` is set
    when a change begins (``finished`` false) and when it is done (true).
    """

    step: str
    state: StepState
    detail: str = ""
    change: Change | None = None
    finished: bool = False
    at: float = field(default_factory=time.monotonic)


Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The listener of those who do not care."""
    del event
