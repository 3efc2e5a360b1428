"""One scenario under both, and the bound; as figures and as a table."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass

from hubdeploy.hub.simulate.controllers import Fleet, SpreadAndTrack
from hubdeploy.hub.simulate.traffic import HOUR, Scenario
from hubdeploy.hub.simulate.world import Controller, World


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One run. Waits are seconds from asking for a server until it runs."""

    name: str
    servers: int
    p50: float
    p95: float
    p99: float
    longest: float
    machine_hours: float
    most_machines: int
    capacity_changes: int
    lost: int
    still_waiting: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """``bound_hours``: the clairvoyant's machine-hours; ``ratio``: hubdeploy's over that."""

    scenario: str
    title: str
    bound_hours: float
    fleet: Figures
    tracking: Figures

    @property
    def ratio(self) -> float:
        return self.fleet.machine_hours / self.bound_hours

    @property
    def tracking_ratio(self) -> float:
        return self.tracking.machine_hours / self.bound_hours

    def as_json(self) -> dict[str, object]:
        return {**asdict(self), "ratio": self.ratio, "tracking_ratio": self.tracking_ratio}


def clairvoyant_hours(scenario: Scenario) -> float:
    """Machine-hours that nobody can do with less of, if nobody is to wait.

    At every moment at least (memory in use) / (what a machine can hold) machines have to be there,
    and as much for CPU, rounded up, and never fewer than ``min_nodes``. What a machine can hold is
    the largest multiple of the sizes' greatest common divisor (15.4 GiB hold 14 GiB of servers of
    2 and 4 GiB). It knows the future, boots in no time and moves running servers between machines
    for nothing, so nothing real reaches it.
    """
    memory_unit = math.gcd(*(visit.memory for visit in scenario.visits)) or 1
    cpu_unit = math.gcd(*(visit.cpu for visit in scenario.visits)) or 1
    holds_memory = scenario.machine_memory // memory_unit * memory_unit
    holds_cpu = scenario.machine_cpu // cpu_unit * cpu_unit
    changes: list[tuple[float, int, int]] = []
    for visit in scenario.visits:
        changes.append((visit.at, visit.memory, visit.cpu))
        changes.append((visit.at + visit.stay, -visit.memory, -visit.cpu))
    changes.sort()
    memory = cpu = 0
    now = seconds = 0.0
    for at, more_memory, more_cpu in changes:
        at = min(at, scenario.until)
        needed = max(
            scenario.limits.min_nodes,
            math.ceil(memory / holds_memory),
            math.ceil(cpu / holds_cpu),
        )
        seconds += needed * (at - now)
        now, memory, cpu = at, memory + more_memory, cpu + more_cpu
    seconds += scenario.limits.min_nodes * (scenario.until - now)
    return seconds / HOUR


def percentile(values: list[float], share: float) -> float:
    """The value that *share* (0 to 1) of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def run(scenario: Scenario, controller: Controller, name: str) -> tuple[Figures, World]:
    started = time.perf_counter()
    world = World(scenario, controller)
    world.run()
    waits = world.waits
    return (
        Figures(
            name=name,
            servers=len(waits),
            p50=percentile(waits, 0.5),
            p95=percentile(waits, 0.95),
            p99=percentile(waits, 0.99),
            longest=max(waits, default=0.0),
            machine_hours=world.machine_seconds / HOUR,
            most_machines=world.most_machines,
            capacity_changes=world.capacity_changes,
            lost=world.lost,
            still_waiting=world.given_up,
            seconds=time.perf_counter() - started,
        ),
        world,
    )


def compare(scenario: Scenario) -> Comparison:
    fleet, _ = run(scenario, Fleet(scenario), "hubdeploy")
    tracking, _ = run(scenario, SpreadAndTrack(scenario), "spread + CPU 40 %")
    return Comparison(
        scenario=scenario.name,
        title=scenario.title,
        bound_hours=clairvoyant_hours(scenario),
        fleet=fleet,
        tracking=tracking,
    )


COLUMNS = (
    f"{'':<20}{'waits p50':>10}{'p95':>8}{'p99':>8}{'most':>8}"
    f"{'machine-h':>11}{'x bound':>9}{'peak':>6}{'lost':>7}{'waiting':>9}"
)


def table(comparison: Comparison) -> str:
    lines = [comparison.title, COLUMNS]
    for figures in (comparison.fleet, comparison.tracking):
        lines.append(
            f"{figures.name:<20}{figures.p50:>8.0f} s{figures.p95:>6.0f} s{figures.p99:>6.0f} s"
            f"{figures.longest:>6.0f} s{figures.machine_hours:>11.1f}"
            f"{figures.machine_hours / comparison.bound_hours:>9.2f}{figures.most_machines:>6}"
            f"{figures.lost:>7}{figures.still_waiting:>9}"
        )
    lines.append(f"{'clairvoyant bound':<20}{'':>34}{comparison.bound_hours:>11.1f}{1:>9.2f}")
    return "\n".join(lines)
