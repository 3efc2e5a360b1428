"""One scenario under both, and the bound; as figures and as a table."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass

from hubdeploy.hub.simulate.controllers import Fleet, SpreadAndTrack
from hubdeploy.hub.simulate.traffic import HOUR, Kind, Scenario
from hubdeploy.hub.simulate.world import Controller, World


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One run. Waits are seconds from asking for a server until it runs; machine-hours are
    weighted by the types' cost."""

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
    2 and 4 GiB). Of two types it takes whichever mixture costs least, AWS having all it asks for.
    It knows the future, boots in no time and moves running servers between machines for nothing, so
    nothing real reaches it.
    """
    held = [_holds(scenario, kind) for kind in scenario.kinds]
    changes: list[tuple[float, int, int, int]] = []
    for visit in scenario.visits:
        place = scenario.kinds.index(scenario.kind_for(visit))
        changes.append((visit.at, place, visit.memory, visit.cpu))
        changes.append((visit.at + visit.stay, place, -visit.memory, -visit.cpu))
    changes.sort()
    used = [[0, 0] for _ in scenario.kinds]
    now = seconds = 0.0
    for at, place, more_memory, more_cpu in changes:
        at = min(at, scenario.until)
        if at > now:
            seconds += _least(scenario, held, used) * (at - now)
        now = at
        used[place][0] += more_memory
        used[place][1] += more_cpu
    seconds += _least(scenario, held, used) * (scenario.until - now)
    return seconds / HOUR


def _holds(scenario: Scenario, kind: Kind) -> tuple[int, int]:
    memory_unit = math.gcd(*(visit.memory for visit in scenario.visits)) or 1
    cpu_unit = math.gcd(*(visit.cpu for visit in scenario.visits)) or 1
    return kind.memory // memory_unit * memory_unit, kind.cpu // cpu_unit * cpu_unit


def _least(scenario: Scenario, held: list[tuple[int, int]], used: list[list[int]]) -> float:
    """What the cheapest machines cost an hour that hold what is in use, by the first type that
    each server fits on: it may always run on a later one."""
    low = scenario.limits.min_nodes
    first, *more = scenario.kinds
    if not more:
        return first.cost * max(low, _machines(used[0], held[0]))
    (second,) = more
    need = _machines(used[1], held[1])
    memory, cpu = (used[0][n] + used[1][n] for n in (0, 1))
    best = math.inf
    for count in range(need, max(need, _machines([memory, cpu], held[1])) + 1):
        left = [max(0, memory - count * held[1][0]), max(0, cpu - count * held[1][1])]
        others = max(_machines(left, held[0]), low - count)
        best = min(best, count * second.cost + others * first.cost)
    return best


def _machines(used: list[int], held: tuple[int, int]) -> int:
    return max(math.ceil(part / whole) for part, whole in zip(used, held, strict=True))


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
