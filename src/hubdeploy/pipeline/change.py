"""A change to the deployment: what it is, for people, and how to carry it out.

Steps yield changes; ``plan`` only lists them, ``up`` and ``down`` carry each out as it is yielded
and send its result back into the generator. In a plan the result is :class:`Unknown`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Action(StrEnum):
    """What a change does; :attr:`WAIT` changes nothing and is not counted."""

    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"
    KEEP = "keep"
    """``down`` leaves the resource on purpose (users' files)."""
    WAIT = "wait"

    @property
    def mutates(self) -> bool:
        return self not in (Action.KEEP, Action.WAIT)


class Unknown(str):
    """An id that exists only after the change that makes it; stands in for it in a plan."""

    __slots__ = ()

    def __new__(cls, resource: str) -> Unknown:
        return super().__new__(cls, f"({resource}: known after apply)")


@dataclass(frozen=True, kw_only=True)
class FieldChange:
    """One field's old and new value as text; ``old`` is empty for what does not exist yet."""

    name: str
    old: str = ""
    new: str = ""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One mutating call (or a few that belong together) and its description.

    ``resource`` is the logical name (tag ``hubdeploy:resource``), ``title`` a few words for
    people without secrets. ``disrupts`` says what users would notice, or is empty; a change with
    it is carried out only when confirmed. ``apply`` returns what the step needs to go on (an id).
    """

    action: Action
    resource: str
    title: str
    apply: Callable[[], Any]
    fields: tuple[FieldChange, ...] = ()
    reason: str = ""
    disrupts: str = ""


Changes = Generator[Change, Any, None]
"""What a step yields; each ``yield`` evaluates to the change's result."""


def differences(old: dict[str, Any], new: dict[str, Any]) -> tuple[FieldChange, ...]:
    """The fields of ``new`` whose value is another in ``old``, in ``new``'s order."""
    return tuple(
        FieldChange(name=name, old=str(old.get(name, "")), new=str(value))
        for name, value in new.items()
        if old.get(name) != value
    )
