"""Who comes when, and stays how long: the scenarios, drawn from a seeded generator.

What is assumed about people is all here: a class comes within five minutes and leaves when it
ends; on other days people come by the hour of the day, most in the late morning and the afternoon,
and stay for a log-normal time (median 50 minutes, in the busy week 100; none over eight hours).
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from hubdeploy.config.limits import Limits

GIB = 1 << 30
CORE = 1_000_000_000
HOUR = 3600.0
DAY = 24 * HOUR

#: share of a day's visits by hour, Monday to Friday
WEEKDAY = (1, 1, 1, 1, 1, 1, 2, 4, 8, 12, 13, 11, 8, 11, 13, 12, 10, 7, 5, 5, 6, 5, 3, 2)
WEEKEND_SHARE = 0.35
LONGEST_STAY = 8 * HOUR


@dataclass(frozen=True, slots=True)
class Visit:
    """One server: asked for at ``at`` (seconds), kept for ``stay`` seconds once it runs."""

    at: float
    stay: float
    memory: int = 2 * GIB
    cpu: int = CORE // 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """An instance type: bytes and nano-CPUs of a machine. ``cost``: how many machine-hours an hour
    of it counts as."""

    name: str = "m6i.xlarge"
    memory: int = int(15.4 * GIB)
    cpu: int = 4 * CORE
    cost: float = 1.0


BIG = Kind(name="m6i.2xlarge", memory=int(30.8 * GIB), cpu=8 * CORE, cost=2.0)
"""Twice the usual machine: an hour of it counts as two."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Visits and what they run on. ``kinds`` stand in the operator's order of preference.

    Faults: ``spot_per_hour`` and ``fail_share`` are the chance of a machine's being taken back in
    an hour (until ``spot_until``), and of its never joining; of the first kind AWS has none to give
    from ``dry[0]`` until ``dry[1]``. ``disk``: when (seconds) the file system became how full
    (bytes). ``tick`` is the seconds between decisions.
    """

    name: str
    title: str
    visits: tuple[Visit, ...]
    until: float
    limits: Limits
    tick: float = 5.0
    kinds: tuple[Kind, ...] = (Kind(),)
    spot_per_hour: float = 0.0
    spot_until: float = math.inf
    fail_share: float = 0.0
    dry: tuple[float, float] = (0.0, 0.0)
    disk: tuple[tuple[float, int], ...] = ()

    def lacks(self, kind: Kind, now: float) -> bool:
        """Whether AWS has none of *kind* to give at the moment."""
        return kind is self.kinds[0] and self.dry[0] <= now < self.dry[1]

    def disk_used(self, now: float) -> int | None:
        """Bytes, None where the scenario says nothing of it."""
        return next((size for at, size in reversed(self.disk) if at <= now), None)

    def kind_for(self, visit: Visit) -> Kind:
        """The first kind that *visit*'s server fits on (the last, if none)."""
        fits = (k for k in self.kinds if k.memory >= visit.memory and k.cpu >= visit.cpu)
        return next(fits, self.kinds[-1])


def lecture(*, seed: int = 1, people: int = 120) -> Scenario:
    """A class of *people* who come within five minutes, at nine o'clock, for ninety minutes."""
    rng = random.Random(seed)
    start = 1 * HOUR
    end = start + 1.5 * HOUR
    visits = []
    for _ in range(people):
        at = start + rng.triangular(0, 300, 90)
        # most stop when it ends, some stay on to finish, some leave early
        leaves = end + rng.gauss(0, 240) + (rng.expovariate(1 / 1200) if rng.random() < 0.2 else 0)
        visits.append(Visit(at, max(600.0, leaves - at)))
    return Scenario(
        name="class",
        title=f"a class of {people}, all within 5 minutes, for 90 minutes (4 hours simulated)",
        visits=tuple(sorted(visits, key=lambda visit: visit.at)),
        until=4 * HOUR,
        limits=Limits(min_nodes=1, max_nodes=30, headroom=2, idle_after=300),
    )


def day(*, seed: int = 2, people: int = 1000) -> Scenario:
    """A day on which *people* come, 1.4 times each, some with large servers."""
    rng = random.Random(seed)
    visits = [_visit(rng, _moment(rng), large=0.1) for _ in range(int(people * 1.4))]
    return Scenario(
        name="day",
        title=f"a day of {people:,} users, 1 in 10 with 4 GiB, 1 boot in 50 fails",
        visits=tuple(sorted(visits, key=lambda visit: visit.at)),
        until=DAY,
        limits=Limits(min_nodes=1, max_nodes=120, headroom=8, idle_after=300),
        fail_share=0.02,
    )


def week(*, seed: int = 3, people: int = 5000) -> Scenario:
    """A week of *people*, who come 2.6 times on every working day; spot machines get lost."""
    rng = random.Random(seed)
    visits = []
    for number in range(7):
        share = 1.0 if number < 5 else WEEKEND_SHARE
        visits += [
            _visit(rng, number * DAY + _moment(rng), large=0.1, median=100 * 60)
            for _ in range(int(people * 2.6 * share))
        ]
    return Scenario(
        name="week",
        title=f"a week of {people:,} users on up to 500 machines, 1 boot in 50 fails, "
        "1 machine in 100 lost to spot an hour",
        visits=tuple(sorted(visits, key=lambda visit: visit.at)),
        until=7 * DAY + 6 * HOUR,
        limits=Limits(min_nodes=2, max_nodes=500, headroom=40, idle_after=300),
        tick=15.0,
        fail_share=0.02,
        spot_per_hour=0.01,
    )


def two_types(*, seed: int = 4, people: int = 3000) -> Scenario:
    """A day on which one server in thirty fits on the second instance type alone, and AWS has none
    of the first to give from ten to one."""
    rng = random.Random(seed)
    visits = []
    for _ in range(int(people * 1.4)):
        visit = _visit(rng, _moment(rng), large=0.1)
        if rng.random() < 1 / 30:
            visit = Visit(visit.at, visit.stay, memory=20 * GIB, cpu=2 * CORE)
        visits.append(visit)
    return Scenario(
        name="two-types",
        title=f"a day of {people:,} users on two types, 1 in 30 with 20 GiB, none of the first "
        "type from 10 to 13 h, 1 boot in 50 fails",
        visits=tuple(sorted(visits, key=lambda visit: visit.at)),
        until=DAY,
        limits=Limits(min_nodes=1, max_nodes=300, headroom=8, idle_after=300),
        kinds=(Kind(), BIG),
        fail_share=0.02,
        dry=(10 * HOUR, 13 * HOUR),
    )


def _moment(rng: random.Random) -> float:
    hour = rng.choices(range(24), WEEKDAY)[0]
    return (hour + rng.random()) * HOUR


def _visit(rng: random.Random, at: float, *, large: float, median: float = 50 * 60) -> Visit:
    stay = min(LONGEST_STAY, max(180.0, rng.lognormvariate(math.log(median), 0.95)))
    if rng.random() < large:
        return Visit(at, stay, memory=4 * GIB, cpu=CORE)
    return Visit(at, stay)


SCENARIOS = {"class": lecture, "day": day, "two-types": two_types, "week": week}
