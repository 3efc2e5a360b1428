"""Metrics as Prometheus reads them, and the alert rules that rest on them."""

from __future__ import annotations

import re
from importlib import resources

import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client.parser import text_string_to_metric_families

from hubdeploy.config.limits import Limits
from hubdeploy.config.use import Use
from hubdeploy.hub.fleet import metrics
from hubdeploy.hub.fleet.loop import View
from hubdeploy.hub.fleet.model import Alarm, RefuseNewServers
from tests.hub.fleet.builders import GIB, NOW, pending, seen, worker


def _samples(view: View) -> dict[str, list[dict[str, str]]]:
    """Names of samples to their labels; the text has to be what Prometheus' parser takes."""
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(metrics.text(view, now=NOW + 5).decode()):
        assert family.documentation, family.name
        assert family.type in ("gauge", "counter"), family.name
        for sample in family.samples:
            assert sample.name.startswith("hubdeploy_fleet_")
            assert sample.labels not in found.get(sample.name, []), f"{sample.name} twice"
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def _busy() -> View:
    return View(
        seen=seen(worker("i-1", used=3), pending=pending(2, since=NOW - 90), disk_used=GIB),
        actions=(
            Alarm(reason="full", code="at-limit"),
            RefuseNewServers(reason="full", limit="max_nodes"),
        ),
        limits=Limits(max_nodes=1, max_disk_utilization=2 * GIB),
    )


def test_reserved_and_used_are_told_apart_and_who_tells_nothing_is_counted() -> None:
    view = View(seen=seen(worker("i-1", used=3), worker("i-2", used=1)))
    use = {
        "i-1": Use(at=NOW - 60, memory=GIB, cpu=10**9 // 4),
        "i-gone": Use(at=0, memory=1, cpu=1),
    }
    text = metrics.text(view, now=NOW, use=use).decode()
    told = {
        sample.name.removeprefix("hubdeploy_fleet_"): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert (told["memory_reserved_bytes"], told["memory_used_bytes"]) == (8 * GIB, GIB)
    assert (told["cpu_cores"], told["cpu_reserved_cores"], told["cpu_used_cores"]) == (16, 2, 0.25)
    assert (told["use_unknown_machines"], told["use_age_seconds"]) == (1, 60)


@pytest.mark.parametrize("view", [View(), View(seen=seen(), failed_ticks=7), _busy()])
def test_prometheus_takes_what_is_told(view: View) -> None:
    assert "hubdeploy_fleet_failed_ticks" in _samples(view)


def test_every_alert_asks_for_what_is_exported_and_says_what_to_do() -> None:
    there = _samples(_busy())
    text = resources.files("hubdeploy.hub.fleet").joinpath("alerts.yml").read_text()
    (group,) = yaml.safe_load(text)["groups"]
    assert len({rule["alert"] for rule in group["rules"]}) == len(group["rules"]) >= 8
    for rule in group["rules"]:
        asked = set(re.findall(r"hubdeploy_\w+", rule["expr"]))
        assert asked, rule
        assert asked <= set(there), rule
        for name, label, value in re.findall(r'(hubdeploy_\w+)\{(\w+)="([^"]+)"', rule["expr"]):
            assert value in {labels.get(label) for labels in there[name]}, rule
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["action"]
