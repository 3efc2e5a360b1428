"""The smaller parts: Docker's listings, what is read from them, metrics, wiring."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from hubdeploy.config.limits import Limits
from hubdeploy.config.names import LABEL_INSTANCE, LABEL_USER
from hubdeploy.errors import ConfigError
from hubdeploy.hub.fleet import metrics
from hubdeploy.hub.fleet.cloud import CloudFacts, Instance, Member, RawGroup
from hubdeploy.hub.fleet.loop import View
from hubdeploy.hub.fleet.model import (
    LABEL_FLEET,
    Alarm,
    Life,
    Memory,
    RefuseNewServers,
    Why,
)
from hubdeploy.hub.fleet.observe import TypeSize, mark, observation, read_mark
from hubdeploy.hub.fleet.only import OnlyOne
from hubdeploy.hub.fleet.page.chart import chart
from hubdeploy.hub.fleet.page.render import ago, gauges
from hubdeploy.hub.fleet.service import admission_token, read_token
from hubdeploy.hub.fleet.store import Sample
from hubdeploy.hub.fleet.swarm import SwarmFacts, facts, when
from hubdeploy.hub.fleet.wiring import VARIABLE, HubFleet, from_environment, hub_service
from hubdeploy.hub.placement import NodeView
from tests.hub.fleet.builders import CORE, GIB, NOW, pending, seen, worker

# --- Docker's listings ------------------------------------------------------------------------


def _service(name: str, user: str, *, pinned: str = "", created: str = "") -> dict[str, object]:
    constraints = [f"node.id=={pinned}"] if pinned else []
    return {
        "ID": name,
        "CreatedAt": created,
        "Spec": {
            "Labels": {LABEL_USER: user} if user else {},
            "TaskTemplate": {
                "Resources": {"Reservations": {"MemoryBytes": GIB, "NanoCPUs": CORE}},
                "Placement": {"Constraints": constraints},
            },
        },
    }


def _task(service: str, state: str, **more: object) -> dict[str, object]:
    return {
        "ServiceID": service,
        "Spec": {"Resources": {"Reservations": {"MemoryBytes": GIB, "NanoCPUs": CORE}}},
        "Status": {"State": state, "Err": "no suitable node" if state == "pending" else ""},
        "CreatedAt": "2026-01-01T00:00:10.5Z",
    } | more


def test_servers_without_a_place_are_told_from_those_with_one() -> None:
    services = [
        _service("runs", "ann"),
        _service("waits", "bob"),
        _service("ended", "cid"),
        _service("brand-new", "dan", created="2026-01-01T00:00:20Z"),
        _service("sent", "eve", pinned="n1"),
        _service("not-a-server", ""),
    ]
    tasks = [
        _task("runs", "running", NodeID="n1"),
        _task("waits", "pending"),
        _task("ended", "complete", NodeID="n1"),
        _task("not-a-server", "pending"),
    ]
    found = facts([], tasks, services)
    assert [(p.user, p.reason) for p in found.pending] == [("bob", "no suitable node"), ("dan", "")]
    assert found.people == {"ann", "eve"}
    assert found.servers == 2
    assert found.last_arrival == when("2026-01-01T00:00:20Z")


def test_dockers_times_are_read_with_and_without_fractions() -> None:
    assert when("2026-01-01T00:00:10.5Z") == when("2026-01-01T00:00:10Z") + 0.5
    assert when("2026-01-01T00:00:10.123456789Z") > when("2026-01-01T00:00:10Z")
    assert when("") == 0.0


# --- from AWS and the swarm to workers ----------------------------------------------------------


def _cloud(state: str = "running", lifecycle: str = "InService", **phase: str) -> CloudFacts:
    instance = Instance(
        id="i-1",
        state=state,
        instance_type="m6i.xlarge",
        zone="eu-central-1a",
        launched=NOW - 100,
        address="10.42.1.7",
    )
    group = RawGroup(
        name="workers",
        desired=1,
        min_size=0,
        max_size=3,
        instance_type="m6i.xlarge",
        members={"i-1": Member(lifecycle=lifecycle, protected=True)},
    )
    return CloudFacts(
        groups=(group,), instances={"i-1": instance}, phases={"i-1": phase} if phase else {}
    )


def _node(**more: object) -> SwarmFacts:
    values = {"id": "n1", "memory": 16 * GIB, "cpu": 8 * CORE, "address": "10.42.1.7"} | more
    view = NodeView(**values)  # type: ignore[arg-type]
    state = "ready" if view.ready else "down"
    return SwarmFacts(nodes=(view,), node_states={"n1": state})


def _life(cloud: CloudFacts, swarm: SwarmFacts, memory: Memory | None = None) -> Life:
    sizes = {"m6i.xlarge": TypeSize(memory=15 * GIB, cpu=8 * CORE)}
    look = observation(NOW, cloud, swarm, memory or Memory(), sizes=sizes)
    (found,) = look.workers
    return found.life


ADMITTED = {LABEL_INSTANCE: "i-1"}
SURPLUS = {**ADMITTED, LABEL_FLEET: "surplus:1"}


@pytest.mark.parametrize(
    ("cloud", "swarm", "life"),
    [
        (_cloud(), SwarmFacts(), Life.BOOTING),
        (_cloud(), _node(availability="drain"), Life.JOINING),
        (_cloud(), _node(availability="active"), Life.ACTIVE),
        (_cloud(), _node(availability="pause"), Life.CORDONED),
        (_cloud(), _node(availability="drain", instance="i-1", labels=SURPLUS), Life.DRAINING),
        (_cloud(), _node(ready=False, instance="i-1", labels=ADMITTED), Life.DOWN),
        (_cloud(), _node(ready=False, availability="drain"), Life.JOINING),
        (_cloud("stopped"), SwarmFacts(), Life.DOWN),
        (_cloud("shutting-down"), _node(), Life.ENDING),
        (_cloud(lifecycle="Terminating:Wait"), _node(), Life.ENDING),
    ],
)
def test_a_workers_life_is_read_from_what_is_there(
    cloud: CloudFacts, swarm: SwarmFacts, life: Life
) -> None:
    # a node's instance is found by its address before anybody has labelled it
    assert _life(cloud, swarm) is life


def test_an_ended_instance_that_is_all_forgotten_is_not_seen_any_more() -> None:
    look = observation(
        NOW, _cloud("terminated"), SwarmFacts(), Memory(chef_done=("i-1",)), sizes={}
    )
    assert look.workers == ()


def test_a_node_whose_instance_is_gone_is_given_up_only_after_a_while() -> None:
    stray = _node(ready=False, instance="i-9", address="10.42.9.9", labels={LABEL_INSTANCE: "i-9"})
    fresh = observation(NOW, CloudFacts(), stray, Memory(), sizes={})
    assert [w.life for w in fresh.workers] == [Life.DOWN]
    assert fresh.workers[0].instance == ""
    old = Memory(down_since={"n1": NOW - 301})
    late = observation(NOW, CloudFacts(), stray, old, sizes={})
    assert [(w.instance, w.life) for w in late.workers] == [("i-9", Life.ENDING)]


def test_a_new_machines_size_is_learned_from_real_nodes() -> None:
    sizes = {"m6i.xlarge": TypeSize(memory=14 * GIB, cpu=8 * CORE)}
    before = observation(NOW, _cloud(), SwarmFacts(), Memory(), sizes=sizes)
    assert before.groups[0].memory == 14 * GIB
    node = _node(instance="i-1", instance_type="m6i.xlarge", memory=15 * GIB)
    after = observation(NOW, _cloud(), node, Memory(), sizes=sizes)
    assert after.groups[0].memory == 15 * GIB


def test_only_machines_from_before_a_change_of_template_are_outdated() -> None:
    def outdated(has: str, wanted: str, since: float | None) -> bool:
        cloud = _cloud()
        changed = replace(
            cloud,
            groups=(replace(cloud.groups[0], template=wanted),),
            instances={"i-1": replace(cloud.instances["i-1"], template=has)},
        )
        memory = Memory(templates={wanted: since} if since else {})
        (found,) = observation(NOW, changed, SwarmFacts(), memory, sizes={}).workers
        return found.outdated

    assert outdated("old", "new", None), "the change has just been seen"
    assert outdated("old", "new", NOW - 50)
    assert not outdated("old", "new", NOW - 200), "launched after it: replacing would never end"
    assert not outdated("new", "new", None)
    assert not outdated("", "new", None)
    assert not outdated("old", "", None)


def test_a_mark_on_a_node_reads_back_and_nonsense_is_nobodys() -> None:
    assert read_mark(mark(Why.SPOT, NOW)) == (Why.SPOT, NOW)
    assert read_mark("lunch:soon") == (Why.NONE, 0.0)
    assert read_mark("") == (Why.NONE, 0.0)


# --- metrics, alerts, page parts ------------------------------------------------------------------


def _view() -> View:
    look = seen(worker("i-1", used=3), pending=pending(2, since=NOW - 90), disk_used=GIB)
    actions = (
        Alarm(reason="full", code="at-limit"),
        RefuseNewServers(reason="full", limit="max_nodes"),
    )
    limits = Limits(max_nodes=1, max_disk_utilization=2 * GIB)
    return View(seen=look, actions=actions, limits=limits)


def test_metrics_show_what_alert_rules_ask_for() -> None:
    text = metrics.text(_view(), now=NOW + 5).decode()
    for line in (
        'hubdeploy_fleet_alarm{code="at-limit"} 1.0',
        'hubdeploy_fleet_alarm{code="many-down"} 0.0',
        'hubdeploy_fleet_refuses{limit="max_nodes"} 1.0',
        "hubdeploy_fleet_pending 2.0",
        "hubdeploy_fleet_pending_seconds 95.0",
        "hubdeploy_fleet_age_seconds 5.0",
        "hubdeploy_fleet_users 3.0",
    ):
        assert line in text, line
    rules = yaml.safe_load(
        resources.files("hubdeploy.hub.fleet").joinpath("alerts.yml").read_text()
    )
    names = set(re.findall(r"^(hubdeploy_\w+)", text, re.MULTILINE))
    codes = set(re.findall(r'code="([^"]+)"', text))
    for rule in rules["groups"][0]["rules"]:
        asked = set(re.findall(r"hubdeploy_\w+", rule["expr"]))
        assert asked, rule
        assert asked <= names, rule
        assert set(re.findall(r'code="([^"]+)"', rule["expr"])) <= codes, rule
        assert rule["annotations"]["action"]


def test_metrics_are_there_before_the_first_look() -> None:
    assert b"hubdeploy_fleet_failed_ticks 0.0" in metrics.text(View(), now=NOW)


def test_limits_are_shown_with_how_near_they_are() -> None:
    shown = {gauge.name: (gauge.used, gauge.limit, gauge.level) for gauge in gauges(_view())}
    assert shown["max_nodes"] == ("1", "1", "full")
    assert shown["max_cluster_memory"] == ("16 GiB", "no limit", "none")
    assert shown["max_disk_utilization"] == ("1 GiB", "2 GiB", "fine")


def test_durations_are_said_as_people_say_them() -> None:
    assert [ago(s) for s in (5, 65, 3600, 3725, 90_000)] == [
        "5 s",
        "1 min",
        "1 h",
        "1 h 2 min",
        "1 d 1 h",
    ]


def test_the_chart_says_its_figures_in_words_and_stays_small() -> None:
    samples = [
        Sample(
            at=NOW + minute * 60,
            users=minute % 50,
            waiting=0,
            machines=3,
            coming=0,
            memory=0,
            reserved=0,
        )
        for minute in range(1440)
    ]
    svg = chart(samples, since=NOW, until=NOW + 86_400)
    assert "Now 39 people with servers, 0 waiting, 3 machines." in svg
    assert len(svg) < 20_000
    assert "No history yet" in chart([], since=NOW, until=NOW + 60)


# --- how the hub starts it ------------------------------------------------------------------------

SETTINGS = {
    "deployment": "demo",
    "region": "eu-central-1",
    "account": "123456789012",
    "hub": {"memory": "3G", "cpu": 1.5},
    "workers": {"instance_types": ["m6i.xlarge"]},
    "efs": {"file_system": "fs-1"},
}


def test_what_the_hub_tells_the_service_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("SOME_SECRET", "s3cret")
    limits = Limits(max_nodes=9, max_cluster_memory=64 * GIB)
    entry = hub_service(SETTINGS, limits, token="t0ken", state_dir="/srv/x", homes="/efs/home")
    assert entry["environment"]["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"
    assert "s3cret" not in json.dumps(entry)
    assert "t0ken" not in json.dumps(entry["environment"])
    told = from_environment(entry["environment"])
    assert told.limits == limits
    assert told.names.workers_group("c5.large") == "hubdeploy-demo-workers-c5.large"
    assert (told.policy.slot_memory, told.policy.slot_cpu) == (3 * GIB, 1_500_000_000)
    assert told.file_system == "fs-1"
    assert told.state == Path("/srv/x/fleet")
    for wrong in ({}, {VARIABLE: "{"}, {VARIABLE: "{}"}):
        with pytest.raises(ConfigError):
            from_environment(wrong)


def test_the_jupyterhub_configurations_limits_are_checked() -> None:
    from traitlets.config import Config

    c = Config()
    c.HubFleet.max_cluster_memory = "64G"
    c.HubFleet.max_concurrent_users = 100
    c.HubFleet.max_disk_utilization = "500G"
    c.HubFleet.max_nodes = 12
    limits = HubFleet(config=c).limits()
    assert limits.max_cluster_memory == 64 * GIB
    assert limits.max_disk_utilization == 500 * GIB
    assert (limits.max_nodes, limits.max_concurrent_users) == (12, 100)
    c.HubFleet.max_cluster_memory = "lots"
    with pytest.raises(ConfigError, match=r"c\.HubFleet\.max_cluster_memory"):
        HubFleet(config=c).limits()


def test_the_spawners_token_is_made_once_and_for_root_alone(tmp_path: Path) -> None:
    first = admission_token(tmp_path / "fleet")
    assert len(first) == 64
    assert admission_token(tmp_path / "fleet") == first
    assert os.stat(tmp_path / "fleet" / "admission-token").st_mode & 0o777 == 0o600
    assert read_token(tmp_path / "none") == ""


def test_two_services_never_act_at_once(tmp_path: Path) -> None:
    first, second = OnlyOne(tmp_path), OnlyOne(tmp_path)
    assert first.take()
    assert not second.take()
    del first
    assert second.take()
