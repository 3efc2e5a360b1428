"""What a waiting user reads: what is waited for, for how long, and how long it usually takes.

Users take silence for a fault, so every stage has words, an elapsed time, and an estimate from
the boots that this hub has seen (a small file; lengths of the last few waits per stage).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import statistics
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hubdeploy.hub.tasks import COMING, Sighting, Stage

log = logging.getLogger(__name__)

KEPT = 30
#: seconds, used until there is something measured
FIRST_GUESS: Mapping[str, float] = {
    Stage.MACHINE: 180.0,
    Stage.PLACING: 1.0,
    Stage.PULLING: 15.0,
    Stage.STARTING: 3.0,
    Stage.RUNNING: 4.0,
}
#: the stages that a start passes, in order; RUNNING is 'until the notebook answers'
ORDER = (Stage.MACHINE, Stage.PLACING, Stage.PULLING, Stage.STARTING, Stage.RUNNING)


@dataclass
class Times:
    """How long each stage took the last times, in seconds; kept in *path* (none: in memory)."""

    path: Path | None = None
    seen: dict[str, list[float]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path | None) -> Times:
        times = cls(path)
        if path is None:
            return times
        try:
            data = json.loads(path.read_text())
            times.seen = {
                str(stage): [float(length) for length in lengths][-KEPT:]
                for stage, lengths in data.items()
            }
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.warning("%s is not readable, estimates begin anew: %s", path, error)
        return times

    def usual(self, stage: str) -> float:
        """Median of the last waits, or a first guess."""
        lengths = self.seen.get(stage)
        return statistics.median(lengths) if lengths else FIRST_GUESS.get(stage, 5.0)

    def slow(self, stage: str) -> float:
        """What nine waits in ten stayed below."""
        lengths = sorted(self.seen.get(stage, ()))
        return lengths[int(0.9 * (len(lengths) - 1))] if lengths else self.usual(stage)

    def add(self, stages: Mapping[str, float]) -> None:
        """Remember the lengths of one start. A file that cannot be written is no failure."""
        for stage, length in stages.items():
            kept = self.seen.setdefault(str(stage), [])
            kept.append(round(length, 2))
            del kept[:-KEPT]
        if self.path is None:
            return
        new = self.path.with_name(self.path.name + ".new")
        try:
            new.write_text(json.dumps(self.seen, sort_keys=True))
            os.replace(new, self.path)
        except OSError as error:
            log.warning("cannot keep the times of starts in %s: %s", self.path, error)
            with contextlib.suppress(OSError):
                new.unlink()


def needed_timeout(times: Times, *, configured: int, most: int = 7200) -> int:
    """Seconds that a start may take: as configured, or more where boots here are slower.

    Three times the slow boots of the past, so that one retry of a machine fits in.
    """
    measured = 3 * times.slow(Stage.MACHINE) + times.slow(Stage.PULLING) + 60
    if Stage.MACHINE not in times.seen:
        return configured
    return int(min(most, max(configured, measured)))


def span(seconds: float) -> str:
    """``8 s``, ``45 s``, ``2 min``, ``1 h 5 min``: for people, rounded to what matters."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


