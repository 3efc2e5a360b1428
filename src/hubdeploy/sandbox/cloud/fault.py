"""What the embedded AWS answers when it refuses, and faults injected by tests."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

_STATUS = {
    "RequestLimitExceeded": 503,
    "InternalFailure": 500,
    "InternalError": 500,
    "ServiceUnavailable": 503,
    "SlowDown": 503,
    "InsufficientInstanceCapacity": 500,
    "AccessDenied": 403,
    "UnauthorizedOperation": 403,
    "InvalidClientTokenId": 403,
    "UnrecognizedClientException": 400,
    "ExpiredToken": 403,
    "ExpiredTokenException": 400,
    "NoSuchBucket": 404,
    "NoSuchKey": 404,
    "NoSuchEntity": 404,
    "EntityAlreadyExists": 409,
    "DeleteConflict": 409,
    "BucketNotEmpty": 409,
    "BucketAlreadyExists": 409,
    "PreconditionFailed": 412,
    "FileSystemInUse": 409,
    "MountTargetConflict": 409,
    "FileSystemNotFound": 404,
    "MountTargetNotFound": 404,
    "FileSystemAlreadyExists": 409,
    "IncorrectFileSystemLifeCycleState": 409,
    "IncorrectMountTargetState": 409,
}


class AwsFault(Exception):
    """An answer with AWS's own error code. ``status`` is the HTTP status."""

    def __init__(self, code: str, message: str, *, status: int | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = _STATUS.get(code, 400) if status is None else status


class Killed(Exception):
    """Raised to a test's hook to cut the connection without an answer, as a dying network does."""


@dataclass
class _Rule:
    when: Callable[[int], bool]
    fault: AwsFault | None
    drop: bool = False
    after: bool = False
    seen: int = 0


@dataclass
class Faults:
    """Latency and failures per operation.

    ``service`` is boto3's client name, ``operation`` AWS's (``"ec2"``, ``"CreateVpc"``); ``"*"``
    stands for all. ``nth`` counts the calls of that operation from 1 since the rule was made.
    """

    _rules: dict[tuple[str, str], list[_Rule]] = field(default_factory=dict)
    _latency: dict[tuple[str, str], float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    raised: Counter[tuple[str, str]] = field(default_factory=Counter)

    def inject(
        self,
        service: str,
        operation: str,
        code: str,
        *,
        message: str = "",
        nth: int | None = None,
        times: int | None = None,
        status: int | None = None,
    ) -> None:
        """Answer with *code*: on the *nth* call only, or on the first *times*, or always."""

        def when(number: int) -> bool:
            if nth is not None:
                return nth <= number < nth + (times or 1)
            return times is None or number <= times

        fault = AwsFault(code, message or f"injected: {code}", status=status)
        self._add(service, operation, _Rule(when, fault))

    def drop(self, service: str, operation: str, *, nth: int = 1, after: bool = True) -> None:
        """Cut the connection on the *nth* call; with *after*, the call has taken effect."""
        self._add(service, operation, _Rule(lambda n: n == nth, None, drop=True, after=after))

    def delay(self, service: str, operation: str, seconds: float) -> None:
        with self._lock:
            self._latency[service, operation] = seconds

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()
            self._latency.clear()
            self.raised.clear()

    def latency(self, service: str, operation: str) -> float:
        table = self._latency
        if not table:
            return 0.0
        keys = ((service, operation), (service, "*"), ("*", "*"))
        return next((table[key] for key in keys if key in table), 0.0)

    def strike(self, service: str, operation: str) -> bool:
        """Raise what is due for this call; true says: cut the connection after it took effect."""
        if not self._rules:
            return False
        cut = False
        with self._lock:
            for key in ((service, operation), (service, "*"), ("*", "*")):
                for rule in self._rules.get(key, []):
                    rule.seen += 1
                    if not rule.when(rule.seen):
                        continue
                    self.raised[service, operation] += 1
                    if rule.fault is not None:
                        raise rule.fault
                    if not rule.after:
                        raise Killed
                    cut = True
        return cut

    def _add(self, service: str, operation: str, rule: _Rule) -> None:
        with self._lock:
            self._rules.setdefault((service, operation), []).append(rule)
