"""The journal to CloudWatch Logs: small, with a cursor, so that nothing is sent twice or lost."""

from __future__ import annotations

import json
import logging
import os
import re
import selectors
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from hubdeploy.errors import AwsError, HubdeployError
from hubdeploy.node import release, system
from hubdeploy.node.aws import Cloud
from hubdeploy.node.waiting import patiently

log = logging.getLogger(__name__)

_FLUSH_SECONDS = 5.0
_FLUSH_EVENTS = 500
_FLUSH_BYTES = 500_000
"""Half of what PutLogEvents takes, which counts 26 bytes more an event."""
_EVENT_BYTES = 200_000
_WARNING = 4
_CURSOR_FILE = "journal.cursor"

_UNITS: tuple[tuple[str, str], ...] = (
    (r"cloud-(init|config|final).*|hubdeploy-boot", "cloud-init"),
    (r"hubdeploy-converge", "converge"),
    (r"(hubdeploy-hub|jupyterhub|hubdeploy-proxy|configurable-http-proxy)(-.*)?", "hub"),
    (r"hubdeploy-nginx", "nginx"),
    (r"hubdeploy-goiardi|goiardi|(private_chef|cinc).*", "chef"),
    (r"hubdeploy-.*", "agent"),
)


@dataclass(frozen=True, kw_only=True)
class Event:
    """One line: group's key, milliseconds since 1970, text."""

    unit: str
    at: int
    text: str

    @property
    def size(self) -> int:
        return len(self.text.encode()) + 26


def unit_of(entry: Mapping[str, Any]) -> str | None:
    """The group's key of a journal entry; None for what is not sent.

    Notebooks' own output is never sent: it is the users'.
    """
    container = entry.get("CONTAINER_NAME")
    if container is not None:
        return "nginx" if container == "hubdeploy-nginx" else None
    name = str(entry.get("_SYSTEMD_UNIT") or entry.get("UNIT") or "").removesuffix(".service")
    for pattern, key in _UNITS:
        if re.fullmatch(pattern, name):
            # what the shipper says of itself would make it ship for ever
            return None if name == "hubdeploy-logs" else key
    try:
        priority = int(entry.get("PRIORITY", 6))
    except (TypeError, ValueError):
        priority = 6
    return "system" if priority <= _WARNING else None


def event_of(entry: Mapping[str, Any]) -> Event | None:
    """A journal entry (``journalctl -o json``) as an event; None if it is not to be sent."""
    unit = unit_of(entry)
    message = entry.get("MESSAGE")
    if isinstance(message, list):  # bytes that are no UTF-8 come as numbers
        message = bytes(message).decode(errors="replace")
    if unit is None or not message:
        return None
    if unit in ("system", "agent"):
        source = entry.get("SYSLOG_IDENTIFIER") or entry.get("_SYSTEMD_UNIT") or "kernel"
        message = f"{source}: {message}"
    at = int(entry.get("__REALTIME_TIMESTAMP", time.time() * 1e6)) // 1000
    return Event(unit=unit, at=at, text=str(message)[:_EVENT_BYTES])


def batches(events: Iterable[Event]) -> Iterator[list[Event]]:
    """In order of time, none bigger than PutLogEvents takes, none spanning more than a day."""
    batch: list[Event] = []
    size = 0
    for event in sorted(events, key=lambda one: one.at):
        day = batch and event.at - batch[0].at > 23 * 3600 * 1000
        if batch and (day or len(batch) >= _FLUSH_EVENTS or size + event.size > _FLUSH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += event.size
    if batch:
        yield batch


@dataclass(kw_only=True)
class Shipper:
    """Sends events; makes the stream of this instance in each group when it is first needed."""

    cloud: Cloud
    groups: Mapping[str, str] = field(default_factory=dict)
    _streams: set[str] = field(default_factory=set)

    def group(self, unit: str) -> str:
        return self.groups.get(unit) or self.cloud.machine.names.log_group(unit)

    def send(self, events: Iterable[Event]) -> None:
        """Raises AwsError when a group cannot be written."""
        by_unit: dict[str, list[Event]] = {}
        for event in events:
            by_unit.setdefault(event.unit, []).append(event)
        for unit, some in by_unit.items():
            group = self.group(unit)
            try:
                for batch in batches(some):
                    self._put(group, batch)
            except AwsError as error:
                if error.code != "ResourceNotFoundException":
                    raise
                # somebody removed the group; the others go on
                self._streams.discard(group)
                log.warning("there is no log group %s: %d lines dropped", group, len(some))

    def _put(self, group: str, batch: list[Event]) -> None:
        stream = self.cloud.machine.identity.instance_id
        if group not in self._streams:
            try:
                self.cloud.call(
                    "logs", "create_log_stream", logGroupName=group, logStreamName=stream
                )
            except AwsError as error:
                if error.code != "ResourceAlreadyExistsException":
                    raise
            self._streams.add(group)
        self.cloud.call(
            "logs",
            "put_log_events",
            logGroupName=group,
            logStreamName=stream,
            logEvents=[{"timestamp": one.at, "message": one.text} for one in batch],
        )


# ------------------------------------------------------------------------------- following


def _follow(cursor: Path) -> subprocess.Popen[bytes]:
    command = ["journalctl", "--output=json", "--follow", "--no-pager"]
    kept = cursor.read_text().strip() if cursor.is_file() else ""
    command.append(f"--after-cursor={kept}" if kept else "--lines=all")
    return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, bufsize=0)


def _lines(stream: IO[bytes], seconds: float) -> Iterator[str | None]:
    """Lines as they come; None whenever ``seconds`` pass without one.

    Read without a buffer of Python's: lines in it are not seen by the selector, and the end of a
    burst would wait for the next one.
    """
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while True:
            if not selector.select(seconds):
                yield None
                continue
            block = os.read(stream.fileno(), 1 << 16)
            if not block:
                return
            *lines, rest = (rest + block).split(b"\n")
            yield from (line.decode(errors="replace") for line in lines)


def ship(cloud: Cloud) -> None:
    """Follow the journal and send; ends only when journalctl does.

    Raises:
        HubdeployError: journalctl ended.
    """
    try:
        groups = release.settings(cloud)["log_groups"]
    except HubdeployError:  # before the first release: the names are known all the same
        groups = {}
    shipper = Shipper(cloud=cloud, groups=groups)
    cursor = cloud.machine.state(_CURSOR_FILE)
    process = _follow(cursor)
    assert process.stdout is not None
    waiting: list[Event] = []
    last = ""
    flushed = time.monotonic()
    try:
        for line in _lines(process.stdout, _FLUSH_SECONDS):
            if line is not None:
                entry = _parsed(line)
                last = str(entry.get("__CURSOR", last))
                event = event_of(entry)
                if event is not None:
                    waiting.append(event)
            due = time.monotonic() - flushed >= _FLUSH_SECONDS
            if len(waiting) >= _FLUSH_EVENTS or (due and waiting):
                _flush(shipper, waiting)
                system.write(cursor, last)
                waiting = []
                flushed = time.monotonic()
            elif due:
                flushed = time.monotonic()
    finally:
        process.terminate()
        process.wait(timeout=10)
    raise HubdeployError(f"journalctl ended with {process.returncode}")


def _parsed(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _flush(shipper: Shipper, events: list[Event]) -> None:
    """Patiently; what CloudWatch will not take in ten minutes is dropped rather than all that
    comes after it."""
    try:
        patiently(lambda: shipper.send(events), on=(AwsError,), seconds=600, most=60)
    except AwsError as error:
        log.warning("%d lines could not be shipped: %s", len(events), error)
