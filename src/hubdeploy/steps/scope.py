"""What the machines' policies are built of: statements about one deployment's things."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hubdeploy.config.names import TAG_DEPLOYMENT, Names
from hubdeploy.steps.base import partition

Statement = dict[str, Any]


def allow(
    sid: str,
    actions: Sequence[str],
    resources: Sequence[str],
    condition: dict[str, Any] | None = None,
) -> Statement:
    """Lists of one stay lists and all is sorted: what AWS gives back compares equal."""
    statement: Statement = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": sorted(actions),
        "Resource": sorted(resources),
    }
    if condition:
        statement["Condition"] = condition
    return statement


class Scope:
    """Whatever of AWS is one deployment's, and statements about it."""

    def __init__(self, *, names: Names, bucket: str) -> None:
        self.names = names
        self.parameters = names.parameters
        self.partition = partition(names.region)
        self.bucket = f"arn:{self.partition}:s3:::{bucket}"

    def arn(self, service: str, rest: str) -> str:
        names = self.names
        return f"arn:{self.partition}:{service}:{names.region}:{names.account}:{rest}"

    def ssm(self, *parameters: str) -> list[str]:
        return [self.arn("ssm", f"parameter{name}") for name in parameters]

    def read(self, sid: str, *parameters: str) -> Statement:
        return allow(sid, ["ssm:GetParameter"], self.ssm(*parameters))

    def write(self, sid: str, *parameters: str) -> Statement:
        return allow(sid, ["ssm:GetParameter", "ssm:PutParameter"], self.ssm(*parameters))

    def objects(self, sid: str, actions: Sequence[str], *prefixes: str) -> Statement:
        resources = [f"{self.bucket}/{prefix}/*" for prefix in prefixes]
        return allow(sid, [f"s3:{action}" for action in actions], resources)

    def listing(self, *prefixes: str) -> Statement:
        return allow(
            "ListOwnObjects",
            ["s3:ListBucket"],
            [self.bucket],
            {"StringLike": {"s3:prefix": [f"{prefix}/*" for prefix in prefixes]}},
        )

    def ours(self, service: str, **more: str) -> dict[str, Any]:
        """Condition: tagged as this deployment's."""
        tags = {f"{service}:ResourceTag/{TAG_DEPLOYMENT}": self.names.deployment, **more}
        return {"StringEquals": tags}
