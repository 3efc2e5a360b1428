"""The policy in parts that IAM takes: as a whole it is longer than one managed policy may be."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from hubdeploy.operate.policy.grant import Grant

MANAGED = 6_144
"""Characters of a managed policy at most, white space not counted (IAM quotas)."""


def document(grants: Iterable[Grant]) -> dict[str, Any]:
    """The policy of these statements, in IAM's JSON form."""
    return {"Version": "2012-10-17", "Statement": [grant.statement() for grant in grants]}


def size(document: dict[str, Any]) -> int:
    """Characters as IAM counts them."""
    return len(json.dumps(document, separators=(",", ":")))


def split(grants: Iterable[Grant]) -> list[list[Grant]]:
    """The statements as managed policies, each in the first that has room for it.

    A statement allows the same wherever it stands, so that all parts together are the policy.
    """
    made: list[list[Grant]] = []
    for grant in grants:
        for part in made:
            if size(document([*part, grant])) <= MANAGED:
                part.append(grant)
                break
        else:
            made.append([grant])
    return made
