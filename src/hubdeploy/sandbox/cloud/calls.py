"""One AWS call as the layers see it, and the log of all calls."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hubdeploy.sandbox.cloud.credentials import Principal

_READS = ("Describe", "Get", "List", "Head", "Lookup", "Search", "Discover", "Simulate", "Batch")
_WRITES_NAMED_LIKE_READS = frozenset({"GetAuthorizationToken"})
_BATCH_WRITES = ("BatchDelete", "BatchPut", "BatchWrite")


@dataclass(kw_only=True)
class Call:
    """``service`` is boto3's client name, ``params`` are as given to boto3."""

    service: str
    operation: str
    params: dict[str, Any]
    region: str
    principal: Principal
    model: Any
    environ: dict[str, Any] = field(repr=False)
    error: str = ""
    """AWS's error code when the call was refused."""

    @property
    def account(self) -> str:
        return self.principal.account

    @property
    def key(self) -> tuple[str, str]:
        return self.service, self.operation

    @property
    def name(self) -> str:
        return f"{self.service}:{self.operation}"


@dataclass(frozen=True, kw_only=True)
class Record:
    """What stays of a call in the log."""

    service: str
    operation: str
    params: dict[str, Any] = field(repr=False)
    region: str
    account: str
    role: str
    """Name of the IAM role that signed; empty for the operator, ``aws`` for AWS itself."""
    error: str

    @property
    def name(self) -> str:
        return f"{self.service}:{self.operation}"

    @property
    def reads(self) -> bool:
        if self.operation.startswith(_BATCH_WRITES):
            return False
        if self.operation in ("AssumeRole", "SendCommand"):
            return self.operation == "AssumeRole"
        return self.operation.startswith(_READS) or self.operation in _WRITES_NAMED_LIKE_READS


class CallLog:
    """All calls in the order in which they were answered; safe between threads."""

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._lock = threading.Lock()

    def add(self, record: Record) -> None:
        with self._lock:
            self._records.append(record)

    def clear(self) -> None:
        with self._lock:
            self._records.clear()

    def __iter__(self) -> Iterator[Record]:
        with self._lock:
            return iter(list(self._records))

    def __len__(self) -> int:
        return len(self._records)

    def find(
        self, name: str = "", *, role: str | None = "", account: str = "", error: str | None = None
    ) -> list[Record]:
        """By ``service:Operation``; of the operator unless *role* names one (None: of anybody)."""
        return [
            record
            for record in self
            if (not name or record.name == name)
            and (role is None or record.role == role)
            and (not account or record.account == account)
            and (error is None or record.error == error)
        ]

    def mutations(self, *, account: str = "") -> list[Record]:
        """The operator's calls that change something."""
        return [record for record in self.find(account=account) if not record.reads]

    def reads(self, *, account: str = "") -> list[Record]:
        return [record for record in self.find(account=account) if record.reads]

    def counts(self, *, account: str = "") -> Counter[str]:
        """The operator's calls by ``service:Operation``."""
        return Counter(record.name for record in self.find(account=account))
