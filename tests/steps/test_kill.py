"""``up`` and ``down`` may die at any call; the next run goes on, and nothing is there twice.

The process really dies (``os._exit``) when the answer to a mutating call has come, with its lock
held and whatever other calls were in flight; another one then runs to the end. That is done for
every mutating call of an undisturbed run in turn, and each time all that is in the account is
compared with what the undisturbed run leaves.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import pytest

from tests.steps import account
from tests.steps.killing import DIED, FINISHED, FRESH, Killer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
AT_A_TIME = 2
PARTS = 4
"""Each direction is shared out over as many tests, which run beside each other."""
LOCK_ALONE = 2
"""Mutating calls of a run that has nothing to do: it takes the lock and gives it back."""


class Undisturbed:
    """What a run that nobody kills does and leaves, by direction."""

    def __init__(self, killer: Killer) -> None:
        self._killer = killer

    @cached_property
    def up(self) -> dict[str, Any]:
        return self._killer.start(FRESH, ("up", 0), ("up", 0)).result()

    @cached_property
    def down(self) -> dict[str, Any]:
        return self._killer.start(FINISHED, ("down", 0), ("down", 0)).result()


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    process = Killer()
    yield process
    process.close()


@pytest.fixture(scope="module")
def undisturbed(killer: Killer) -> Undisturbed:
    return Undisturbed(killer)


def killed_everywhere(
    killer: Killer, direction: str, start: str, whole: dict[str, Any], part: int
) -> int:
    """Kill after every mutating call of this part, run again, compare; how many deaths."""

    def kill(nth: int) -> None:
        ran = killer.start(start, (direction, nth), (direction, 0)).result()
        assert ran["codes"] == [DIED, 0], f"{direction} killed after call {nth}"
        left = account.differences(ran["state"], whole["state"])
        assert left == [], f"{direction} killed after call {nth}"

    calls = range(1 + part, whole["calls"][0] + 1, PARTS)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        list(pool.map(kill, calls))
    return len(calls)


def test_a_run_that_follows_a_whole_one_changes_nothing(undisturbed: Undisturbed) -> None:
    for run in (undisturbed.up, undisturbed.down):
        assert run["codes"] == [0, 0]
        assert run["calls"][0] > 60
        assert run["calls"][1] == LOCK_ALONE
    assert len(undisturbed.down["state"]["FileSystems"]) == 1
    assert "Instances" not in undisturbed.down["state"]


@pytest.mark.parametrize("part", range(PARTS))
def test_up_killed_after_each_call_ends_as_if_it_had_not_been(
    killer: Killer, undisturbed: Undisturbed, part: int
) -> None:
    assert killed_everywhere(killer, "up", FRESH, undisturbed.up, part) > 20


@pytest.mark.parametrize("part", range(PARTS))
def test_down_killed_after_each_call_leaves_what_one_that_was_not_leaves(
    killer: Killer, undisturbed: Undisturbed, part: int
) -> None:
    assert killed_everywhere(killer, "down", FINISHED, undisturbed.down, part) > 15


def test_up_and_down_killed_in_turn_still_end_well(
    killer: Killer, undisturbed: Undisturbed
) -> None:
    turns = [run for nth in (20, 40, 60) for run in (("up", nth), ("down", nth // 2))]
    ran = killer.start(FRESH, *turns, ("up", 0)).result()
    assert ran["codes"] == [*[DIED] * len(turns), 0]
    assert account.differences(ran["state"], undisturbed.up["state"]) == []
