"""One statement of the policy, and the bounds that statements share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hubdeploy.config.names import TAG_DEPLOYMENT, Names
from hubdeploy.steps.base import partition


@dataclass(frozen=True, kw_only=True)
class Grant:
    """One statement: what may be done, to what, under which condition, and what for."""

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...] = ("*",)
    condition: dict[str, dict[str, Any]] = field(default_factory=dict)

    def statement(self) -> dict[str, Any]:
        """IAM's JSON form."""
        made: dict[str, Any] = {
            "Sid": self.sid,
            "Effect": "Allow",
            "Action": sorted(self.actions),
            "Resource": sorted(self.resources) if len(self.resources) > 1 else self.resources[0],
        }
        return {**made, "Condition": self.condition} if self.condition else made


def tagged(names: Names, *more: str) -> dict[str, dict[str, Any]]:
    keys = (f"aws:ResourceTag/{TAG_DEPLOYMENT}", *more)
    return {"StringEquals": dict.fromkeys(keys, names.deployment)}


def requested(names: Names) -> dict[str, dict[str, Any]]:
    return {"StringEquals": {f"aws:RequestTag/{TAG_DEPLOYMENT}": names.deployment}}


def region(names: Names) -> dict[str, dict[str, Any]]:
    return {"StringEquals": {"aws:RequestedRegion": names.region}}


def arn(names: Names, service: str, rest: str) -> str:
    return f"arn:{partition(names.region)}:{service}:{names.region}:{names.account}:{rest}"
