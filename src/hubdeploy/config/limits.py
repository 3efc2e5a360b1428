"""How far the fleet may grow, and how eagerly it shrinks.

The same limits live in three places that must agree on their form: ``hubdeploy.toml`` (the
operator's file), the JupyterHub configuration (``c.HubFleet.max_cluster_memory`` and so on) and the
SSM parameter ``limits``, which ``hubdeploy scale`` and the fleet page write and which wins while
the hub runs. This module is that form. Standard library only; nothing here reads or changes
anything.

The parameter also says which limits were changed without the operator's file, by whom, and what
the file said then: the next ``up`` keeps such a change until the file itself says something new.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from hubdeploy.errors import ConfigError

KIB = 1024
_UNITS = {"": 1, "K": KIB, "M": KIB**2, "G": KIB**3, "T": KIB**4, "P": KIB**5}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:([KMGTP])(?:i?B?)?|B)?\s*", re.IGNORECASE)

CHANGED = "changed"
"""Key of the parameter beside the limits: name of a limit to :class:`LiveChange`."""

#: fields whose value is a size in bytes; zero means 'no limit'
SIZES = ("max_cluster_memory", "max_disk_utilization")


def parse_size(value: int | float | str, *, what: str = "size") -> int:
    """Bytes of ``64G``, ``1.5T``, ``512 MiB`` or a plain number of bytes.

    Suffixes are powers of 1024, as JupyterHub reads ``mem_limit``: 1G is 1,073,741,824 bytes.
    Raises ConfigError, naming *what*, for anything else and for a negative number.
    """
    if isinstance(value, bool):
        raise ConfigError(f"{what}: {value!r} is not a size", hint="write it like 64G or 512M")
    if isinstance(value, (int, float)):
        if value != value or value < 0 or value == float("inf"):
            raise ConfigError(f"{what}: {value!r} is not a size", hint="write it like 64G or 512M")
        return int(value)
    match = _SIZE.fullmatch(value)
    if match is None:
        raise ConfigError(f"{what}: {value!r} is not a size", hint="write it like 64G or 512M")
    unit = _UNITS[(match[2] or "").upper()]
    # whole numbers stay exact beyond what a float holds
    return int(match[1]) * unit if match[1].isdecimal() else int(float(match[1]) * unit)


def format_size(count: int) -> str:
    """Shortest text that :func:`parse_size` reads back as exactly *count* bytes."""
    for suffix in ("P", "T", "G", "M", "K"):
        unit = _UNITS[suffix]
        if count >= unit and count % unit == 0:
            return f"{count // unit}{suffix}"
    return str(count)


def show_size(count: float) -> str:
    """For people: at most three digits and a binary unit, ``15.3 GiB``."""
    for suffix in ("P", "T", "G", "M", "K"):
        unit = _UNITS[suffix]
        if count >= unit:
            amount = count / unit
            return f"{amount:.0f} {suffix}iB" if amount >= 100 else f"{amount:.3g} {suffix}iB"
    return f"{count:.0f} B"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the fleet must not exceed. A value of 0 means 'no such limit', except for node counts.

    ``max_cluster_memory`` is the sum over all workers' machines, booting ones included, in bytes;
    ``max_concurrent_users`` counts people with a server running or being started;
    ``max_disk_utilization`` is the file system's metered size in bytes, beyond which no new server
    starts (running ones are left alone); ``headroom`` is how many users of the usual size must fit
    at once without a new machine. In seconds: ``idle_after`` is how long a worker must have been
    empty before it may be ended; ``join_deadline`` is how long after its launch a machine that
    has not joined the swarm is ended.
    """

    min_nodes: int = 0
    max_nodes: int = 4
    headroom: int = 2
    max_cluster_memory: int = 0
    max_concurrent_users: int = 0
    max_disk_utilization: int = 0
    idle_after: int = 300
    join_deadline: int = 900

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ConfigError(
                    f"limits: {field.name} is {value!r}",
                    hint="it has to be a whole number, zero or more",
                )
        if self.min_nodes > self.max_nodes:
            raise ConfigError(
                f"limits: min_nodes {self.min_nodes} is more than max_nodes {self.max_nodes}",
                hint="raise max_nodes or lower min_nodes",
            )

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any], *, base: Limits | None = None) -> Limits:
        """Limits from *data* over *base*; sizes may be text, unknown keys are an error."""
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(data) - known)
        if unknown:
            raise ConfigError(
                f"limits: unknown {', '.join(unknown)}",
                hint=f"known are {', '.join(sorted(known))}",
            )
        values = {
            name: parse_size(value, what=f"limits: {name}") if name in SIZES else value
            for name, value in data.items()
        }
        return replace(base or cls(), **values)

    @classmethod
    def from_json(cls, text: str, *, base: Limits | None = None) -> Limits:
        """The SSM parameter's text; keys that it lacks are taken from *base*."""
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(
                f"limits: not JSON ({error.msg} at character {error.pos})",
                hint="run: hubdeploy scale, which writes the parameter anew",
            ) from error
        if not isinstance(data, dict):
            raise ConfigError("limits: not a JSON object", hint="run: hubdeploy scale")
        data.pop(CHANGED, None)
        return cls.from_mapping(data, base=base)

    def to_json(self) -> str:
        """One line; sizes as text like ``64G``, so that people can read the parameter."""
        data = asdict(self)
        for name in SIZES:
            data[name] = format_size(data[name])
        return json.dumps(data, sort_keys=True)


