"""``/services/fleet/metrics`` in Prometheus' text format. The alert rules are in ``alerts.yml``."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Collection, Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from hubdeploy.config.use import Use
from hubdeploy.hub.fleet.loop import View
from hubdeploy.hub.fleet.model import Alarm, Life, RefuseNewServers

#: every alarm's code, so that an alarm that is off shows as 0 and not as absent
ALARMS = ("at-limit", "launch-error", "launches-fail", "limits-unreadable", "many-down", "too-big")
REFUSALS = ("max_nodes", "max_cluster_memory", "max_concurrent_users", "max_disk_utilization")


def text(view: View, *, now: float, use: Mapping[str, Use] | None = None) -> bytes:
    """The exposition of *view* at *now* (epoch seconds); *use* by instance."""
    registry = CollectorRegistry()
    registry.register(_Collector(view, now, use or {}))
    return generate_latest(registry)


class _Collector:
    def __init__(self, view: View, now: float, use: Mapping[str, Use]) -> None:
        self.view = view
        self.now = now
        self.use = use

    def collect(self) -> Iterable[Metric]:
        view, seen, limits = self.view, self.view.seen, self.view.limits
        yield _gauge("failed_ticks", "Looks that failed in a row.", view.failed_ticks)
        yield CounterMetricFamily("hubdeploy_fleet_ticks", "Looks done.", value=view.ticks)
        yield _gauge("tick_cpu_seconds", "CPU seconds of the last look.", view.tick_cpu)
        if seen is None:
            return
        yield _gauge("age_seconds", "Seconds since the last good look.", self.now - seen.now)
        states = Tally(worker.life for worker in seen.workers)
        machines = GaugeMetricFamily(
            "hubdeploy_fleet_machines", "Machines by state.", labels=["state"]
        )
        for life in Life:
            machines.add_metric([life.value], states[life])
        yield machines
        there = [worker for worker in seen.workers if worker.life is not Life.ENDING]
        desired = sum(group.desired for group in seen.groups)
        yield _gauge("desired_machines", "Machines asked for.", desired)
        yield _gauge("users", "People with a server.", seen.active_users)
        yield _gauge("servers", "Servers that have a place.", view.servers)
        yield _gauge("pending", "Servers that wait for a place.", len(seen.pending))
        oldest = min((pending.since for pending in seen.pending), default=self.now)
        yield _gauge("pending_seconds", "Longest wait of a waiting server.", self.now - oldest)
        yield _gauge("memory_bytes", "Memory of all machines.", sum(w.memory for w in there))
        yield _gauge(
            "memory_reserved_bytes", "Reserved memory.", sum(w.memory_reserved for w in there)
        )
        yield _gauge("cpu_cores", "CPU of all machines.", sum(w.cpu for w in there) / 1e9)
        yield _gauge(
            "cpu_reserved_cores", "Reserved CPU.", sum(w.cpu_reserved for w in there) / 1e9
        )
        yield from self._used({w.instance for w in there if w.node})
        if seen.disk_used is not None:
            yield _gauge("disk_used_bytes", "Metered size of the file system.", seen.disk_used)
        limit = GaugeMetricFamily(
            "hubdeploy_fleet_limit", "Limits in force; 0 for none.", labels=["limit"]
        )
        for name in REFUSALS:
            limit.add_metric([name], getattr(limits, name))
        yield limit
        yield _flags(
            "alarm",
            "1 while something needs a person.",
            "code",
            ALARMS,
            {a.code for a in view.actions if isinstance(a, Alarm)},
        )
        yield _flags(
            "refuses",
            "1 while a limit keeps new servers out.",
            "limit",
            REFUSALS,
            {a.limit for a in view.actions if isinstance(a, RefuseNewServers)},
        )
        yield _gauge("boot_seconds", "Median from launch to ready.", view.boot_seconds)
        yield _gauge("launch_failures", "Machines in a row that never joined.", seen.failures)

    def _used(self, machines: Collection[str]) -> Iterable[Metric]:
        told = [use for name, use in self.use.items() if name in machines]
        memory, cpu = sum(use.memory for use in told), sum(use.cpu for use in told)
        yield _gauge("memory_used_bytes", "Memory that servers use, as machines tell it.", memory)
        yield _gauge("cpu_used_cores", "CPU that servers use, as machines tell it.", cpu / 1e9)
        yield _gauge(
            "use_unknown_machines",
            "Machines in the swarm that do not tell what their servers use.",
            len(machines) - len(told),
        )
        oldest = max((self.now - use.at for use in told), default=0.0)
        yield _gauge("use_age_seconds", "Age of the oldest of these figures.", max(0.0, oldest))


def _gauge(name: str, about: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"hubdeploy_fleet_{name}", about, value=value)


def _flags(
    name: str, about: str, label: str, known: Iterable[str], on: set[str]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"hubdeploy_fleet_{name}", about, labels=[label])
    for each in sorted({*known, *on}):
        family.add_metric([each], float(each in on))
    return family
