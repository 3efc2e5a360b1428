"""Building blocks of the configuration model: settings that say how they can be changed, and sizes.

Every field is made by :func:`setting`, whose description is the reference documentation and whose
``change`` says what a new value means for a deployment that stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PlainSerializer,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

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


@dataclass(frozen=True)
class Expected:
    """In ``Annotated``: what a value has to be, for error messages (``an e-mail address``);
    ``show`` writes bounds in the same form."""

    words: str
    show: Callable[[Any], str] = str


@dataclass(frozen=True, kw_only=True)
class Matching(Expected):
    """In ``Annotated[str, …]``: the text has to match ``pattern`` as a whole."""

    pattern: str
    longest: int = 1000

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def _checked(self, value: str) -> str:
        if len(value) > self.longest or not re.fullmatch(self.pattern, value):
            raise ValueError(f"not {self.words}")
        return value


RULE = "hubdeploy_rule"
"""Type of the errors that :func:`wrong` makes."""


def wrong(key: str | tuple[str | int, ...], message: str) -> PydanticCustomError:
    """What a rule raises that says more than what is expected. ``key`` (dotted, below the table
    that the rule looks at) is the one to correct, whose line is shown."""
    path = tuple(part for part in key.split(".") if part) if isinstance(key, str) else key
    return PydanticCustomError(RULE, "{message}", {"message": message, "key": path})


def set_key(section: Section, *keys: str) -> str:
    """The first of the keys that the file sets, else the last: a rule's fault is shown there."""
    return next((key for key in keys if key in section.model_fields_set), keys[-1])


class Section(BaseModel):
    """Base of every table of ``hubdeploy.toml``: unknown keys are refused, values are immutable,
    and text is never taken for a number."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=False
    )


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
    try:
        if isinstance(value, (int, str)):
            return limits.parse_size(value)
    except (ConfigError, OverflowError):
        pass
    raise ValueError("no size")


Size = Annotated[
    int,
    BeforeValidator(parse_size, json_schema_input_type=int | str),
    PlainSerializer(limits.format_size, return_type=str, when_used="json"),
    Expected('a size with K, M, G or T such as "2G"', limits.format_size),
    Field(gt=0, le=1 << 60),
]
"""A number of bytes, written ``"2G"`` in the configuration."""

_SPANS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN = re.compile(r"^\s*(\d+)\s*([smhd])\s*$")


def parse_span(value: object) -> int:
    """Seconds of ``"90s"``, ``"10m"``, ``"2h"``, ``"7d"`` or of a whole number of seconds."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SPAN.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("no time")
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
    Expected('a time with s, m, h or d such as "10m"', format_span),
    Field(ge=0, le=366 * 86400),
]
"""A number of seconds, written ``"10m"`` in the configuration."""
