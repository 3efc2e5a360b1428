"""The tree of a run's steps, laid out to fit a terminal of any size.

Steps hang under the part of the deployment that they belong to. What does not fit gives way in the
order of how little it matters: the steps of finished parts, finished steps, then steps that are
still far from their turn (named together in one line). What runs or failed is always shown.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from hubdeploy.pipeline.events import StepState

PARTS: Mapping[str, str] = {
    "network": "Network",
    "firewall": "Network",
    "discovery": "Network",
    "dns": "Network",
    "deployment": "Rights and settings",
    "access": "Rights and settings",
    "iam": "Rights and settings",
    "parameters": "Rights and settings",
    "logs": "Rights and settings",
    "tags": "Rights and settings",
    "bucket": "Files and artifacts",
    "files": "Files and artifacts",
    "registry": "Files and artifacts",
    "artifacts": "Files and artifacts",
    "release": "Files and artifacts",
    "machine": "Machines",
    "leader": "Machines",
    "workers": "Machines",
    "alarms": "Machines",
    "wait": "Ready",
    "converge": "Ready",
}
"""First word of a step's name -> the part under which it hangs."""
OTHER = "Other"

_MARKS = {
    StepState.PENDING: ("·", ".", "dim"),
    StepState.RUNNING: ("…", ">", "cyan"),
    StepState.DONE: ("✓", "+", "green"),
    StepState.FAILED: ("✗", "x", "bold red"),
    StepState.BLOCKED: ("-", "-", "dim"),
}
_LOUD = (StepState.RUNNING, StepState.FAILED)
_MOST_TITLE = 30


@dataclass
class Row:
    """One step as it is shown; times are monotonic seconds, 0 for not yet."""

    name: str
    title: str
    needs: tuple[str, ...] = ()
    state: StepState = StepState.PENDING
    detail: str = ""
    started: float = 0.0
    ended: float = 0.0
    said: float = 0.0
    changes: int = 0

    @property
    def part(self) -> str:
        return PARTS.get(self.name.partition(".")[0], OTHER)

    def seconds(self, now: float) -> float:
        return (self.ended or now) - self.started if self.started else 0.0


def lay_out(
    rows: Mapping[str, Row], *, width: int, height: int, now: float, ascii_only: bool = False
) -> list[Text]:
    """At most ``height`` lines of at most ``width`` columns."""
    tree = _Tree(rows, width=width, now=now, ascii_only=ascii_only)
    room = height - 1
    hidden: set[str] = {row.name for row in rows.values() if tree.over(row.part)}
    for row in tree.by_weight():
        if tree.height(hidden) <= room:
            break
        hidden.add(row.name)
    if tree.height(hidden) <= room:
        lines = [*tree.lines(hidden), tree.summary()]
    else:
        lines = [*tree.crowded(room), tree.summary()]
    for line in lines:
        line.truncate(width, overflow="crop" if ascii_only else "ellipsis")
    return lines[-height:]


