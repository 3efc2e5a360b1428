"""The history as an SVG that needs no script: users and places over the last hours. Pure."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from hubdeploy.hub.fleet.store import Sample

WIDTH, HEIGHT = 720, 220
LEFT, RIGHT, TOP, BOTTOM = 44, 44, 16, 28
MOST_POINTS = 240


def chart(samples: Sequence[Sample], *, since: float, until: float) -> str:
    """Two scales: people (left; running, and waiting on top) and machines (right).

    The lines differ by colour and by dashes; the ``title`` and ``desc`` say the newest figures for
    those who cannot see it.
    """
    points = _thinned(samples)
    people = max([1, *(s.users + s.waiting for s in points)])
    machines = max([1, *(s.machines for s in points)])
    last = points[-1] if points else None
    words = (
        f"Now {last.users} people with servers, {last.waiting} waiting, {last.machines} machines."
        if last
        else "No history yet."
    )

    def x(at: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (at - since) / max(1.0, until - since)

    def y(value: float, most: int) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / most

    def line(kind: str, value: Callable[[Sample], int], most: int) -> str:
        path = " ".join(
            f"{'L' if index else 'M'}{x(s.at):.1f} {y(value(s), most):.1f}"
            for index, s in enumerate(points)
        )
        return f'<path class="{kind}" d="{path}"/>' if path else ""

    return "".join(
        [
            f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            'aria-labelledby="chart-title chart-desc" preserveAspectRatio="xMidYMid meet">',
            '<title id="chart-title">People and machines over the last hours</title>',
            f'<desc id="chart-desc">{html.escape(words)}</desc>',
            _grid(since, until, x),
            _scale(people, y, at=LEFT - 6, anchor="end", kind="people"),
            _scale(machines, y, at=WIDTH - RIGHT + 6, anchor="start", kind="machines"),
            line("waiting", lambda s: s.users + s.waiting, people),
            line("people", lambda s: s.users, people),
            line("machines", lambda s: s.machines, machines),
            "</svg>",
        ]
    )


def _thinned(samples: Sequence[Sample]) -> list[Sample]:
    """At most MOST_POINTS, each the busiest of its stretch, so that no peak is lost."""
    step = max(1, -(-len(samples) // MOST_POINTS))
    return [
        max(samples[start : start + step], key=lambda s: (s.users + s.waiting, s.machines))
        for start in range(0, len(samples), step)
    ]


def _grid(since: float, until: float, x: Callable[[float], float]) -> str:
    hours = max(1, round((until - since) / 3600 / 6))
    first = int(since // 3600 + 1) * 3600
    parts = []
    for at in range(first, int(until) + 1, hours * 3600):
        label = datetime.fromtimestamp(at, tz=UTC).strftime("%H:%M")
        parts.append(
            f'<line class="grid" x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{TOP}" '
            f'y2="{HEIGHT - BOTTOM}"/>'
            f'<text class="tick" x="{x(at):.1f}" y="{HEIGHT - 8}" text-anchor="middle">'
            f"{label}</text>"
        )
    return "".join(parts)


def _scale(most: int, y: Callable[[float, int], float], *, at: int, anchor: str, kind: str) -> str:
    marks = sorted({0, most // 2, most})
    return "".join(
        f'<text class="tick {kind}-tick" x="{at}" y="{y(mark, most) + 4:.1f}" '
        f'text-anchor="{anchor}">{mark}</text>'
        for mark in marks
    )
