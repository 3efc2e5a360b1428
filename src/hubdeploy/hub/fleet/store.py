"""What the fleet keeps on the leader's state volume: its memory, decisions, samples. Bounded.

One SQLite file. Losing it harms nothing: times of being empty start anew, the history is short.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from hubdeploy.hub.fleet.act import Done
from hubdeploy.hub.fleet.model import Action, Memory

log = logging.getLogger(__name__)

MOST_DECISIONS = 20_000
SAMPLES_FOR = 14 * 86_400.0
SAMPLE_EVERY = 60.0
MOST_FAILURES = 20
CONSOLE_TAIL = 64 * 1024

SCHEMA = """
create table if not exists decisions (
    id integer primary key autoincrement, at real, kind text, subject text, reason text,
    ok integer, outcome text
);
create table if not exists samples (
    at real primary key, users integer, waiting integer, machines integer, coming integer,
    memory integer, reserved integer, disk integer
);
create table if not exists boots (at real, seconds real);
create table if not exists state (name text primary key, value text);
"""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One row of the history; ``times``: how often in a row the same was decided."""

    at: float
    kind: str
    subject: str
    reason: str
    ok: bool
    outcome: str


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The fleet at one minute. Memory and disk in bytes; ``disk`` 0 while unknown."""

    at: float
    users: int
    waiting: int
    machines: int
    coming: int
    memory: int
    reserved: int
    disk: int = 0


class Store:
    """May be shared between threads. A damaged file is moved aside and begun anew."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self._lock = threading.Lock()
        self._last_sample = 0.0
        self._last_kinds: dict[tuple[str, str], str] = {}
        file = folder / "fleet.sqlite"
        try:
            self._db = self._open(file)
        except sqlite3.DatabaseError as error:
            log.error("%s is damaged (%s): kept as fleet.damaged, begun anew", file, error)
            file.replace(folder / "fleet.damaged")
            self._db = self._open(file)

    @staticmethod
    def _open(file: Path) -> sqlite3.Connection:
        db = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        db.execute("pragma journal_mode=wal")
        db.execute("pragma synchronous=normal")
        db.executescript(SCHEMA)
        return db

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # --- memory --------------------------------------------------------------------------------

    def memory(self) -> Memory:
        text = self._value("memory")
        if text is None:
            return Memory()
        known = {field.name for field in fields(Memory)}
        try:
            data = {name: value for name, value in json.loads(text).items() if name in known}
            for name in ("chef_left", "chef_done"):
                data[name] = tuple(data.get(name, ()))
            data["told"] = {n: tuple(users) for n, users in data.get("told", {}).items()}
            return Memory(**data)
        except (ValueError, TypeError, AttributeError) as error:
            log.warning("the fleet's memory cannot be read (%s): begun anew", error)
            return Memory()

    def put_memory(self, memory: Memory) -> None:
        self._put("memory", json.dumps(asdict(memory)))

    def _value(self, name: str) -> str | None:
        with self._lock:
            row = self._db.execute("select value from state where name = ?", (name,)).fetchone()
        return str(row[0]) if row else None

    def _put(self, name: str, value: str) -> None:
        with self._lock:
            self._db.execute("insert or replace into state values (?, ?)", (name, value))

    # --- history -------------------------------------------------------------------------------

    def put(self, now: float, done: Iterable[Done]) -> list[Done]:
        """Write down what is new: a state that lasts (an alarm) is written when it begins or
        changes. Answers what was written."""
        kinds: dict[tuple[str, str], str] = {}
        new = []
        for each in done:
            action = each.action
            key = (_kind(action), action.subject + str(getattr(action, "code", "")))
            text = f"{each.ok} {each.outcome} {action.reason if not _lasts(action) else ''}"
            kinds[key] = text
            if self._last_kinds.get(key) != text or (each.ok and not _lasts(action)):
                new.append(each)
        self._last_kinds = kinds
        self.note(now, *new)
        return new

    def note(self, now: float, *done: Done) -> None:
        """Write down what was done, repeated or not."""
        rows = [
            (now, _kind(d.action), d.action.subject, d.action.reason, int(d.ok), d.outcome)
            for d in done
        ]
        if not rows:
            return
        with self._lock:
            self._db.executemany(
                "insert into decisions (at, kind, subject, reason, ok, outcome) "
                "values (?, ?, ?, ?, ?, ?)",
                rows,
            )
            self._db.execute(
                "delete from decisions where id <= (select max(id) from decisions) - ?",
                (MOST_DECISIONS,),
            )

    def decisions(self, count: int = 50) -> list[Decision]:
        """The newest first."""
        with self._lock:
            rows = self._db.execute(
                "select at, kind, subject, reason, ok, outcome from decisions "
                "order by id desc limit ?",
                (count,),
            ).fetchall()
        return [
            Decision(at=at, kind=kind, subject=subject, reason=reason, ok=bool(ok), outcome=outcome)
            for at, kind, subject, reason, ok, outcome in rows
        ]

    def sample(self, sample: Sample) -> None:
        """Kept once a minute, for two weeks."""
        if sample.at - self._last_sample < SAMPLE_EVERY:
            return
        self._last_sample = sample.at
        with self._lock:
            self._db.execute(
                "insert or replace into samples values (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    sample.at,
                    sample.users,
                    sample.waiting,
                    sample.machines,
                    sample.coming,
                    sample.memory,
                    sample.reserved,
                    sample.disk,
                ),
            )
            self._db.execute("delete from samples where at < ?", (sample.at - SAMPLES_FOR,))

    def samples(self, since: float) -> list[Sample]:
        """Oldest first."""
        names = [field.name for field in fields(Sample)]
        with self._lock:
            rows = self._db.execute(
                f"select {', '.join(names)} from samples where at >= ? order by at", (since,)
            ).fetchall()
        return [Sample(**dict(zip(names, row, strict=True))) for row in rows]

    # --- boots ---------------------------------------------------------------------------------

    def booted(self, now: float, seconds: float) -> None:
        """A machine was let in *seconds* after its launch."""
        with self._lock:
            self._db.execute("insert into boots values (?, ?)", (now, seconds))
            self._db.execute(
                "delete from boots where rowid <= (select max(rowid) from boots) - 200"
            )

    def boot_seconds(self, otherwise: float = 150.0) -> float:
        """Median of the last boots."""
        with (
            self._lock,
            closing(
                self._db.execute("select seconds from boots order by rowid desc limit 25")
            ) as cursor,
        ):
            seconds = sorted(row[0] for row in cursor)
        return float(seconds[len(seconds) // 2]) if seconds else otherwise

    # --- machines that failed --------------------------------------------------------------------

    def keep_console(self, instance: str, text: str) -> None:
        """The tail of a failed machine's console, for the newest few."""
        folder = self.folder / "failed"
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / f"{instance}.log").write_text(text[-CONSOLE_TAIL:])
        files = sorted(folder.glob("*.log"), key=lambda file: file.stat().st_mtime)
        for old in files[:-MOST_FAILURES]:
            old.unlink(missing_ok=True)

    def console(self, instance: str) -> str | None:
        file = self.folder / "failed" / f"{Path(instance).name}.log"
        return file.read_text(errors="replace") if file.is_file() else None


def _kind(action: Action) -> str:
    return type(action).__name__


def _lasts(action: Action) -> bool:
    """Whether it is repeated at every look while the state lasts, with figures that vary."""
    return _kind(action) in ("Alarm", "RefuseNewServers", "Hold")
