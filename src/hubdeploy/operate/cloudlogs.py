"""What the machines sent to CloudWatch Logs: also of machines that have ended."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from hubdeploy.aws.session import Aws
from hubdeploy.config.names import Names
from hubdeploy.errors import AwsError, ConfigError
from hubdeploy.operate import logs
from hubdeploy.operate.logs import Found
from hubdeploy.operate.status import Machine

RECENT = 86_400.0
"""Seconds; without ``--since``, machines that ended longer ago are left out."""
PAGE = 10_000
"""Events that GetLogEvents returns at most."""
MOST_PAGES = 50


def read(
    name: str, there: Sequence[Machine], *, on: str | None, lines: int, since: str, aws: Aws,
    names: Names,
) -> list[Found]:  # fmt: skip
    """The last ``lines`` of a log by machine, those that have ended after those that run.

    ``on``: a machine or a role; an instance id may be that of one that has ended. A machine that
    sent nothing is left out.
    """
    if name.startswith("user/"):
        raise ConfigError(
            "users' own output is never sent to CloudWatch",
            hint=f"hubdeploy logs {name} --from machine",
        )
    unit = logs.named(name)
    group = names.log_group(unit.group)
    past = logs.seconds(since) if since else 0.0
    labels = {
        m.instance_id: m.label
        for m in there
        if m.role in unit.roles and on in (None, "all", m.role, m.label, m.instance_id)
    }
    known = {m.instance_id for m in there}
    begin = time.time() - (past or RECENT)
    try:
        sent = [s["logStreamName"] for s in _streams(group, aws=aws) if _last(s) >= begin]
    except AwsError as error:
        if error.code != "ResourceNotFoundException":
            raise
        return []
    ended = [s for s in sent if s not in known and on in (None, "all", s)]
    wanted = {**{i: labels[i] for i in labels if i in sent}, **{i: f"{i} (ended)" for i in ended}}

    def one(stream: str) -> str:
        return _tail(
            group, stream, lines=lines, begin=begin if past else 0.0, marked=unit.marked, aws=aws
        )

    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(one, wanted))
    return [
        Found(label=label, text=text)
        for label, text in zip(wanted.values(), texts, strict=True)
        if text
    ]


def _streams(group: str, *, aws: Aws) -> list[dict[str, Any]]:
    """A stream is called as its instance."""
    return aws.pages("logs", "describe_log_streams", "logStreams", logGroupName=group)


def _last(stream: dict[str, Any]) -> float:
    """Seconds since 1970 of the newest sign of it; the time of its last event comes late."""
    times = ("lastEventTimestamp", "lastIngestionTime", "creationTime")
    return max(int(stream.get(name) or 0) for name in times) / 1000


def _tail(
    group: str, stream: str, *, lines: int, begin: float, marked: str, aws: Aws
) -> str:  # fmt: skip
    looked = min(lines * 50, 100_000) if marked else lines
    more: dict[str, Any] = {"startTime": int(begin * 1000)} if begin else {}
    events: list[dict[str, Any]] = []
    for _ in range(MOST_PAGES):
        got = aws.call(
            "logs",
            "get_log_events",
            logGroupName=group,
            logStreamName=stream,
            startFromHead=False,
            limit=min(PAGE, looked - len(events)),
            **more,
        )
        events = [*got["events"], *events]
        token = got.get("nextBackwardToken")
        # pages may be empty; that it is the first one shows in the token alone
        if len(events) >= looked or not token or token == more.get("nextToken"):
            break
        more["nextToken"] = token
    shown = [_line(event) for event in events if marked in event["message"].lower()]
    return "\n".join(shown[-lines:])


def _line(event: dict[str, Any]) -> str:
    at = datetime.fromtimestamp(event["timestamp"] / 1000, tz=UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S+0000} {event['message'].rstrip()}"
