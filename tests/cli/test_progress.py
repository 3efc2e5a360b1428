"""What is seen of a run: a tree that fits any terminal, and plain lines where there is none."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from tests.steps.rig import config, context

from hubdeploy.aws.session import Aws
from hubdeploy.cli.progress import Progress
from hubdeploy.cli.tree import OTHER, Row, lay_out
from hubdeploy.pipeline.change import Action, Change
from hubdeploy.pipeline.events import READING, Event, StepState
from hubdeploy.pipeline.step import Step, current_step
from hubdeploy.steps import all_steps

LONG = (
    "waiting for file system fs-0123456789abcdef0 to be available, which the service says it is "
    "not yet; mount targets and access points come after it"
)


def steps() -> list[Step[Any]]:
    return all_steps(context(Aws(region="eu-central-1"), "123456789012", config()))


ROWS = [Row(step.name, step.title, step.needs) for step in steps()]


def terminal(width: int, height: int) -> Console:
    return Console(
        file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None
    )


def plain(text: str) -> str:
    """The words alone: no guides, marks, line ends or terminal control."""
    return " ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[├└─…✓✗·]", " ", text).split())


def drawn(progress: Progress, width: int, height: int) -> list[str]:
    """The lines that a terminal of this size shows."""
    out = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    out.print(progress)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue().splitlines()


def tell(progress: Progress, state: StepState, *names: str, detail: str = "") -> None:
    for name in names:
        progress.listen(Event(step=name, state=state, detail=detail))


@given(
    states=st.lists(st.sampled_from(StepState), min_size=len(ROWS), max_size=len(ROWS)),
    width=st.integers(60, 200),
    height=st.integers(24, 60),
)
def test_whatever_runs_or_failed_is_seen_and_no_line_is_wider_than_the_terminal(
    states: list[StepState], width: int, height: int
) -> None:
    rows = {}
    for row, state in zip(ROWS, states, strict=True):
        begun = state not in (StepState.PENDING, StepState.BLOCKED)
        rows[row.name] = Row(
            row.name, row.title, row.needs, state, LONG if begun else "", started=5.0 * begun
        )
    lines = lay_out(rows, width=width, height=height, now=17.0)
    assert len(lines) <= height
    assert max(line.cell_len for line in lines) <= width
    seen = plain("\n".join(line.plain for line in lines))
    for row in rows.values():
        if row.state in (StepState.RUNNING, StepState.FAILED):
            assert re.search(rf"{re.escape(row.title)} +12 s", seen), row.title


def test_every_step_has_its_place_in_the_tree() -> None:
    assert OTHER not in {row.part for row in ROWS}


def test_a_step_that_runs_says_what_it_waits_for_and_one_that_does_not_yet_after_what() -> None:
    progress = Progress(steps(), out=terminal(80, 50))
    tell(progress, StepState.DONE, "deployment", "network.vpc")
    tell(progress, StepState.RUNNING, "network.subnets", detail="waiting for two zones")
    tree = "\n".join(drawn(progress, 80, 50))
    assert re.search(r"├─ … Subnets +0 s +waiting for two zones\n", tree)
    assert re.search(r"├─ · NAT gateway +after Subnets, Internet gateway\n", tree)
    assert re.search(r"… Network +\d+ s +1/10\n", tree)


def test_a_finished_part_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    del capsys
    progress = Progress(steps(), out=terminal(80, 24))
    network = [row.name for row in ROWS if row.part == "Network"]
    tell(progress, StepState.RUNNING, *network, detail=READING)
    tell(progress, StepState.DONE, *network)
    tree = "\n".join(drawn(progress, 80, 24))
    assert re.search(r"✓ Network +0 s +10/10\n", tree)
    assert "Subnets" not in re.sub(r"after .*", "", tree)


def test_down_says_what_goes_first() -> None:
    progress = Progress(steps(), backwards=True, out=terminal(80, 60))
    tree = "\n".join(drawn(progress, 80, 60))
    assert re.search(r"DNS zone +after .*DNS record", tree)
    assert not re.search(r"DNS record +after .*DNS zone", tree)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_on_a_terminal_the_tree_is_live_and_never_cut(width: int) -> None:
    out = terminal(width, 24)
    with Progress(steps(), out=out) as progress:
        tell(progress, StepState.RUNNING, *(row.name for row in ROWS[:12]), detail=LONG)
    assert isinstance(out.file, io.StringIO)
    last = out.file.getvalue()
    for row in ROWS[:12]:
        assert row.title in last
    assert f"0 of {len(ROWS)} steps" in last
    assert max(len(line) for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", last).split("\n")) <= (
        width + 1  # the carriage return
    )


def test_a_terminal_without_these_characters_gets_others() -> None:
    lines = lay_out({row.name: row for row in ROWS}, width=80, height=60, now=1.0, ascii_only=True)
    assert all(line.plain.isascii() for line in lines)


def test_where_there_is_no_terminal_lines_tell_what_was_done_and_is_waited_for() -> None:
    out = Console(file=io.StringIO(), width=80, color_system=None)
    with Progress(steps(), out=out) as progress:
        tell(progress, StepState.RUNNING, "network.vpc", "wait.leader", detail=READING)
        change = Change(action=Action.CREATE, resource="vpc", title="VPC", apply=lambda: None)
        made = Event(step="network.vpc", state=StepState.RUNNING, change=change, finished=True)
        progress.listen(made)
        tell(progress, StepState.DONE, "network.vpc", "network.subnets")
        token = current_step.set("wait.leader")
        for text in ("waiting for leader i-1", "leader: booting", "leader: booting"):
            progress.say(text)
        current_step.reset(token)
        tell(progress, StepState.FAILED, "wait.leader", detail="told to fail")
        tell(progress, StepState.BLOCKED, "wait.hub")
    assert isinstance(out.file, io.StringIO)
    lines = [re.sub(r"^\[ *[\d.]+s\] +", "", line) for line in out.file.getvalue().splitlines()]
    assert [re.sub(r"[\d.]+ s", "N s", line) for line in lines] == [
        "done   VPC (N s)",
        "...    Leader converged: waiting for leader i-1",
        "...    Leader converged: leader: booting",
        "FAILED Leader converged: told to fail",
        "left   Hub answers",
    ]
