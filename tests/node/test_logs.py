"""What of the journal goes where, and in what portions."""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubdeploy.config.names import Role
from hubdeploy.node.logs import Event, Shipper, _lines, batches, event_of, unit_of
from tests.plugins.deployment import Site


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        ({"_SYSTEMD_UNIT": "cloud-final.service"}, "cloud-init"),
        ({"_SYSTEMD_UNIT": "hubdeploy-boot.service"}, "cloud-init"),
        ({"_SYSTEMD_UNIT": "hubdeploy-converge.service"}, "converge"),
        ({"_SYSTEMD_UNIT": "jupyterhub.service"}, "hub"),
        ({"_SYSTEMD_UNIT": "hubdeploy-proxy.service"}, "hub"),
        ({"_SYSTEMD_UNIT": "hubdeploy-goiardi.service"}, "chef"),
        ({"_SYSTEMD_UNIT": "hubdeploy-swarm.service"}, "agent"),
        ({"_SYSTEMD_UNIT": "hubdeploy-nginx.service"}, "nginx"),
        ({"_SYSTEMD_UNIT": "docker.service", "CONTAINER_NAME": "hubdeploy-nginx"}, "nginx"),
        ({"_SYSTEMD_UNIT": "hubdeploy-logs.service", "PRIORITY": "3"}, None),
        ({"_SYSTEMD_UNIT": "docker.service", "CONTAINER_NAME": "jupyter-ada.1.x"}, None),
        ({"_SYSTEMD_UNIT": "ssh.service", "PRIORITY": "6"}, None),
        ({"_SYSTEMD_UNIT": "ssh.service", "PRIORITY": "3"}, "system"),
        ({"_TRANSPORT": "kernel", "PRIORITY": "2"}, "system"),
        ({"UNIT": "hubdeploy-converge.service", "_SYSTEMD_UNIT": "init.scope"}, None),
    ],
)
def test_each_line_goes_to_its_units_group(entry: dict[str, str], key: str | None) -> None:
    assert unit_of(entry) == key


def test_bytes_that_are_no_text_are_sent_as_far_as_they_can_be_read() -> None:
    entry = {"_SYSTEMD_UNIT": "jupyterhub.service", "MESSAGE": [72, 105, 255]}
    event = event_of({**entry, "__REALTIME_TIMESTAMP": "1700000000123456"})
    assert event == Event(unit="hub", at=1700000000123, text="Hi\ufffd")


events = st.builds(
    Event,
    unit=st.just("hub"),
    at=st.integers(0, 10**12),
    text=st.text(min_size=1, max_size=50).map(lambda text: text * 2000),
)


@given(st.lists(events, max_size=40))
def test_batches_keep_everything_in_order_and_within_cloudwatchs_limits(some: list[Event]) -> None:
    made = list(batches(some))
    flat = [event for batch in made for event in batch]
    assert sorted(flat, key=lambda one: one.at) == flat
    assert sorted(map(repr, flat)) == sorted(map(repr, some))
    for batch in made:
        assert len(batch) <= 10_000
        assert sum(event.size for event in batch) <= 1_048_576
        assert batch[-1].at - batch[0].at < 24 * 3600 * 1000


def test_lines_arrive_in_the_instances_stream(site: Site) -> None:
    with site.machine(Role.LEADER, "i-0a") as cloud:
        shipper = Shipper(cloud=cloud)
        now = int(time.time() * 1000)
        shipper.send([Event(unit="hub", at=now, text="one"), Event(unit="nginx", at=now, text="x")])
        shipper.send([Event(unit="hub", at=now + 1, text="two")])
        # a restarted shipper finds its stream again
        Shipper(cloud=cloud).send([Event(unit="hub", at=now + 2, text="three")])
    found = site.account.client("logs").get_log_events(
        logGroupName=site.names.log_group("hub"), logStreamName="i-0a", startFromHead=True
    )
    assert [one["message"] for one in found["events"]] == ["one", "two", "three"]


def test_all_lines_of_a_burst_are_seen_at_once() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as stream:
        lines = _lines(stream, 0.2)
        os.write(writing, b"one\ntwo\nthree\nhalf a")
        assert [next(lines) for _ in range(4)] == ["one", "two", "three", None]
        os.write(writing, b" line\n")
        assert next(lines) == "half a line"
        os.close(writing)
        assert list(lines) == []


def test_a_group_that_is_gone_holds_up_no_other(site: Site) -> None:
    site.account.client("logs").delete_log_group(logGroupName=site.names.log_group("converge"))
    with site.machine(Role.LEADER, "i-0a") as cloud:
        Shipper(cloud=cloud).send(
            [Event(unit="converge", at=1, text="lost"), Event(unit="hub", at=1, text="kept")]
        )
    streams = site.account.client("logs").describe_log_streams(
        logGroupName=site.names.log_group("hub")
    )
    assert [one["logStreamName"] for one in streams["logStreams"]] == ["i-0a"]
