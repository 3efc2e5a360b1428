"""What a waiting user reads."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from hubdeploy.hub.progress import FIRST_GUESS, Times, Waiting, needed_timeout, span
from hubdeploy.hub.tasks import Sighting, Stage


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_wait_for_a_machine_is_told_with_its_length_and_an_estimate() -> None:
    clock = Clock()
    waiting = Waiting(Times(seen={Stage.MACHINE: [120.0]}), clock, image="course:1")
    waiting.see(Sighting(stage=Stage.MACHINE))
    waiting.tell(reason="All machines are full; another one is started", eta=90.0)
    clock.now += 45
    message = waiting.event()["message"]
    assert message.startswith("Starting a machine (All machines are full")
    assert "45 s so far" in message
    assert "to go" in message


def test_a_refused_attempt_is_told_while_it_is_tried_again() -> None:
    waiting = Waiting(Times(), Clock())
    waiting.see(Sighting(stage=Stage.PULLING))
    waiting.note("The image x could not be pulled. Trying again.")
    assert "could not be pulled. Trying again" in waiting.event()["message"]


@given(st.lists(st.tuples(st.sampled_from(list(Stage)), st.floats(0, 300)), max_size=30))
def test_progress_never_falls_and_never_claims_to_be_done(steps: list[tuple[Stage, float]]) -> None:
    clock = Clock()
    waiting = Waiting(Times(), clock)
    last = 0
    for stage, length in steps:
        waiting.see(Sighting(stage=stage))
        clock.now += length
        percent = waiting.event()["progress"]
        assert last <= percent <= 95
        last = percent


def test_estimates_come_from_past_starts_and_outlive_the_hub(tmp_path: Path) -> None:
    file = tmp_path / "times.json"
    clock = Clock()
    for length in (60.0, 80.0, 500.0):
        waiting = Waiting(Times.load(file), clock)
        waiting.enter(Stage.MACHINE)
        clock.now += length
        waiting.enter(Stage.STARTING)
        clock.now += 2
        waiting.finish()
    assert Times.load(file).usual(Stage.MACHINE) == 80.0
    assert Times.load(file).usual(Stage.STARTING) == 2.0


def test_a_damaged_file_of_times_is_no_failure(tmp_path: Path) -> None:
    file = tmp_path / "times.json"
    file.write_text("[1, 2")
    assert Times.load(file).usual(Stage.MACHINE) == FIRST_GUESS[Stage.MACHINE]
    file.write_text('{"machine": "x"}')
    assert Times.load(file).usual(Stage.MACHINE) == FIRST_GUESS[Stage.MACHINE]


def test_the_start_timeout_grows_with_slow_boots_and_never_falls_below_the_configured() -> None:
    assert needed_timeout(Times(), configured=900) == 900
    slow = Times(seen={Stage.MACHINE: [400.0] * 10})
    assert needed_timeout(slow, configured=900) > 1200
    fast = Times(seen={Stage.MACHINE: [20.0] * 10})
    assert needed_timeout(fast, configured=900) == 900


def test_spans_are_for_people() -> None:
    assert [span(s) for s in (0.2, 45, 61, 3900)] == ["1 s", "45 s", "1 min", "1 h 5 min"]
