"""A step: one part of the deployment that can be read, planned, made, removed and judged."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from hubdeploy.config.model import Config
from hubdeploy.config.names import Names
from hubdeploy.pipeline.change import Action, Changes, Unknown

if TYPE_CHECKING:
    from hubdeploy.aws.inventory import Inventory
    from hubdeploy.aws.session import Aws

Observed = TypeVar("Observed")

#: the step that the current thread works for; lets deep waits say what they wait for
current_step: ContextVar[str] = ContextVar("current_step", default="")


class Severity(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line about the health of a part, with what to do about it."""

    severity: Severity
    subject: str
    message: str
    hint: str = ""


class Outputs:
    """Ids and facts that steps hand to the steps that need them; safe between threads.

    A missing name is a programming error (a step that forgot to declare its need): ``KeyError``.
    """

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __setitem__(self, name: str, value: Any) -> None:
        with self._lock:
            self._values[name] = value

    def __getitem__(self, name: str) -> Any:
        with self._lock:
            return self._values[name]

    def get(self, name: str, default: Any = None) -> Any:
        with self._lock:
            return self._values.get(name, default)

    def __iter__(self) -> Iterator[str]:
        with self._lock:
            return iter(list(self._values))


@dataclass(kw_only=True)
class Context:
    """What a step works with during one run; made anew for each run.

    ``inventory`` caches bulk reads within the run. ``planning`` is true while changes are only
    listed: ``outputs`` may then hold :class:`~hubdeploy.pipeline.change.Unknown` values.
    ``say(text)`` tells the watcher what the current step is waiting for.
    """

    config: Config
    names: Names
    aws: Aws
    inventory: Inventory
    outputs: Outputs = field(default_factory=Outputs)
    planning: bool = False
    cancelled: threading.Event = field(default_factory=threading.Event)
    say: Callable[[str], object] = str
    key_folder: Path | None = None
    """Where the operator's SSH key is kept, if not where it is for deployments on AWS."""
    delete_files: str = ""
    """``down --delete-files NAME``: the file system's users' files go too."""


class Step(ABC, Generic[Observed]):
    """One part of the deployment.

    ``name`` is unique and dotted (``network.vpc``); ``needs`` names the steps whose outputs or
    effects this one uses; ``title`` is what people see. ``observe`` reads only; ``changes``
    compares and yields; ``destroy`` yields the removal of everything that ``changes`` could have
    made, in a safe order, finding it by tag and never by remembered state.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx

    @abstractmethod
    def observe(self) -> Observed:
        """Read what is there now (by tag), through the inventory where it can."""

    @abstractmethod
    def changes(self, observed: Observed) -> Changes:
        """Yield what must change, and set the outputs that others need."""

    def destroy(self, observed: Observed) -> Changes:
        """Yield the removal of what is there; by default there is nothing to remove."""
        del observed
        yield from ()

    def health(self, observed: Observed) -> list[Finding]:
        """Judge what is there: healthy is what `up` would leave alone, and not wait for.

        Only in a planning run (:func:`hubdeploy.pipeline.runner.health`): nothing is carried out.
        A step with more to tell than differences overrides this.
        """
        generator, found = self.changes(observed), list[Finding]()
        result: Any = None
        while True:
            try:
                change = generator.send(result)
            except StopIteration:
                return found
            result = Unknown(change.resource)
            if change.action.mutates:
                found.append(
                    Finding(
                        severity=Severity.ERROR,
                        subject=change.resource,
                        message=f"to {change.action.value}: {change.title}",
                        hint="`hubdeploy plan` shows it, `hubdeploy up` mends it",
                    )
                )
            elif change.action is Action.WAIT:
                found.append(
                    Finding(
                        severity=Severity.WARNING,
                        subject=change.resource,
                        message=f"not there yet: {change.title.removeprefix('wait for ')}",
                        hint="`hubdeploy up` waits for it, and says what it sees meanwhile",
                    )
                )
