"""How small modules take part: each fills a :class:`Hooks` table, which the cloud merges."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.calls import Call
    from hubdeploy.sandbox.cloud.server import Cloud

Check = Callable[["Cloud", "Call"], None]
"""Raises :class:`~hubdeploy.sandbox.cloud.fault.AwsFault` for what AWS refuses."""
Take = Callable[["Cloud", "Call"], dict[str, Any] | None]
"""Answers instead of moto; None passes the call on."""
Amend = Callable[["Cloud", "Call", dict[str, Any]], None]
"""Puts moto's answer right in place, or notes that the call has taken effect."""

Key = tuple[str, str]


class Hooks:
    """``check`` runs first, ``take`` may answer, ``amend`` follows moto's success."""

    def __init__(self) -> None:
        self.checks: dict[Key, list[Check]] = defaultdict(list)
        self.takes: dict[Key, list[Take]] = defaultdict(list)
        self.amends: dict[Key, list[Amend]] = defaultdict(list)

    def check(self, service: str, *operations: str) -> Callable[[Check], Check]:
        def add(function: Check) -> Check:
            for operation in operations:
                self.checks[service, operation].append(function)
            return function

        return add

    def take(self, service: str, *operations: str) -> Callable[[Take], Take]:
        def add(function: Take) -> Take:
            for operation in operations:
                self.takes[service, operation].append(function)
            return function

        return add

    def amend(self, service: str, *operations: str) -> Callable[[Amend], Amend]:
        def add(function: Amend) -> Amend:
            for operation in operations:
                self.amends[service, operation].append(function)
            return function

        return add

    def merge(self, other: Hooks) -> None:
        for key, checks in other.checks.items():
            self.checks[key].extend(checks)
        for key, takes in other.takes.items():
            self.takes[key].extend(takes)
        for key, amends in other.amends.items():
            self.amends[key].extend(amends)
