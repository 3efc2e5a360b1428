"""What a check is, and how many of them run at once without one holding up the rest."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from queue import Empty, SimpleQueue
from typing import ClassVar

from hubdeploy.doctor.context import DoctorContext
from hubdeploy.errors import ConfigError, HubdeployError
from hubdeploy.pipeline.step import Finding, Severity

log = logging.getLogger(__name__)


class Stage(StrEnum):
    """When a check makes sense."""

    BEFORE = "before"
    """Can `up` succeed here? Needs no deployment."""
    AFTER = "after"
    """Is what stands healthy? Needs a deployment."""
    ALWAYS = "always"


class Check(ABC):
    """One rule. ``find`` reads only and returns what is wrong (nothing: all is well).

    ``repair``, where it is overridden, mends what ``find`` found, is safe to run at any time, and
    says what it did.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    stage: ClassVar[Stage]
    deadline: ClassVar[float] = 20.0
    """Seconds."""
    mending: ClassVar[float] = 60.0
    """Seconds more for the repair and the second look."""
    offline: ClassVar[bool] = False
    """Has something to say without credentials too."""

    def __init__(self, ctx: DoctorContext) -> None:
        self.ctx = ctx

    @abstractmethod
    def find(self) -> Iterable[Finding]:
        """The findings; an error that AWS or a machine gives is a finding too (the caller's)."""

    def repair(self) -> str | None:
        """Mend what was found, where that is safe; None: there is no repair for this."""
        return None

    def error(self, message: str, *, hint: str = "", subject: str = "") -> Finding:
        return Finding(
            severity=Severity.ERROR, subject=subject or self.name, message=message, hint=hint
        )

    def warning(self, message: str, *, hint: str = "", subject: str = "") -> Finding:
        return Finding(
            severity=Severity.WARNING, subject=subject or self.name, message=message, hint=hint
        )


@dataclass(kw_only=True)
class Report:
    """One check's findings, how long it took (seconds) and what its repair did; ``late``: it was
    left behind and still runs."""

    name: str
    title: str
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0
    repaired: str = ""
    repairable: bool = False
    late: bool = False

    @property
    def severity(self) -> Severity:
        levels = [finding.severity for finding in self.findings]
        for level in (Severity.ERROR, Severity.WARNING):
            if level in levels:
                return level
        return Severity.OK


def chosen(
    checks: Sequence[type[Check]],
    *,
    only: Collection[str] = (),
    skip: Collection[str] = (),
) -> list[type[Check]]:
    """Those whose name begins with one of ``only`` (all, if none) and with none of ``skip``."""
    names = {check.name for check in checks}
    for wanted in (*only, *skip):
        if not any(name.startswith(wanted) for name in names):
            raise ConfigError(
                f"no check is called {wanted!r}", hint="`hubdeploy doctor --list` names them all"
            )
    return [
        check
        for check in checks
        if (not only or check.name.startswith(tuple(only)))
        and not (skip and check.name.startswith(tuple(skip)))
    ]


def run(
    checks: Sequence[Check],
    *,
    fix: bool = False,
    done: Callable[[Report], object] = id,
) -> list[Report]:
    """Run all checks in parallel; one past its deadline becomes a warning and is left behind.

    Each has a thread of its own that the process does not wait for at its end, as it would for a
    pool's.
    """
    began = time.monotonic()
    answers: list[SimpleQueue[Report]] = [SimpleQueue() for _ in checks]

    def deadline(check: Check) -> float:
        return check.deadline + (check.mending if fix and repairable(check) else 0.0)

    for check, answer in zip(checks, answers, strict=True):
        threading.Thread(
            target=lambda check=check, answer=answer: answer.put(_examine(check, fix)),
            name=f"check-{check.name}",
            daemon=True,
        ).start()
    reports: list[Report] = []
    for check, answer in zip(checks, answers, strict=True):
        try:
            report = answer.get(timeout=max(0.0, began + deadline(check) - time.monotonic()))
        except Empty:
            report = Report(name=check.name, title=check.title, seconds=deadline(check), late=True)
            report.findings.append(
                check.warning(
                    f"did not finish within {deadline(check):.0f} s",
                    hint=f"try it alone: hubdeploy doctor --only {check.name}",
                )
            )
        reports.append(report)
        done(report)
    return reports


def repairable(check: Check) -> bool:
    """Whether ``--fix`` can do anything about what the check finds."""
    return type(check).repair is not Check.repair


def _examine(check: Check, fix: bool) -> Report:
    began = time.monotonic()
    report = Report(name=check.name, title=check.title, repairable=repairable(check))
    report.findings = _findings(check)
    if fix and report.findings and report.repairable:
        try:
            report.repaired = check.repair() or ""
        except HubdeployError as error:
            report.repaired = f"could not be repaired: {error.message}"
        else:
            report.findings = _findings(check)
    report.seconds = time.monotonic() - began
    return report


def _findings(check: Check) -> list[Finding]:
    try:
        return list(check.find())
    except HubdeployError as error:
        return [check.error(error.message, hint=error.hint)]
    except Exception as error:
        # one check's fault must not hide the others' findings
        log.exception("check %s", check.name)
        return [
            check.error(
                f"the check itself failed: {type(error).__name__}: {error}",
                hint="its traceback is in the run's log; please report it",
            )
        ]
