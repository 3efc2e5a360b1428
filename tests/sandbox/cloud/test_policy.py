"""IAM's evaluation as a pure function."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubdeploy.sandbox.cloud.rights.policy import Decision, evaluate, matches

ARN = "arn:aws:ssm:eu-central-1:111122223333:parameter/hubdeploy/demo/release"


def statement(
    actions: str | list[str] = "ssm:GetParameter", resources: Any = ARN, **more: Any
) -> dict[str, Any]:
    body = {"Effect": "Allow", "Action": actions, "Resource": resources, **more}
    return {"Version": "2012-10-17", "Statement": [body]}


def allowed(*policies: dict[str, Any], context: Any = None, resource: str = ARN) -> bool:
    return evaluate(policies, "ssm:GetParameter", resource, context).allowed


def test_nothing_is_allowed_by_default() -> None:
    assert evaluate([], "ssm:GetParameter", ARN) == Decision(effect="implicitDeny")


def test_actions_ignore_case_and_resources_do_not() -> None:
    assert allowed(statement("SSM:getparameter"))
    assert not allowed(statement(resources=ARN.upper()))


@pytest.mark.parametrize(
    ("pattern", "value", "expected"),
    [
        ("*", "", True),
        ("a*", "abc", True),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("a.c", "abc", False),
        ("*/demo/*", "x/demo/y/z", True),
    ],
)
def test_wildcards_are_iams_own(pattern: str, value: str, *, expected: bool) -> None:
    assert matches(pattern, value) is expected


def test_one_denial_outweighs_every_allowance() -> None:
    deny = statement("ssm:*", "*", Effect="Deny", Sid="Never")
    decision = evaluate([statement(), deny], "ssm:GetParameter", ARN)
    assert decision == Decision(effect="explicitDeny", sid="Never")


def test_what_is_not_named_can_be_meant() -> None:
    others = {"Effect": "Allow", "NotAction": "iam:*", "NotResource": "arn:aws:s3:::*"}
    policy = {"Version": "2012-10-17", "Statement": others}
    assert evaluate([policy], "ssm:GetParameter", ARN).allowed
    assert not evaluate([policy], "iam:GetRole", ARN).allowed
    assert not evaluate([policy], "s3:GetObject", "arn:aws:s3:::bucket").allowed


def test_an_action_without_resources_needs_a_star() -> None:
    """``ec2:DescribeInstances`` and its like cannot be granted on ARNs."""
    pattern = "arn:aws:ec2:*:*:instance/*"
    narrow = statement("ec2:DescribeInstances", pattern)
    wide = statement("ec2:DescribeInstances", "*")
    assert not evaluate([narrow], "ec2:DescribeInstances", "*").allowed
    assert evaluate([wide], "ec2:DescribeInstances", "*").allowed


@pytest.mark.parametrize(
    ("condition", "context", "expected"),
    [
        ({"StringEquals": {"aws:ResourceTag/a": "x"}}, {"aws:ResourceTag/a": "x"}, True),
        ({"StringEquals": {"AWS:resourcetag/a": "x"}}, {"aws:ResourceTag/a": "x"}, True),
        ({"StringEquals": {"aws:ResourceTag/a": "x"}}, {"aws:ResourceTag/a": "y"}, False),
        ({"StringEquals": {"aws:ResourceTag/a": "x"}}, {}, False),
        ({"StringEquals": {"k": ["x", "y"]}}, {"k": "y"}, True),
        ({"StringEqualsIfExists": {"k": "x"}}, {}, True),
        ({"StringEqualsIfExists": {"k": "x"}}, {"k": "y"}, False),
        ({"StringNotEquals": {"k": "x"}}, {}, True),
        ({"StringNotEquals": {"k": ["x", "y"]}}, {"k": "y"}, False),
        ({"StringLike": {"k": "hubdeploy-*"}}, {"k": "hubdeploy-demo"}, True),
        ({"StringNotLike": {"k": "hubdeploy-*"}}, {"k": "hubdeploy-demo"}, False),
        ({"ArnLike": {"k": "arn:aws:iam::*:role/x"}}, {"k": "arn:aws:iam::1:role/x"}, True),
        ({"Bool": {"aws:SecureTransport": False}}, {"aws:SecureTransport": "true"}, False),
        ({"Bool": {"aws:SecureTransport": "true"}}, {"aws:SecureTransport": "true"}, True),
        ({"Null": {"k": "true"}}, {}, True),
        ({"Null": {"k": "true"}}, {"k": "x"}, False),
        ({"Null": {"k": False}}, {"k": "x"}, True),
        ({"NumericLessThan": {"k": "10"}}, {"k": "9"}, True),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, {"aws:SourceIp": "10.1.2.3"}, True),
        ({"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, {"aws:SourceIp": "10.1.2.3"}, False),
        ({"ForAllValues:StringEquals": {"k": ["a", "b"]}}, {"k": ["a"]}, True),
        ({"ForAllValues:StringEquals": {"k": ["a", "b"]}}, {"k": ["a", "c"]}, False),
        ({"ForAllValues:StringEquals": {"k": ["a"]}}, {}, True),
        ({"ForAnyValue:StringEquals": {"k": ["a"]}}, {"k": ["a", "c"]}, True),
        ({"ForAnyValue:StringEquals": {"k": ["a"]}}, {"k": ["c"]}, False),
        ({"StringEquals": {"k": "x", "l": "y"}}, {"k": "x"}, False),
        ({"StringEquals": {"k": "x"}, "Null": {"l": "true"}}, {"k": "x"}, True),
    ],
)
def test_conditions(condition: Any, context: Any, *, expected: bool) -> None:
    assert allowed(statement(Condition=condition), context=context) is expected


def test_an_unknown_operator_is_loud_rather_than_generous() -> None:
    with pytest.raises(ValueError, match="DateGreaterThan"):
        allowed(statement(Condition={"DateGreaterThan": {"k": "2026"}}), context={"k": "2027"})


def test_policy_variables_are_filled_in() -> None:
    policy = statement(resources=ARN.replace("demo", "${aws:PrincipalTag/team}"))
    assert allowed(policy, context={"aws:PrincipalTag/team": "demo"})
    assert not allowed(policy, context={"aws:PrincipalTag/team": "other"})
    assert not allowed(policy)


def test_a_boundary_takes_away_and_never_gives() -> None:
    boundary = [statement("ssm:Get*", "*")]
    wide = [statement("*", "*")]
    assert evaluate(wide, "ssm:GetParameter", ARN, boundary=boundary).allowed
    assert not evaluate(wide, "ssm:PutParameter", ARN, boundary=boundary).allowed
    assert not evaluate([], "ssm:GetParameter", ARN, boundary=boundary).allowed


names = st.text("abc/", min_size=1, max_size=6)


@given(mine=names, theirs=names, wild=st.booleans())
def test_a_denial_added_never_allows_more(*, mine: str, theirs: str, wild: bool) -> None:
    pattern = "*" if wild else theirs
    before = [statement(resources=f"arn:{mine}")]
    after = [*before, statement(resources=f"arn:{pattern}", Effect="Deny")]
    for resource in (f"arn:{mine}", f"arn:{theirs}"):
        if not evaluate(before, "ssm:GetParameter", resource).allowed:
            assert not evaluate(after, "ssm:GetParameter", resource).allowed


@given(st.text(max_size=8))
def test_a_plain_pattern_matches_itself_only(text: str) -> None:
    plain = text.replace("*", "").replace("?", "")
    assert matches(plain, plain)
    assert not matches(plain, plain + "x")
