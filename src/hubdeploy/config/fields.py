"""Building blocks of the configuration model: settings that say how they can be changed, and sizes.

Every field is made by :func:`setting`, whose description is the reference documentation and whose
``change`` says what a new value means for a deployment that stands.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from hubdeploy.config import limits
from hubdeploy.errors import ConfigError


class Change(StrEnum):
    """What changing a setting of a standing deployment takes."""

    LIVE = "live"
    """Done in place; nobody notices."""
    CONVERGE = "converge"
    """In place at the machines' next converge; servers go on running."""
    WORKERS = "workers"
    """New workers replace the old ones as these become empty."""
    INSTANCE = "instance"
    """The section's own instance is replaced (short interruption; asked for first)."""
    NEVER = "never"
    """Fixed at creation: a new deployment is needed."""


class Section(BaseModel):
    """Base of every table of ``hubdeploy.toml``: unknown keys are refused, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=False)


def setting(default: Any = ..., *, describe: str, change: Change, **extra: Any) -> Any:
    """A field with its reference text and what changing it takes.

    ``extra`` goes to :func:`pydantic.Field` (bounds, patterns, ``default_factory``).
    """
    schema_extra = {"change": change.value, **extra.pop("schema_extra", {})}
    if "default_factory" in extra:
        return Field(description=describe, json_schema_extra=schema_extra, **extra)
    return Field(default, description=describe, json_schema_extra=schema_extra, **extra)


def parse_size(value: object) -> int:
    """Bytes of ``"512M"``, ``"1.5G"``, ``"2T"`` (powers of 1024) or of a whole number of bytes."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError("expected a size such as 512M or 2G")
    try:
        return limits.parse_size(value)
    except ConfigError:
        raise ValueError(
            f"{value!r} is no size; write a number with K, M, G or T, such as 2G"
        ) from None


Size = Annotated[
    int,
    BeforeValidator(parse_size, json_schema_input_type=int | str),
    PlainSerializer(limits.format_size, return_type=str, when_used="json"),
    Field(gt=0),
]
"""A number of bytes, written ``"2G"`` in the configuration."""

_SPANS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN = re.compile(r"^\s*(\d+)\s*([smhd])\s*$")


def parse_span(value: object) -> int:
    """Seconds of ``"90s"``, ``"10m"``, ``"2h"``, ``"7d"`` or of a whole number of seconds."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError("expected a time such as 90s, 10m or 2h")
    if isinstance(value, int):
        return value
    match = _SPAN.match(value)
    if match is None:
        raise ValueError(f"{value!r} is no time; write a number with s, m, h or d, such as 10m")
    return int(match.group(1)) * _SPANS[match.group(2)]


def format_span(seconds: int) -> str:
    """The shortest exact text that :func:`parse_span` reads back: ``10m``, ``90s``."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % _SPANS[unit] == 0:
            return f"{seconds // _SPANS[unit]}{unit}"
    return f"{seconds}s"


Span = Annotated[
    int,
    BeforeValidator(parse_span, json_schema_input_type=int | str),
    PlainSerializer(format_span, return_type=str, when_used="json"),
    Field(ge=0),
]
"""A number of seconds, written ``"10m"`` in the configuration."""
