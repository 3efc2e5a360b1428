"""What the page shows, from the view, the history and the disk scan. Pure but for the clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hubdeploy.config.limits import show_size
from hubdeploy.config.use import Use
from hubdeploy.hub.fleet.disk import Usage
from hubdeploy.hub.fleet.loop import View
from hubdeploy.hub.fleet.model import Alarm, Life, RefuseNewServers, Why, Worker
from hubdeploy.hub.fleet.page.chart import chart
from hubdeploy.hub.fleet.store import Decision, Sample
from hubdeploy.hub.fleet.use import STALE

HERE = Path(__file__).parent
STATIC = HERE / "static"
HOURS = 24
CHART_SPAN = HOURS * 3600.0

STATES = {
    Life.BOOTING: "booting",
    Life.JOINING: "joining",
    Life.ACTIVE: "in service",
    Life.CORDONED: "closed",
    Life.DRAINING: "draining",
    Life.DOWN: "lost",
    Life.ENDING: "ending",
}
WHY = {
    Why.SURPLUS: "surplus",
    Why.OPERATOR: "by an admin",
    Why.LIMIT: "above a limit",
    Why.OUTDATED: "to be replaced",
    Why.SPOT: "spot notice",
}


@dataclass(frozen=True, kw_only=True)
class Gauge:
    """One limit: how much is used of how much; ``share`` 0 to 1, None where there is no limit."""

    name: str
    label: str
    used: str
    limit: str
    share: float | None

    @property
    def level(self) -> str:
        if self.share is None:
            return "none"
        return "full" if self.share >= 1 else "near" if self.share >= 0.8 else "fine"


def gauges(view: View) -> list[Gauge]:
    """The four limits, most binding figures as people read them."""
    seen, limits = view.seen, view.limits
    if seen is None:
        return []
    there = [worker for worker in seen.workers if worker.life is not Life.ENDING]
    sizes = {group.name: group.memory for group in seen.groups}
    memory = sum(worker.memory or sizes.get(worker.group, 0) for worker in there)
    return [
        _gauge("max_nodes", "Machines", len(there), limits.max_nodes, plain=True, always=True),
        _gauge("max_cluster_memory", "Memory of all machines", memory, limits.max_cluster_memory),
        _gauge(
            "max_concurrent_users",
            "People with servers",
            seen.active_users + len(seen.pending),
            limits.max_concurrent_users,
            plain=True,
        ),
        _gauge("max_disk_utilization", "Disk", seen.disk_used, limits.max_disk_utilization),
    ]


def _gauge(
    name: str,
    label: str,
    used: int | None,
    limit: int,
    *,
    plain: bool = False,
    always: bool = False,
) -> Gauge:
    def show(value: int) -> str:
        return str(value) if plain else show_size(value)

    limited = limit > 0 or always
    return Gauge(
        name=name,
        label=label,
        used="unknown" if used is None else show(used),
        limit=show(limit) if limited else "no limit",
        share=None if used is None or not limited else (used / limit if limit else 1.0),
    )


def ago(seconds: float) -> str:
    """A duration as people say it, two units at most."""
    seconds = max(0, int(seconds))
    for unit, size, part, small in (
        ("d", 86400, "h", 3600),
        ("h", 3600, "min", 60),
        ("min", 60, "", 0),
    ):
        if seconds >= size:
            rest = seconds % size // small if small else 0
            return f"{seconds // size} {unit}" + (f" {rest} {part}" if rest else "")
    return f"{seconds} s"


def share(part: int, whole: int) -> int:
    """Per cent, 0 to 100."""
    return max(0, min(100, round(100 * part / whole))) if whole else 0


def clock_time(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d %H:%M:%S")


def state_of(worker: Worker) -> str:
    words = STATES[worker.life]
    if worker.life is Life.CORDONED and worker.why is Why.OPERATOR:
        words = "draining" if worker.users else "closed"
    why = WHY.get(worker.why, "by hand" if worker.life is Life.CORDONED else "")
    if worker.spot_notice:
        why = "spot notice"
    return f"{words} ({why})" if why else words


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "size": show_size,
        "ago": ago,
        "clock": clock_time,
        "state": state_of,
        "cores": lambda nano: f"{nano / 1e9:.3g}",
    }
    environment.globals["share"] = share
    return environment


_ENVIRONMENT = _environment()


def page(
    view: View,
    *,
    prefix: str,
    xsrf: str,
    user: str,
    samples: Sequence[Sample],
    decisions: Sequence[Decision],
    usage: Sequence[Usage],
    use: Mapping[str, Use],
    failed_logs: Sequence[str],
    now: float,
    notice: str = "",
) -> str:
    """The whole page. ``prefix`` ends in ``/``; ``xsrf`` is the token for the forms."""
    seen = view.seen
    workers = sorted(
        seen.workers if seen else (), key=lambda w: (w.life is Life.ENDING, -w.launched, w.name)
    )
    return _ENVIRONMENT.get_template("fleet.html").render(
        view=view,
        seen=seen,
        now=now,
        user=user,
        prefix=prefix,
        xsrf=xsrf,
        notice=notice,
        workers=workers,
        gauges=gauges(view),
        alarms=[action for action in view.actions if isinstance(action, Alarm)],
        refusals=[action for action in view.actions if isinstance(action, RefuseNewServers)],
        chart=chart(samples, since=now - CHART_SPAN, until=now),
        hours=HOURS,
        decisions=decisions,
        usage=usage,
        use=use,
        stale=STALE,
        failed_logs=failed_logs,
        drainable={
            worker.instance
            for worker in workers
            if worker.instance and worker.life is Life.ACTIVE and worker.in_group
        },
        undrainable={
            worker.instance
            for worker in workers
            if worker.life is Life.CORDONED and worker.why is Why.OPERATOR
        },
    )