class _Tree:
    def __init__(self, rows: Mapping[str, Row], *, width: int, now: float, ascii_only: bool):
        self.rows, self.width, self.now, self.ascii_only = rows, width, now, ascii_only
        self.parts: dict[str, list[Row]] = {}
        for part in dict.fromkeys([*PARTS.values(), OTHER]):
            self.parts[part] = [row for row in rows.values() if row.part == part]
        self.parts = {part: mine for part, mine in self.parts.items() if mine}
        longest = max((len(row.title) for row in rows.values()), default=0)
        self.title_width = min(longest, _MOST_TITLE, max(10, width - 30))

    # ---- what gives way ----------------------------------------------------------------------

    def over(self, part: str) -> bool:
        return all(row.state is StepState.DONE for row in self.parts[part])

    def unmet(self, row: Row) -> list[Row]:
        """The needs that this step still waits for."""
        needs = [self.rows[name] for name in row.needs if name in self.rows]
        return [need for need in needs if need.state is not StepState.DONE]

    def distance(self, row: Row) -> int:
        """How many steps in a row have to be done before this one's turn."""
        seen: dict[str, int] = {}

        def far(one: Row) -> int:
            if one.name not in seen:
                seen[one.name] = 1 + max(map(far, self.unmet(one)), default=0)
            return seen[one.name]

        return far(row)

    def by_weight(self) -> list[Row]:
        """The steps that may be left out, those first that matter least."""
        quiet = [row for row in self.rows.values() if row.state not in _LOUD]
        done = [row for row in quiet if row.state is StepState.DONE]
        rest = [row for row in quiet if row.state is not StepState.DONE]
        return [*done, *sorted(rest, key=self.distance, reverse=True)]

    def _left_out(self, part: str, hidden: Collection[str]) -> list[Row]:
        """Steps without a line of their own that are not done."""
        mine = [row for row in self.parts[part] if row.name in hidden]
        return [row for row in mine if row.state is not StepState.DONE]

    def height(self, hidden: Collection[str]) -> int:
        own = sum(row.name not in hidden for row in self.rows.values())
        together = sum(bool(self._left_out(part, hidden)) for part in self.parts)
        return len(self.parts) + own + together

    # ---- lines -------------------------------------------------------------------------------

    def lines(self, hidden: Collection[str]) -> Iterator[Text]:
        for part in self.parts:
            yield self._heading(part)
            left_out = self._left_out(part, hidden)
            if len(left_out) == 1:
                # takes one line in any case
                hidden, left_out = {*hidden} - {left_out[0].name}, []
            shown = [self._step(row) for row in self.parts[part] if row.name not in hidden]
            if left_out:
                names = ", ".join(row.title for row in left_out)
                more = "more" if shown else "to come"
                state = self._state(left_out)
                shown.append(self._marked(state).append(f"{len(left_out)} {more}: {names}", "dim"))
            yield from self._branches(shown)

    def crowded(self, room: int) -> list[Text]:
        """For a terminal with fewer lines than steps that run: their names, run on."""
        lines: list[Text] = []
        for part, rows in self.parts.items():
            loud = [row for row in rows if row.state in _LOUD]
            if not loud:
                continue
            names = ", ".join(f"{row.title} {self._seconds(row)}" for row in loud)
            wrapped = textwrap.wrap(f"{part}: {names}", self.width - 2, subsequent_indent="  ")
            lines += [self._marked(self._state(loud)).append(line) for line in wrapped]
        return lines[:room]

    def summary(self) -> Text:
        done = sum(row.state is StepState.DONE for row in self.rows.values())
        began = min((row.started for row in self.rows.values() if row.started), default=self.now)
        return Text(f"{done} of {len(self.rows)} steps, {self.now - began:.0f} s", "dim")

    def _heading(self, part: str) -> Text:
        rows = self.parts[part]
        started = [row.started for row in rows if row.started]
        open_ended = any(row.started and not row.ended for row in rows)
        until = self.now if open_ended else max((row.ended for row in rows), default=0.0)
        seconds = f"{until - min(started):.0f} s" if started else ""
        done = sum(row.state is StepState.DONE for row in rows)
        line = self._marked(self._state(rows)).append(
            set_cell_size(part, self.title_width + 3), "bold"
        )
        return line.append(f"{seconds:>7}  {done}/{len(rows)}", "dim")

    def _step(self, row: Row) -> Text:
        quiet = "dim" if row.state in (StepState.PENDING, StepState.BLOCKED) else ""
        line = self._marked(row.state).append(set_cell_size(row.title, self.title_width), quiet)
        line.append(f"{self._seconds(row):>7}  ", "dim")
        detail = self._detail(row)
        if row.state is StepState.RUNNING and line.cell_len + cell_len(detail) + 3 > self.width:
            detail = detail.removeprefix("waiting for ")
        return line.append(detail, "red" if row.state is StepState.FAILED else "dim")

    def _branches(self, lines: Sequence[Text]) -> Iterator[Text]:
        branch, last = ("|- ", "`- ") if self.ascii_only else ("├─ ", "└─ ")
        for number, line in enumerate(lines, 1):
            yield Text(last if number == len(lines) else branch, "dim").append_text(line)

    def _detail(self, row: Row) -> str:
        if row.state is StepState.PENDING:
            left = [need.title for need in self.unmet(row)]
            return f"after {', '.join(left)}" if left else ""
        if row.state is StepState.DONE:
            return f"{row.changes} changes" if row.changes > 1 else ""
        if row.state is StepState.BLOCKED:
            return "not begun"
        return " ".join(row.detail.split())

    def _seconds(self, row: Row) -> str:
        return f"{row.seconds(self.now):.0f} s" if row.started else ""

    def _marked(self, state: StepState) -> Text:
        mark, plain, style = _MARKS[state]
        return Text().append(f"{plain if self.ascii_only else mark} ", style)

    @staticmethod
    def _state(rows: Iterable[Row]) -> StepState:
        """Of several steps together: what most needs to be seen."""
        states = {row.state for row in rows}
        if states == {StepState.DONE}:
            return StepState.DONE
        if states <= {StepState.DONE, StepState.PENDING} and StepState.DONE in states:
            return StepState.RUNNING
        order = (StepState.FAILED, StepState.RUNNING, StepState.BLOCKED, StepState.PENDING)
        return next(state for state in order if state in states)
