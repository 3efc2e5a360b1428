"""What a worker says that its servers use: written there, read by the fleet service."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass

LENGTH = 256
"""Bytes of the file, filled up with blanks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """``memory`` is bytes, ``cpu`` nano-CPUs on average since the look before; ``at``: epoch."""

    at: float
    memory: int
    cpu: int

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).ljust(LENGTH - 1).encode() + b"\n"

    @classmethod
    def decode(cls, text: bytes) -> Use:
        """Raises ValueError for anything that :meth:`encode` does not write."""
        said = json.loads(text)
        if not isinstance(said, dict):
            raise ValueError("no object")
        try:
            at, memory, cpu = float(said["at"]), int(said["memory"]), int(said["cpu"])
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"lacks or garbles {error}") from error
        if not math.isfinite(at) or memory < 0 or cpu < 0:
            raise ValueError("not a possible use")
        return cls(at=at, memory=memory, cpu=cpu)
