"""IAM's policy evaluation as a pure function: documents, action, resource, context -> decision.

What is covered: Action/NotAction, Resource/NotResource with wildcards and policy variables,
conditions with their operators, ``IfExists``, ``ForAllValues``/``ForAnyValue``, ``Null``, explicit
deny before allow, permissions boundaries. An operator that is not known makes a condition fail
loudly, so that a policy is never taken to allow more than AWS would.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

Context = Mapping[str, str | list[str]]
"""Condition keys, e.g. ``aws:ResourceTag/hubdeploy:deployment`` -> value(s). Keys ignore case."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """``effect`` is ``allowed``, ``implicitDeny`` or ``explicitDeny`` (AWS's own words)."""

    effect: str
    sid: str = ""
    """Of the statement that decided, where it has one."""

    @property
    def allowed(self) -> bool:
        return self.effect == "allowed"


def evaluate(
    policies: Iterable[Mapping[str, Any]],
    action: str,
    resource: str,
    context: Context | None = None,
    *,
    boundary: Iterable[Mapping[str, Any]] | None = None,
) -> Decision:
    """Whether *policies* let ``service:Action`` be done to the ARN *resource* (``*`` for none).

    With *boundary*, both it and the policies must allow.
    """
    keys = {key.lower(): value for key, value in (context or {}).items()}
    decision = _evaluate(policies, action, resource, keys)
    if decision.allowed and boundary is not None:
        limit = _evaluate(boundary, action, resource, keys)
        return decision if limit.allowed else limit
    return decision


def _evaluate(
    policies: Iterable[Mapping[str, Any]], action: str, resource: str, keys: Context
) -> Decision:
    allowed: Decision | None = None
    for policy in policies:
        for statement in as_list(policy["Statement"]):
            if not _applies(statement, action, resource, keys):
                continue
            sid = str(statement.get("Sid", ""))
            if statement["Effect"] == "Deny":
                return Decision(effect="explicitDeny", sid=sid)
            allowed = allowed or Decision(effect="allowed", sid=sid)
    return allowed or Decision(effect="implicitDeny")


def _applies(statement: Mapping[str, Any], action: str, resource: str, keys: Context) -> bool:
    if "Action" in statement:
        named = any(matches(p, action, fold=True) for p in as_list(statement["Action"]))
    else:
        named = not any(matches(p, action, fold=True) for p in as_list(statement["NotAction"]))
    if not named:
        return False
    if "Resource" in statement:
        meant = any(_arn_matches(_fill(p, keys), resource) for p in as_list(statement["Resource"]))
    else:
        refused = as_list(statement["NotResource"])
        meant = not any(_arn_matches(_fill(p, keys), resource) for p in refused)
    return meant and conditions_hold(statement.get("Condition", {}), keys)


def _arn_matches(pattern: str, resource: str) -> bool:
    """A resource of ``*`` (an action without resource types) is only matched by ``*``."""
    if pattern == "*":
        return True
    return resource != "*" and matches(pattern, resource)


def as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


@lru_cache(maxsize=4096)
def _compiled(pattern: str, fold: bool) -> re.Pattern[str]:
    body = "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.compile(body, re.DOTALL | (re.IGNORECASE if fold else 0))


def matches(pattern: str, value: str, *, fold: bool = False) -> bool:
    """IAM's wildcards: ``*`` any run of characters, ``?`` one."""
    return _compiled(pattern, fold).fullmatch(value) is not None


def _fill(text: str, keys: Context) -> str:
    """Policy variables: ``${aws:userid}``, with a default ``${key, 'default'}``."""

    def value(match: re.Match[str]) -> str:
        name, _, default = match[1].partition(",")
        found = keys.get(name.strip().lower())
        if isinstance(found, list):
            found = found[0] if found else None
        if found is not None:
            return found
        # without a value the statement cannot match; a NUL is in no ARN
        return default.strip().strip("'") if default else "\0"

    return re.sub(r"\$\{([^}]+)\}", value, text)


def _number(test: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    return lambda got, wanted: test(float(got), float(wanted))


def _in_network(got: str, wanted: str) -> bool:
    return ipaddress.ip_address(got) in ipaddress.ip_network(wanted, strict=False)


_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda got, wanted: got == wanted,
    "StringEqualsIgnoreCase": lambda got, wanted: got.lower() == wanted.lower(),
    "StringLike": lambda got, wanted: matches(wanted, got),
    "ArnEquals": lambda got, wanted: matches(wanted, got),
    "ArnLike": lambda got, wanted: matches(wanted, got),
    "Bool": lambda got, wanted: got.lower() == wanted.lower(),
    "NumericEquals": _number(lambda got, wanted: got == wanted),
    "NumericLessThan": _number(lambda got, wanted: got < wanted),
    "NumericLessThanEquals": _number(lambda got, wanted: got <= wanted),
    "NumericGreaterThan": _number(lambda got, wanted: got > wanted),
    "NumericGreaterThanEquals": _number(lambda got, wanted: got >= wanted),
    "IpAddress": _in_network,
}
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NumericNotEquals": "NumericEquals",
    "NotIpAddress": "IpAddress",
}


def conditions_hold(conditions: Mapping[str, Any], keys: Context) -> bool:
    """All operators, all keys (and); any value (or); any of them for ``ForAnyValue``."""
    return all(
        _holds(operator, key, [_fill(_text(v), keys) for v in as_list(wanted)], keys)
        for operator, tests in conditions.items()
        for key, wanted in tests.items()
    )


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _holds(operator: str, key: str, wanted: list[str], keys: Context) -> bool:
    quantifier, _, name = operator.rpartition(":")
    optional = name.endswith("IfExists")
    name = name.removesuffix("IfExists")
    got = keys.get(key.lower())
    if name == "Null":
        return (got is None) == (wanted[0].lower() == "true")
    negated = name in _NEGATED
    test = _OPERATORS.get(_NEGATED.get(name, name))
    if test is None:
        raise ValueError(f"condition operator {operator} is not known to the evaluation")
    if got is None:
        return optional or negated or quantifier == "ForAllValues"
    outcomes = [any(test(value, want) for want in wanted) != negated for value in as_list(got)]
    return all(outcomes) if quantifier == "ForAllValues" else any(outcomes)