@dataclass(frozen=True, kw_only=True)
class Contradiction:
    """``key`` (dotted, as in the operator's file) cannot be meant: why, and what to do."""

    key: str
    why: str
    hint: str


def contradiction(limits: Limits, memory: Mapping[str, int]) -> Contradiction | None:
    """Whether machines' memory and the limits can go together.

    *memory*: bytes that a machine of each type has, the preferred type first. The workers that
    always run are of that type; the most can be reached if it can be with the smallest.
    """
    most = limits.max_cluster_memory
    if not most or not memory:
        return None
    kind, size = next(iter(memory.items()))
    if limits.min_nodes * size > most:
        return Contradiction(
            key="workers.min_nodes",
            why=f"{limits.min_nodes} x {kind} have {format_size(limits.min_nodes * size)}, above "
            f"limits.max_cluster_memory {format_size(most)}",
            hint=f"{most // size} at most, or raise limits.max_cluster_memory",
        )
    kind, size = min(memory.items(), key=lambda item: item[1])
    if limits.max_nodes * size > most:
        return Contradiction(
            key="workers.max_nodes",
            why=f"{limits.max_nodes} x {kind} would have {format_size(limits.max_nodes * size)}, "
            f"but limits.max_cluster_memory {format_size(most)} never lets so many start",
            hint=f"{most // size} at most, or raise limits.max_cluster_memory",
        )
    return None


@dataclass(frozen=True, kw_only=True)
class LiveChange:
    """A limit that was changed while the hub ran: by whom, when (ISO), and what the operator's
    file said then (bytes for sizes)."""

    by: str
    at: str
    was: int


def live_changes(text: str | None) -> dict[str, LiveChange]:
    """Of the parameter's text; none where there is no text or no sense in it."""
    try:
        raw = json.loads(text or "{}").get(CHANGED) or {}
        return {
            name: LiveChange(by=str(each["by"]), at=str(each["at"]), was=int(each["was"]))
            for name, each in raw.items()
            if name in Limits.__dataclass_fields__
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}


def parameter(limits: Limits, changes: Mapping[str, LiveChange]) -> str:
    """The parameter's text."""
    data = json.loads(limits.to_json())
    if changes:
        data[CHANGED] = {name: asdict(change) for name, change in sorted(changes.items())}
    return json.dumps(data, sort_keys=True)


def changed_live(text: str | None, before: Limits, after: Limits, *, by: str, at: str) -> str:
    """The parameter's new text when *by* changes the limits that held from *before* to *after*,
    without the operator's file; *text* is the present one."""
    changes = live_changes(text)
    for field in fields(Limits):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if old == new:
            continue
        was = changes[field.name].was if field.name in changes else old
        if new == was:
            del changes[field.name]
        else:
            changes[field.name] = LiveChange(by=by, at=at, was=was)
    return parameter(after, changes)


def carried_over(wanted: Limits, text: str | None) -> tuple[Limits, dict[str, LiveChange]]:
    """What is to hold when the operator's file asks for *wanted*: the live changes that the file
    has not been edited since, over it; and which those are.

    Where both together make no sense, the file wins.
    """
    changes = {
        name: change
        for name, change in live_changes(text).items()
        if getattr(wanted, name) == change.was
    }
    try:
        live = Limits.from_json(text or "{}", base=wanted)
        kept = replace(wanted, **{name: getattr(live, name) for name in changes})
    except ConfigError:
        return wanted, {}
    return kept, changes
