"""The aims of the simulator's report hold for other draws of people as well."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from hubdeploy.hub.fleet.model import SetDesired
from hubdeploy.hub.simulate.controllers import Fleet
from hubdeploy.hub.simulate.report import (
    clairvoyant_hours,
    compare,
    percentile,
    run,
    table,
)
from hubdeploy.hub.simulate.traffic import GIB, HOUR, Scenario, Visit, day, lecture
from hubdeploy.hub.simulate.world import World


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_class_waits_for_one_boot_and_costs_at_most_a_quarter_over_the_bound(seed: int) -> None:
    comparison = compare(lecture(seed=seed))
    assert comparison.ratio <= 1.25
    assert comparison.fleet.p95 <= comparison.tracking.p95
    assert comparison.fleet.longest < 240
    assert comparison.fleet.lost == 0
    assert comparison.fleet.still_waiting == 0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_day_costs_at_most_a_quarter_over_the_bound_and_nobody_waits(seed: int) -> None:
    comparison = compare(day(seed=seed))
    assert comparison.ratio <= 1.25
    assert comparison.fleet.p95 <= comparison.tracking.p95
    assert comparison.fleet.lost == 0
    assert "clairvoyant bound" in table(comparison)


def test_a_class_that_comes_at_once_leads_to_few_changes_of_capacity() -> None:
    scenario = lecture()
    fleet = Fleet(scenario)
    World(scenario, fleet).run()
    ups = [action for _, action in fleet.actions if isinstance(action, SetDesired)]
    # people come for five minutes; each change gathers what came in fifteen seconds
    assert len(ups) <= 20
    together = replace(scenario, visits=tuple(replace(v, at=HOUR) for v in scenario.visits))
    fleet = Fleet(together)
    World(together, fleet).run()
    ups = [action for _, action in fleet.actions if isinstance(action, SetDesired)]
    assert len([a for a in ups if a.desired > a.before]) == 1


def test_the_bound_is_what_a_clairvoyant_would_need() -> None:
    # seven of 2 GiB fill a machine of 15.4 GiB; the eighth needs another
    visits = tuple(Visit(0.0, HOUR, memory=2 * GIB) for _ in range(8))
    full = Scenario(
        name="x",
        title="x",
        visits=visits,
        until=2 * HOUR,
        limits=replace(lecture().limits, min_nodes=0),
    )
    assert clairvoyant_hours(full) == pytest.approx(2.0)
    assert clairvoyant_hours(replace(full, visits=visits[:7])) == pytest.approx(1.0)
    with_one = replace(full, limits=replace(full.limits, min_nodes=1))
    assert clairvoyant_hours(with_one) == pytest.approx(3.0)


def test_no_run_beats_the_bound() -> None:
    for scenario in (lecture(people=40), day(people=100)):
        figures, _ = run(scenario, Fleet(scenario), "x")
        assert figures.machine_hours >= clairvoyant_hours(scenario)


def test_percentiles_are_values_that_occurred() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([3.0, 1.0, 2.0], 1.0) == 3.0
    assert percentile([], 0.95) == 0.0


def test_the_command_prints_figures_for_people_and_for_programs() -> None:
    command = [sys.executable, "-m", "hubdeploy.hub.simulate", "class"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "a class of 120" in text
    raw = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout
    assert json.loads(raw)["class"]["ratio"] <= 1.25
    wrong = subprocess.run([*command, "nonsense"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "known are class, day, two-types, week" in wrong.stderr
