"""Settings that cannot be changed once the deployment stands: kept in the VPC's tags.

They are written in the very call that makes the VPC, so that there is no moment at which they
could be lost, and compared before anything else is done.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from hubdeploy.config.fields import Change
from hubdeploy.config.model import Config
from hubdeploy.errors import ConfigError

PREFIX = "hubdeploy:fixed:"
_ELSEWHERE = {"name", "region"}
"""Part of every name and of every call: another value is another deployment, not a change."""


def settings(model: BaseModel, change: Change, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Key path and value of every setting whose change takes exactly ``change``."""
    for key, field in type(model).model_fields.items():
        value = getattr(model, key)
        if isinstance(value, BaseModel):
            yield from settings(value, change, f"{prefix}{key}.")
            continue
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get("change") == change.value:
            yield f"{prefix}{key}", value


def text(value: Any) -> str:
    """A value as a tag can hold it."""
    if isinstance(value, (list, tuple)):
        return " ".join(str(item) for item in value)
    return "none" if value is None else str(value)


def tags(config: Config) -> dict[str, str]:
    """The tags that remember what must not change."""
    return {
        f"{PREFIX}{path}": text(value)
        for path, value in settings(config, Change.NEVER)
        if path not in _ELSEWHERE
    }


def check(config: Config, seen: Mapping[str, str]) -> None:
    """Refuse a configuration that contradicts the tags of the standing deployment."""
    wrong = [
        (key.removeprefix(PREFIX), seen[key], value)
        for key, value in tags(config).items()
        if key in seen and seen[key] != value
    ]
    if wrong:
        path, old, new = wrong[0]
        more = f" (and {', '.join(p for p, _, _ in wrong[1:])})" if len(wrong) > 1 else ""
        raise ConfigError(
            f"{path} cannot be changed from {old} to {new} in a standing deployment{more}",
            hint=f"set {path} back to {old}, or give the new deployment another name",
        )
