"""The runner: parallel, going on around failures, ending well when interrupted."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

from hubdeploy.errors import HubdeployError, Interrupted
from hubdeploy.pipeline import runner
from hubdeploy.pipeline.change import Action, Change, Changes, Unknown, differences
from hubdeploy.pipeline.events import Event, StepState
from hubdeploy.pipeline.step import Context, Step, current_step


class Bare:
    """As much of a context as the runner needs."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()


def change(resource: str, apply: Callable[[], Any], action: Action = Action.CREATE) -> Change:
    return Change(action=action, resource=resource, title=f"make {resource}", apply=apply)


def step(
    ctx: Bare,
    name: str,
    *applies: Callable[[], Any],
    needs: tuple[str, ...] = (),
    results: list[Any] | None = None,
    action: Action = Action.CREATE,
) -> Step[Any]:
    """A step whose changes call ``applies`` and whose results are noted."""

    class Made(Step[None]):
        def observe(self) -> None:
            return None

        def changes(self, observed: None) -> Changes:
            del observed
            for apply in applies:
                result = yield change(name, apply, action)
                if results is not None:
                    results.append(result)

        def destroy(self, observed: None) -> Changes:
            yield from self.changes(observed)

    Made.name, Made.title, Made.needs = name, name.title(), needs
    return Made(cast(Context, ctx))


def fail(message: str, hint: str = "") -> Callable[[], Any]:
    def apply() -> None:
        raise HubdeployError(message, hint=hint)

    return apply


def test_a_plan_applies_nothing_and_answers_with_what_is_not_known_yet() -> None:
    results: list[Any] = []
    outcome = runner.plan([step(Bare(), "vpc", fail("applied"), results=results)])
    assert [c.resource for c in outcome.mutations] == ["vpc"]
    assert results == ["(vpc: known after apply)"]
    assert isinstance(results[0], Unknown)


def test_up_hands_each_result_to_its_step() -> None:
    results: list[Any] = []
    runner.up([step(Bare(), "vpc", lambda: "vpc-1", lambda: "vpc-2", results=results)])
    assert results == ["vpc-1", "vpc-2"]


def test_steps_start_as_soon_as_what_they_need_is_there() -> None:
    ctx, barrier, order = Bare(), threading.Barrier(2, timeout=5), []
    steps = [
        step(ctx, "c", lambda: order.append("c"), needs=("a", "b")),
        # neither ends unless the other runs at the same time
        step(ctx, "a", barrier.wait, lambda: order.append("a")),
        step(ctx, "b", barrier.wait, lambda: order.append("b")),
    ]
    runner.up(steps)
    assert sorted(order[:2]) == ["a", "b"]
    assert order[2] == "c"


def test_down_goes_the_other_way() -> None:
    ctx, order = Bare(), list[str]()
    runner.down(
        [
            step(ctx, "vpc", lambda: order.append("vpc")),
            step(ctx, "subnet", lambda: order.append("subnet"), needs=("vpc",)),
        ]
    )
    assert order == ["subnet", "vpc"]


def test_a_failed_step_blocks_only_those_that_need_it() -> None:
    ctx, made, events = Bare(), list[str](), list[Event]()
    steps = [
        step(ctx, "bad", fail("no room", "make some")),
        step(ctx, "after-bad", lambda: made.append("after-bad"), needs=("bad",)),
        step(ctx, "good", lambda: made.append("good")),
        step(ctx, "after-good", lambda: made.append("after-good"), needs=("good",)),
    ]
    with pytest.raises(runner.PipelineFailed) as failed:
        runner.up(steps, listener=events.append)
    assert made == ["good", "after-good"]
    assert failed.value.message == "bad: no room"
    assert failed.value.hint == "make some"
    assert failed.value.blocked == ["after-bad"]
    last = {event.step: event.state for event in events}
    assert last == {
        "bad": StepState.FAILED,
        "after-bad": StepState.BLOCKED,
        "good": StepState.DONE,
        "after-good": StepState.DONE,
    }


def test_several_failures_are_counted_and_kept() -> None:
    ctx = Bare()
    with pytest.raises(runner.PipelineFailed) as failed:
        runner.up([step(ctx, "a", fail("one")), step(ctx, "b", fail("two"))])
    assert failed.value.message.endswith("(and 1 more)")
    assert {error.message for error in failed.value.failures.values()} == {"one", "two"}


def test_a_fault_of_ours_is_raised_as_it_is_when_the_others_are_done() -> None:
    ctx, made = Bare(), list[str]()

    def broken() -> None:
        raise KeyError("forgotten need")

    with pytest.raises(KeyError, match="forgotten need"):
        runner.up([step(ctx, "a", broken), step(ctx, "b", lambda: made.append("b"))])
    assert made == ["b"]


def test_ctrl_c_lets_the_call_in_flight_finish_and_starts_nothing_more() -> None:
    ctx, made, begun = Bare(), list[str](), threading.Event()

    def slow() -> None:
        begun.set()
        assert ctx.cancelled.wait(10)
        made.append("in flight")

    def press() -> None:
        if begun.wait(10):
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    with pytest.raises(Interrupted) as interrupted:
        runner.up(
            [
                step(ctx, "a", slow, lambda: made.append("next change")),
                step(ctx, "b", lambda: made.append("next step"), needs=("a",)),
            ]
        )
    assert made == ["in flight"]
    assert interrupted.value.exit_code == 130
    assert "same command" in interrupted.value.hint


def test_a_deep_wait_knows_its_step() -> None:
    seen: list[str] = []
    runner.up([step(Bare(), "machine.leader", lambda: seen.append(current_step.get()))])
    assert seen == ["machine.leader"]
    assert current_step.get() == ""


def test_waits_and_what_is_kept_count_as_no_change() -> None:
    ctx = Bare()
    outcome = runner.up(
        [
            step(ctx, "a", lambda: None, action=Action.WAIT),
            step(ctx, "b", lambda: None, action=Action.KEEP),
            step(ctx, "c", lambda: None, action=Action.UPDATE),
        ]
    )
    assert [c.resource for c in outcome.mutations] == ["c"]
    assert outcome.count(Action.WAIT) == 1


def test_differences_are_listed_in_the_order_of_what_is_wanted() -> None:
    found = differences({"a": 1, "b": 2}, {"c": 3, "b": 2, "a": 9})
    assert [(f.name, f.old, f.new) for f in found] == [("c", "", "3"), ("a", "1", "9")]
