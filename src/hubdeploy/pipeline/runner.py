"""Runs a graph of steps: plans them, carries their changes out in parallel, tears them down.

A step starts as soon as those it needs are done. One that fails blocks only those that need it;
the others finish, so that the next run has less to do. An interrupt lets the call in flight
finish (so that nothing is made and lost) and starts nothing more.
"""

from __future__ import annotations

import contextvars
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hubdeploy.errors import HubdeployError, Interrupted
from hubdeploy.pipeline.change import Action, Change, Changes, Unknown
from hubdeploy.pipeline.events import READING, Event, Listener, StepState, ignore
from hubdeploy.pipeline.graph import Needs, checked, reverse
from hubdeploy.pipeline.step import Context, Finding, Step, current_step

__all__ = ["Interrupted", "Outcome", "PipelineFailed", "down", "plan", "plan_down", "up"]

WORKERS = 32
"""Steps at a time; they wait on the network, not on the processor."""

LOOK = 0.2
"""Seconds after which the runner looks whether somebody pressed Ctrl-C."""


class PipelineFailed(HubdeployError):
    """At least one step failed; ``failures`` maps step names to what went wrong."""

    def __init__(self, failures: Mapping[str, HubdeployError], blocked: Sequence[str]) -> None:
        first, error = next(iter(failures.items()))
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        super().__init__(f"{first}: {error.message}{more}", hint=error.hint)
        self.failures = dict(failures)
        self.blocked = list(blocked)


@dataclass(kw_only=True)
class Outcome:
    """What a run did: the changes by step, in the order they were made or listed."""

    changes: dict[str, list[Change]] = field(default_factory=dict)

    @property
    def mutations(self) -> list[Change]:
        """All changes but waits and what is kept on purpose."""
        return [c for made in self.changes.values() for c in made if c.action.mutates]

    def count(self, action: Action) -> int:
        return sum(c.action is action for made in self.changes.values() for c in made)


def plan(steps: Sequence[Step[Any]], *, listener: Listener = ignore) -> Outcome:
    """List what ``up`` would do. Reads only; unknown ids are :class:`Unknown`."""
    return _run(steps, direction=_forwards, apply=_pretend, listener=listener)


def up(steps: Sequence[Step[Any]], *, listener: Listener = ignore) -> Outcome:
    """Carry out all changes. :class:`PipelineFailed` and :class:`Interrupted` leave a state from
    which the next run goes on."""
    return _run(steps, direction=_forwards, apply=_carry_out, listener=listener)


def health(steps: Sequence[Step[Any]]) -> list[Finding]:
    """What every step says of its part's health, in the steps' order. Reads only; the contexts
    have to be planning ones."""
    found: dict[str, list[Finding]] = {}

    def judge(step: Step[Any], seen: Any) -> Changes:
        found[step.name] = step.health(seen)
        yield from ()

    _run(steps, direction=_Direction(checked, judge), apply=_pretend, listener=ignore)
    return [finding for step in steps for finding in found[step.name]]


def plan_down(steps: Sequence[Step[Any]], *, listener: Listener = ignore) -> Outcome:
    """List what ``down`` would remove and keep."""
    return _run(steps, direction=_backwards, apply=_pretend, listener=listener)


def down(steps: Sequence[Step[Any]], *, listener: Listener = ignore) -> Outcome:
    """Remove everything, those first that others do not need any more."""
    return _run(steps, direction=_backwards, apply=_carry_out, listener=listener)


@dataclass(frozen=True)
class _Direction:
    graph: Callable[[Needs], dict[str, frozenset[str]]]
    generate: Callable[[Step[Any], Any], Changes]


_forwards = _Direction(checked, lambda step, seen: step.changes(seen))
_backwards = _Direction(
    lambda needs: reverse(checked(needs)), lambda step, seen: step.destroy(seen)
)


def _pretend(change: Change) -> Any:
    return Unknown(change.resource)


def _carry_out(change: Change) -> Any:
    return change.apply()


def _work(
    step: Step[Any],
    direction: _Direction,
    apply: Callable[[Change], Any],
    listener: Listener,
) -> list[Change]:
    """Observe one step and go through its changes; runs in a thread of its own."""
    current_step.set(step.name)
    listener(Event(step=step.name, state=StepState.RUNNING, detail=READING))
    made: list[Change] = []
    generator = direction.generate(step, step.observe())
    result: Any = None
    while not step.ctx.cancelled.is_set():
        try:
            change = generator.send(result)
        except StopIteration:
            return made
        listener(Event(step=step.name, state=StepState.RUNNING, detail=change.title, change=change))
        result = apply(change)
        made.append(change)
        listener(
            Event(
                step=step.name,
                state=StepState.RUNNING,
                detail=change.title,
                change=change,
                finished=True,
            )
        )
    raise Interrupted


@contextmanager
def _interruptible(contexts: Sequence[Context]) -> Iterator[None]:
    """Turn the first Ctrl-C into a flag that all look at, so that it can hit no line of ours in
    between; a second one, from somebody who will not wait, is Python's own."""

    def first(_signal: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, before)
        for ctx in contexts:
            ctx.cancelled.set()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _run(
    steps: Sequence[Step[Any]],
    *,
    direction: _Direction,
    apply: Callable[[Change], Any],
    listener: Listener,
) -> Outcome:
    by_name = {step.name: step for step in steps}
    waiting = direction.graph({step.name: step.needs for step in steps})
    contexts: list[Context] = list({id(step.ctx): step.ctx for step in steps}.values())
    outcome = Outcome(changes={name: [] for name in by_name})
    failures: dict[str, HubdeployError] = {}
    unexpected: BaseException | None = None
    done: set[str] = set()
    lock = threading.Lock()

    def tell(event: Event) -> None:
        with lock:
            listener(event)

    with (
        _interruptible(contexts),
        ThreadPoolExecutor(WORKERS, thread_name_prefix="step") as pool,
    ):
        running: dict[Future[list[Change]], str] = {}
        halted = False
        while waiting or running:
            interrupted = any(ctx.cancelled.is_set() for ctx in contexts)
            if not interrupted and unexpected is None:
                for name in [n for n, wants in waiting.items() if wants <= done]:
                    del waiting[name]
                    task = contextvars.copy_context().run
                    future = pool.submit(task, _work, by_name[name], direction, apply, tell)
                    running[future] = name
            if not running:
                break
            finished, _ = wait(running, timeout=LOOK, return_when=FIRST_COMPLETED)
            for future in finished:
                name = running.pop(future)
                try:
                    outcome.changes[name] = future.result()
                except Interrupted:
                    halted = True
                except HubdeployError as error:
                    failures[name] = error
                    tell(Event(step=name, state=StepState.FAILED, detail=error.message))
                except BaseException as error:  # noqa: BLE001 - re-raised once the others are done
                    unexpected = unexpected or error
                    tell(Event(step=name, state=StepState.FAILED, detail=repr(error)))
                else:
                    done.add(name)
                    tell(Event(step=name, state=StepState.DONE))
    for name in waiting:
        tell(Event(step=name, state=StepState.BLOCKED))
    if unexpected is not None:
        raise unexpected
    if failures:
        raise PipelineFailed(failures, sorted(waiting))
    if halted or waiting:
        raise Interrupted
    return outcome
