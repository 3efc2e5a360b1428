"""What a call needs: (service, operation, parameters) -> actions on resources, with context."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.calls import Call
    from hubdeploy.sandbox.cloud.server import Cloud


class Unmapped(Exception):
    """The operation is in no table: nobody may assume that it is allowed."""


@dataclass(frozen=True, kw_only=True)
class Need:
    action: str
    resource: str
    context: dict[str, str | list[str]] = field(default_factory=dict)


Rule = Callable[["Cloud", "Call"], list[Need]]


def needs(cloud: Cloud, call: Call) -> list[Need]:
    """All that must be allowed for *call*; empty when AWS asks for nothing.

    Raises :class:`Unmapped` for operations that no table knows.
    """
    from hubdeploy.sandbox.cloud.rights import ec2, s3, services

    tables: dict[str, Rule] = {"ec2": ec2.needs, "s3": s3.needs}
    return tables.get(call.service, services.needs)(cloud, call)


def resource_tags(tags: dict[str, str], *prefixes: str) -> dict[str, str | list[str]]:
    """Context keys for the tags that a resource bears."""
    return {f"{p}:ResourceTag/{k}": v for p in ("aws", *prefixes) for k, v in tags.items()}


def request_tags(tags: dict[str, str]) -> dict[str, str | list[str]]:
    """Context keys for the tags that a request sets."""
    if not tags:
        return {}
    context: dict[str, str | list[str]] = {f"aws:RequestTag/{k}": v for k, v in tags.items()}
    context["aws:TagKeys"] = list(tags)
    return context


def records(names: list[str], types: list[str]) -> dict[str, str | list[str]]:
    """Route 53's context keys for the records of a change; names lose their last dot."""
    prefix = "route53:ChangeResourceRecordSets"
    return {
        f"{prefix}NormalizedRecordNames": [name.rstrip(".").lower() for name in names],
        f"{prefix}RecordTypes": types,
    }
