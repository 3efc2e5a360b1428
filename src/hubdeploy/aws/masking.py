"""Takes secrets out of what is logged."""

from __future__ import annotations

import re
from typing import Any

MASK = "***"
_SECRET_KEYS = re.compile(
    r"(secret|password|token(?!_url)|private[_-]?key|userdata(?!_url)|credential|authorization"
    r"|keymaterial)",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    r"(-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----"
    r"|SWMTKN-1-[0-9a-z-]+"
    r"|\bAKIA[0-9A-Z]{16}\b)",
    re.DOTALL,
)
#: paging tokens are no secrets and help to read a log
_HARMLESS = {"NextToken", "nextToken", "ContinuationToken", "NextContinuationToken"}


def masked(value: Any) -> Any:
    """A copy of a JSON-like value without secrets: by key name, SSM SecureString, and by look."""
    if isinstance(value, dict):
        secure = value.get("Type") == "SecureString"
        return {
            key: MASK
            if (secure and key == "Value")
            or (key not in _HARMLESS and isinstance(key, str) and _SECRET_KEYS.search(key))
            else masked(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [masked(item) for item in value]
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, str):
        return _SECRET_TEXT.sub(MASK, value)
    return value
