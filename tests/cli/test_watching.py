"""What ``status --watch`` tells: what is new, once; what failed, without ending."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from rich.console import Console

from hubdeploy.cli import watching
from hubdeploy.cli.views import machines_table
from hubdeploy.cli.watching import Look, News
from hubdeploy.errors import AwsError
from hubdeploy.operate.fleet import Decided, Gauge, Glance, gauges
from hubdeploy.operate.status import Group, Machine, Status

GB = 1 << 30
ASKED = Decided(
    at=100.0, kind="SetDesired", subject="demo-workers", reason="two wait", ok=True, outcome=""
)


def machine(number: int, phase: str = "ready", detail: str = "") -> Machine:
    return Machine(
        label=f"worker/{number}",
        role="worker",
        instance_id=f"i-0{number:016x}",
        instance_type="m6i.2xlarge",
        zone="eu-central-1a",
        private_ip=f"10.42.100.{number}",
        public_ip="",
        state="running",
        phase=phase,
        detail=detail,
        since="",
        launched="",
    )


def status(*machines: Machine, desired: int = 2) -> Status:
    return Status(
        deployment="demo",
        region="eu-central-1",
        exists=True,
        url="https://notebooks.example.org",
        machines=list(machines),
        group=Group(minimum=1, desired=desired, maximum=10, in_service=len(machines)),
        limits={"max_nodes": 10, "max_cluster_memory": "64G", "max_concurrent_users": 30},
    )


SEEN = Glance(users=25, waiting=("ada: no suitable node",), memory=64 * GB, reserved=20 * GB)


def test_a_limit_says_how_near_it_is() -> None:
    words = {g.name: g.words for g in gauges(status(machine(1)), SEEN)}
    assert words == {
        "machines": "1 of 10",
        "memory": "64 GiB of 64 GiB (at the limit)",
        "users": "25 of 30 (near the limit)",
        "disk": "0 B, no limit",
    }
    assert Gauge(name="x", used=0, limit=0).near == ""


def test_the_first_look_tells_everything_and_the_same_again_nothing() -> None:
    news = News()
    look = Look(at=0, now=status(machine(1), machine(2)), seen=replace(SEEN, decisions=(ASKED,)))
    first = news.of(look)
    for needle in (
        "hub: https://notebooks.example.org",
        "users: 25 of 30 (near the limit)",
        "reserved: 20 GiB of 64 GiB",
        "waiting: ada: no suitable node",
        f"worker/1 {machine(1).instance_id}: ready",
    ):
        assert needle in first
    assert first[-1].endswith("SetDesired demo-workers: two wait")
    assert news.of(look) == []


def test_only_what_changed_is_told() -> None:
    news = News()
    news.of(Look(at=0, now=status(machine(1), machine(2)), seen=SEEN))
    failed = replace(ASKED, at=200.0, ok=False, outcome="no capacity")
    told = news.of(
        Look(
            at=1,
            now=status(machine(1, "failed", "no disk"), machine(3, "booting")),
            seen=replace(SEEN, waiting=(), decisions=(failed,)),
        )
    )
    assert told[:-1] == [
        "waiting: nobody",
        f"worker/1 {machine(1).instance_id}: ready -> failed (no disk)",
        f"worker/3 {machine(3).instance_id}: booting",
        f"worker/2 {machine(2).instance_id}: gone",
    ]
    assert told[-1].endswith("two wait (failed: no capacity)")


def test_a_look_that_fails_is_told_once_and_the_next_one_goes_on() -> None:
    answers = [True, False, False, True]

    def look() -> tuple[Status, Glance | None]:
        if not answers.pop(0):
            raise AwsError("ec2: RequestLimitExceeded", code="RequestLimitExceeded")
        return status(machine(1)), SEEN

    found = list(watching.looks(look, every=0.001, times=4))
    news = News()
    told = [news.of(each) for each in found]
    assert told[0]
    assert told[1:] == [["problem: ec2: RequestLimitExceeded"], [], ["answers again"]]
    assert found[1].as_dict()["problem"] == "ec2: RequestLimitExceeded"
    assert found[1].as_dict()["status"] == found[0].as_dict()["status"]


def test_where_nothing_can_be_had_from_the_start_it_is_an_error() -> None:
    def look() -> tuple[Status, Glance | None]:
        raise AwsError("no credentials", code="ExpiredToken")

    with pytest.raises(AwsError):
        next(watching.looks(look, every=0, times=0))


def test_json_is_an_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    def found() -> Iterator[Look]:
        for at in (0.0, 1.0):
            yield Look(at=at, now=status(machine(1)), seen=SEEN)

    watching.as_json(found())
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["at"] for line in lines] == [
        "1970-01-01T00:00:00+00:00",
        "1970-01-01T00:00:01+00:00",
    ]
    assert lines[0]["fleet"]["users"] == 25
    assert {limit["name"]: limit["near"] for limit in lines[0]["limits"]}["memory"] == "at"


def shown(renderable: object, *, width: int, height: int = 24) -> list[str]:
    out = Console(file=io.StringIO(), width=width, height=height, highlight=False)
    out.print(renderable)
    file = out.file
    assert isinstance(file, io.StringIO)
    return file.getvalue().rstrip("\n").split("\n")


@pytest.mark.parametrize("width", [40, 60, 80, 160])
@pytest.mark.parametrize("height", [24, 50])
def test_the_view_fits_every_window_and_shows_trouble_first(width: int, height: int) -> None:
    many = [machine(n) for n in range(1, 60)] + [machine(99, "failed", "its disk is full")]
    out = Console(file=io.StringIO(), width=width, height=height)
    look = Look(at=0, now=status(*many), seen=replace(SEEN, decisions=(ASKED,) * 3))
    lines = shown(watching.view(look, out, every=2), width=width, height=height)
    assert max(len(line) for line in lines) <= width
    assert len(lines) <= height
    text = "\n".join(lines)
    assert "worker/99" in text
    assert "more machines" in text
    assert "two wait" in " ".join(text.split())
    assert "…" not in text


@pytest.mark.parametrize("width", [30, 40, 44, 60, 76, 80, 200])
def test_a_table_of_machines_folds_and_cuts_nothing(width: int) -> None:
    detail = "pulling the notebook image, layer 7 of 12"
    lines = shown(machines_table([machine(12, "joining", detail)], width=width), width=width)
    assert max(len(line) for line in lines) <= width
    squeezed = "".join("".join(lines).split())
    assert "worker/12" in squeezed
    assert "…" not in squeezed
    for word in detail.split():
        assert word in squeezed
    if width >= 80:
        assert "10.42.100.12" in squeezed
