"""``status --watch``: a view that is renewed, lines of what is new, or JSON lines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hubdeploy.cli.output import SCHEMA_VERSION, console
from hubdeploy.cli.views import machines_table, phase
from hubdeploy.config.limits import show_size
from hubdeploy.errors import HubdeployError
from hubdeploy.operate.fleet import Decided, Glance, gauges
from hubdeploy.operate.status import Machine, Status

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

SLOWEST = 30.0
"""Seconds between looks while AWS refuses them."""
DECISIONS = 5
"""Shown at a time."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """One look. ``problem``: it failed, and the rest is what the last one saw."""

    at: float
    now: Status
    seen: Glance | None = None
    problem: str = ""

    def facts(self) -> dict[str, str]:
        """What people read, by what it is about: the same text means that nothing changed."""
        now, seen = self.now, self.seen
        found = {"hub": now.url or "(no hub yet)"}
        if now.group is not None:
            group = now.group
            found["workers"] = (
                f"{group.in_service} in service, {group.desired} wanted, "
                f"{group.minimum} to {group.maximum} allowed"
            )
        found |= {gauge.name: gauge.words for gauge in gauges(now, seen)}
        if seen is not None and not seen.problems:
            found["reserved"] = f"{show_size(seen.reserved)} of {show_size(seen.memory)}"
            found["waiting"] = "; ".join(seen.waiting) or "nobody"
        if seen is not None and seen.problems:
            found["fleet"] = "; ".join(seen.problems)
        return found

    def as_dict(self) -> dict[str, Any]:
        seen = self.seen
        return {
            "schema": f"hubdeploy/watch/{SCHEMA_VERSION}",
            "at": stamp(self.at),
            "problem": self.problem,
            "status": self.now.as_dict(),
            "fleet": asdict(seen) if seen else None,
            "limits": [{**asdict(g), "near": g.near} for g in gauges(self.now, seen)],
        }


def looks(
    look: Callable[[], tuple[Status, Glance | None]], *, every: float, times: int
) -> Iterator[Look]:
    """Looks every ``every`` seconds, ``times`` of them (0: for ever). The first has to succeed; a
    later one that fails is told, and asked again ever more slowly."""
    last: Look | None = None
    failures = count = 0
    while True:
        count += 1
        try:
            now, seen = look()
            last, failures = Look(at=time.time(), now=now, seen=seen), 0
        except HubdeployError as error:
            if last is None:
                raise
            failures += 1
            last = Look(at=time.time(), now=last.now, seen=last.seen, problem=error.message)
        yield last
        if count == times:
            return
        time.sleep(min(every * 2**failures, max(every, SLOWEST)))


def as_json(found: Iterator[Look]) -> None:
    """One object a line."""
    for look in found:
        sys.stdout.write(json.dumps(look.as_dict(), default=str) + "\n")
        sys.stdout.flush()


def as_lines(found: Iterator[Look]) -> None:
    """Everything once, then what is new."""
    teller = News()
    for look in found:
        for line in teller.of(look):
            sys.stdout.write(f"{clock(look.at)}  {line}\n")
        sys.stdout.flush()


@dataclass
class News:
    """Remembers what was told."""

    _facts: dict[str, str] = field(default_factory=dict)
    _machines: dict[str, tuple[str, str]] = field(default_factory=dict)
    _decided: float = 0.0
    _problem: str = ""

    def of(self, look: Look) -> list[str]:
        """The lines that tell what is new."""
        if look.problem:
            told = [] if look.problem == self._problem else [f"problem: {look.problem}"]
            self._problem = look.problem
            return told
        out = ["answers again"] if self._problem else []
        self._problem = ""
        facts = look.facts()
        out += [f"{name}: {text}" for name, text in facts.items() if self._facts.get(name) != text]
        out += self._of_machines(look.now.machines)
        decided = list(look.seen.decisions) if look.seen else []
        out += [
            f"decided at {clock(each.at)}: {each.words}"
            for each in reversed(decided)
            if each.at > self._decided
        ]
        self._facts = {**self._facts, **facts}
        self._decided = max([self._decided, *(each.at for each in decided)])
        return out

    def _of_machines(self, machines: list[Machine]) -> list[str]:
        now = {m.instance_id: (m.label, phase(m)) for m in machines}
        out = []
        for instance, (label, state) in now.items():
            before = self._machines.get(instance, ("", ""))[1]
            if before != state:
                out.append(f"{label} {instance}: {f'{before} -> ' if before else ''}{state}")
        out += [
            f"{label} {instance}: gone"
            for instance, (label, _) in self._machines.items()
            if instance not in now
        ]
        self._machines = now
        return out


def as_view(found: Iterator[Look], *, every: float) -> None:
    """Renewed in place."""
    from rich.live import Live

    out = console()
    with Live(console=out, auto_refresh=False) as live:
        for look in found:
            live.update(view(look, out, every=every), refresh=True)


def view(look: Look, out: Console, *, every: float) -> RenderableType:
    """Fits the window: what is not ready comes first, and what has no room is counted."""
    from rich.console import Group
    from rich.text import Text

    head = [Text.assemble((look.now.deployment, "bold"), f"  {clock(look.at)}, every {every:g} s")]
    if look.problem:
        head.append(Text(f"problem: {look.problem} (what follows is from before)", style="red"))
    for name, text in look.facts().items():
        style = "yellow" if "the limit)" in text or name == "fleet" else ""
        head.append(Text(f"{name:9} {text}", style=style))
    decided: tuple[Decided, ...] = look.seen.decisions[:DECISIONS] if look.seen else ()
    tail = [Text(f"{clock(each.at)}  {each.words}", style="dim") for each in decided]
    used = sum(len(line.wrap(out, out.width)) for line in (*head, *tail))
    # one line stays free for the count of those left out, one for the cursor
    room = max(3, out.height - used - 2)
    machines, left = _fitting(look.now.machines, out, room=room)
    return Group(
        *head,
        machines_table(machines, width=out.width),
        *([Text(f"and {left} more machines", style="dim")] if left else []),
        *tail,
    )


def _fitting(machines: list[Machine], out: Console, *, room: int) -> tuple[list[Machine], int]:
    """Those whose table takes no more than ``room`` lines, and how many are left out for it."""

    def lines(some: list[Machine]) -> int:
        return len(out.render_lines(machines_table(some, width=out.width)))

    if lines(machines) <= room:
        return machines, 0
    ranked = sorted(machines, key=lambda m: (m.phase == "ready", m.label != "leader"))[:room]
    while len(ranked) > 1 and lines(ranked) > room:
        ranked.pop()
    return ranked, len(machines) - len(ranked)


def clock(at: float) -> str:
    """Local time of the day."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def stamp(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).isoformat(timespec="seconds")
