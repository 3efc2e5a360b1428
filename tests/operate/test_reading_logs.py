"""Logs from the machines while they answer, and from CloudWatch when they do not or are gone."""

from __future__ import annotations

import time

import pytest
from tests.plugins.standing import Standing

from hubdeploy.errors import ConfigError
from hubdeploy.operate import status
from hubdeploy.operate.logs import Found
from hubdeploy.operate.reading import Reader
from hubdeploy.remote.ssm import SsmChannel

GONE = "i-0123456789abcdef0"


@pytest.fixture
def reader(standing: Standing) -> Reader:
    return reading(standing)


def reading(standing: Standing, source: str = "auto") -> Reader:
    said: list[str] = []
    made = Reader(
        aws=standing.aws,
        names=standing.names,
        there=status.machines(aws=standing.aws, names=standing.names),
        channel=SsmChannel(aws=standing.aws, bucket=standing.names.bucket, every=0.2),
        source=source,
        say=said.append,
    )
    object.__setattr__(made, "said", said)
    return made


def said(reader: Reader) -> list[str]:
    found: list[str] = reader.said  # type: ignore[attr-defined]
    return found


def sent(standing: Standing, unit: str, instance: str, *lines: str, ago: float = 60) -> None:
    """As the machines' agent ships them."""
    group = standing.names.log_group(unit)
    at = int((time.time() - ago) * 1000)
    events = [{"timestamp": at + n, "message": line} for n, line in enumerate(lines)]
    call = standing.aws.call
    call("logs", "create_log_stream", logGroupName=group, logStreamName=instance)
    call("logs", "put_log_events", logGroupName=group, logStreamName=instance, logEvents=events)


def by_label(found: list[Found]) -> dict[str, str]:
    return {each.label: each.text for each in found}


def stop(standing: Standing, reader: Reader, label: str) -> str:
    machine = next(m for m in reader.there if m.label == label)
    standing.aws.call("ec2", "stop_instances", InstanceIds=[machine.instance_id])
    channel = reader.channel
    assert isinstance(channel, SsmChannel)
    standing.cloud.wait(lambda: machine.instance_id not in channel.online(), what="the stop")
    return machine.instance_id


def test_machines_that_answer_are_asked_themselves(standing: Standing, reader: Reader) -> None:
    sent(standing, "converge", reader.there[0].instance_id, "from the cloud")
    found = reader.read("converge", on=None, lines=10, since="")
    assert [f.label for f in found] == ["leader", "worker/1", "worker/2"]
    assert "from the cloud" not in str(found)
    assert said(reader) == []


def test_one_that_does_not_answer_is_read_from_cloudwatch_and_a_line_says_so(
    standing: Standing, reader: Reader
) -> None:
    instance = stop(standing, reader, "worker/2")
    sent(standing, "converge", instance, "first words", "last words")
    found = by_label(reader.read("converge", on=None, lines=1, since=""))
    assert found["worker/2"].endswith("+0000 last words")
    assert "first words" not in found["worker/2"]
    assert said(reader) == ["worker/2: offline; what it sent to CloudWatch follows"]


def test_one_that_sent_nothing_keeps_its_problem(standing: Standing, reader: Reader) -> None:
    stop(standing, reader, "worker/2")
    found = {f.label: f for f in reader.read("converge", on=None, lines=1, since="")}
    assert (found["worker/2"].problem, found["worker/2"].text) == ("offline", "")


def test_a_machine_that_has_ended_is_found_by_its_id(standing: Standing, reader: Reader) -> None:
    sent(standing, "cloud-init", GONE, "went wrong here")
    (found,) = reader.read("boot", on=GONE, lines=10, since="")
    assert found.label == f"{GONE} (ended)"
    assert "went wrong here" in found.text
    assert "from CloudWatch" in said(reader)[0]
    everything = reader.everything(GONE, lines=10, since="")
    assert f"{GONE} (ended) boot" in everything


def test_from_cloudwatch_all_that_ran_lately_are_shown_and_older_ones_when_asked_for(
    standing: Standing,
) -> None:
    cloud = reading(standing, "cloudwatch")
    sent(standing, "hub", cloud.there[0].instance_id, "hub starts", "fleet: machine asked for")
    sent(standing, "hub", GONE, "long ago", ago=3 * 3600)
    found = by_label(cloud.read("hub", on=None, lines=10, since=""))
    assert list(found) == ["leader", f"{GONE} (ended)"]
    assert by_label(cloud.read("hub", on=None, lines=10, since="1h")).keys() == {"leader"}
    fleet = by_label(cloud.read("fleet", on=None, lines=10, since=""))
    assert [line.split(" ", 1)[1] for line in fleet["leader"].splitlines()] == [
        "fleet: machine asked for"
    ]


def test_more_lines_than_one_page_come_in_order(
    standing: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubdeploy.operate.cloudlogs.PAGE", 3)
    cloud = reading(standing, "cloudwatch")
    sent(standing, "hub", GONE, *(f"line {n}" for n in range(10)))
    (found,) = cloud.read("hub", on=GONE, lines=8, since="")
    assert [line.split()[-1] for line in found.text.splitlines()] == [str(n) for n in range(2, 10)]


def test_what_users_notebooks_say_is_not_in_cloudwatch(standing: Standing) -> None:
    with pytest.raises(ConfigError, match="never sent to CloudWatch"):
        reading(standing, "cloudwatch").read("user/ada", on=None, lines=10, since="")


def test_a_log_that_nobody_writes_is_named_wherever_it_is_looked_for(standing: Standing) -> None:
    for source in ("auto", "cloudwatch"):
        with pytest.raises(ConfigError, match="no log is called 'hbu'"):
            reading(standing, source).read("hbu", on=None, lines=10, since="")
