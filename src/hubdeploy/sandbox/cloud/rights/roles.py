"""The policy documents of a role as moto holds them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from hubdeploy.sandbox.cloud.fault import AwsFault

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.server import Cloud


def _document(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    text = str(value)
    parsed: dict[str, Any] = json.loads(text if text.lstrip().startswith("{") else unquote(text))
    return parsed


def _role(cloud: Cloud, account: str, name: str) -> Any:
    roles = cloud.backend("iam", account, "aws").roles
    found = [role for role in roles.values() if role.name == name]
    if not found:
        raise AwsFault("AccessDenied", f"The role {name} does not exist any more.")
    return found[0]


def policies_of(cloud: Cloud, account: str, name: str) -> list[dict[str, Any]]:
    """Inline and attached managed policies."""
    role = _role(cloud, account, name)
    inline = [_document(value) for value in role.policies.values()]
    managed = [
        _document(version.document)
        for policy in role.managed_policies.values()
        for version in policy.versions
        if version.is_default
    ]
    return inline + managed


def boundary_of(cloud: Cloud, account: str, name: str) -> list[dict[str, Any]] | None:
    """The permissions boundary's document, if the role has one."""
    arn = _role(cloud, account, name).permissions_boundary_arn
    if not arn:
        return None
    policy = cloud.backend("iam", account, "aws").managed_policies.get(arn)
    if policy is None:
        return []
    return [_document(v.document) for v in policy.versions if v.is_default]