@dataclass
class Waiting:
    """One start as its user sees it. *clock*: monotonic seconds."""

    times: Times
    clock: Callable[[], float]
    image: str = ""
    stage: Stage | None = None
    reason: str = ""
    """Why it waits for a machine, in the fleet's words."""
    eta: float | None = None
    """Seconds until a machine, by the fleet's knowledge, counted from when it was told."""
    lengths: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """What went wrong on the way and is being tried again."""
    _since: float = 0.0
    _told_at: float = 0.0
    _begun: float = 0.0
    _most: int = 0

    def __post_init__(self) -> None:
        self._begun = self._since = self.clock()

    @property
    def elapsed(self) -> float:
        return self.clock() - self._begun

    def see(self, sighting: Sighting) -> None:
        if sighting.stage in COMING or sighting.stage is Stage.RUNNING:
            self.enter(sighting.stage)

    def enter(self, stage: Stage) -> None:
        """The start is now at *stage*; coming back to one adds to its length."""
        if stage is self.stage:
            return
        now = self.clock()
        self._close(now)
        self.stage, self._since = stage, now

    def _close(self, now: float) -> None:
        if self.stage is not None:
            past = self.lengths.get(self.stage, 0.0)
            self.lengths[self.stage] = past + now - self._since

    def tell(self, *, reason: str, eta: float | None) -> None:
        """The fleet's answer: why there is a wait, and how long it may be (seconds)."""
        self.reason, self.eta, self._told_at = reason, eta, self.clock()

    def note(self, text: str) -> None:
        self.notes.append(text)

    def finish(self) -> None:
        """It runs: keep the lengths for later estimates."""
        now = self.clock()
        self._close(now)
        self._since = now
        self.times.add({k: v for k, v in self.lengths.items() if k != Stage.PLACING})

    def remaining(self) -> float:
        """Seconds that are usually still to come; at least a tenth of the stage at hand."""
        if self.stage is None:
            return sum(self.times.usual(stage) for stage in ORDER[1:])
        usual = self.times.usual(self.stage)
        left = usual - (self.clock() - self._since)
        if self.stage is Stage.MACHINE and self.eta is not None:
            left = self.eta - (self.clock() - self._told_at)
        later = ORDER[ORDER.index(self.stage) + 1 :]
        return max(left, 0.1 * usual) + sum(self.times.usual(stage) for stage in later)

    def percent(self) -> int:
        """0 to 95, never falling."""
        elapsed = self.elapsed
        share = elapsed / (elapsed + self.remaining()) if elapsed > 0 else 0.0
        self._most = max(self._most, min(95, int(100 * share)))
        return self._most

    def words(self) -> str:
        """What is being waited for; the same until something changes."""
        return {
            None: "Looking for a place",
            Stage.MACHINE: "Starting a machine",
            Stage.PLACING: "Found a machine with room",
            Stage.PULLING: f"Preparing the image {self.image}".rstrip(),
            Stage.STARTING: "Starting your server",
            Stage.RUNNING: "Waiting for your server to answer",
        }.get(self.stage, "Starting your server")

    def event(self) -> dict[str, Any]:
        """For the hub's progress stream: ``progress`` and ``message`` (plain text)."""
        in_stage = self.clock() - self._since
        text = self.words()
        details = []
        if self.stage is not None:
            left = self.remaining()
            if in_stage >= 1:
                details.append(f"{span(in_stage)} so far")
            if self.stage is Stage.MACHINE or in_stage >= 3:
                details.append(f"about {span(left)} to go")
        if self.stage is Stage.MACHINE and self.reason:
            text += f" ({self.reason})"
        if details:
            text += ": " + ", ".join(details)
        if self.notes:
            text += f". {self.notes[-1]}"
        return {"progress": self.percent(), "message": text}


async def events(
    lasts: Callable[[], bool], waiting: Callable[[], Waiting | None]
) -> AsyncGenerator[dict[str, Any], None]:
    """What to tell the page of a start while it *lasts*: each change, and every ten seconds."""
    last, told_at = "", 0.0
    while lasts():
        start, now = waiting(), time.monotonic()
        if start is not None:
            words = f"{start.words()}{start.reason}{len(start.notes)}"
            if words != last or now - told_at >= 10:
                last, told_at = words, now
                yield start.event()
        await asyncio.sleep(0.5)


ENDED = "ended"
"""In a spawner's state: why its server ended by itself, until its next start."""


def last_words(user: Any) -> dict[str, str]:
    """Why servers of *user* (the hub's, or None) ended by themselves, by server name, for pages."""
    found = user.orm_user.orm_spawners if user else {}
    words = {name: (spawner.state or {}).get(ENDED) for name, spawner in found.items()}
    return {name: str(text) for name, text in words.items() if text}
