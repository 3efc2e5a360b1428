"""What the caller may do, asked of IAM: what is lacking is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.doctor.conftest import Examine, said
from tests.plugins.standing import TEXT, Standing

from hubdeploy.config.names import Role
from hubdeploy.operate import policy
from hubdeploy.pipeline.step import Severity

Make = Callable[[str], Standing]
CHECK = "aws.permissions"


def without(made: Standing, *actions: str, text: str = "") -> Standing:
    """The deployment, for an operator with all of the policy but these actions."""
    document = policy.document(made.names)
    for statement in document["Statement"]:
        statement["Action"] = [a for a in statement["Action"] if a not in actions]
    document["Statement"] = [s for s in document["Statement"] if s["Action"]]
    if text:
        document["Statement"].append({"Effect": "Deny", "Action": text, "Resource": "*"})
    return replace(made, operator=made.cloud.restricted(document))


def test_the_policy_that_is_printed_is_all_that_is_asked_for(
    configured: Make, examine: Examine
) -> None:
    made = configured(TEXT)
    assert examine(without(made), CHECK).findings == []
    kept = policy.document(made.names, files=False)
    files = replace(made, operator=made.cloud.restricted(kept))
    assert examine(files, CHECK).findings == [], "deleting the files may be kept from an operator"


def test_every_action_that_the_caller_lacks_is_named(configured: Make, examine: Examine) -> None:
    lacking = ("ec2:RunInstances", "ec2:CreateVpc", "iam:PassRole", "ecr:CreateRepository")
    report = examine(without(configured(TEXT), *lacking), CHECK)
    assert report.severity is Severity.ERROR
    assert [(f.subject, f.message) for f in report.findings] == [
        ("ec2", "the caller lacks ec2:CreateVpc, ec2:RunInstances"),
        ("ecr", "the caller lacks ecr:CreateRepository"),
        ("iam", "the caller lacks iam:PassRole"),
    ]
    assert all("hubdeploy policy" in f.hint for f in report.findings)


def test_what_only_a_pattern_grants_is_asked_for_by_name(
    configured: Make, examine: Examine
) -> None:
    report = examine(without(configured(TEXT), text="ec2:DescribeVpcs"), CHECK)
    assert said(report) == "the caller lacks ec2:DescribeVpcs"


def test_rights_for_another_deployment_are_not_enough(configured: Make, examine: Examine) -> None:
    made = configured(TEXT)
    other = replace(made.names, deployment="other")
    wrong = replace(made, operator=made.cloud.restricted(policy.document(other)))
    found = said(examine(wrong, CHECK))
    assert "ec2:TerminateInstances" in found
    assert "ssm:PutParameter" in found
    assert "ec2:DescribeVpcs" not in found


def test_a_caller_who_may_not_ask_iam_is_warned(configured: Make, examine: Examine) -> None:
    report = examine(without(configured(TEXT), "iam:SimulatePrincipalPolicy"), CHECK)
    assert report.severity is Severity.WARNING
    assert "what the caller may do cannot be told" in said(report)
    assert "iam:SimulatePrincipalPolicy" in report.findings[0].hint


def test_a_role_is_asked_about_as_iam_knows_it(standing: Standing, examine: Examine) -> None:
    name = standing.names.machine_role(Role.LEADER)
    role = replace(standing, operator=standing.cloud.as_role(name))
    report = examine(role, CHECK)
    # a machine's role may not read itself
    assert report.severity is Severity.WARNING
    client = standing.cloud.client("iam")
    client.put_role_policy(
        RoleName=name,
        PolicyName="ask",
        PolicyDocument='{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": '
        '"*", "Action": ["iam:GetRole", "iam:SimulatePrincipalPolicy"]}]}',
    )
    report = examine(role, CHECK)
    assert report.severity is Severity.ERROR
    assert "ec2:RunInstances" in said(report)
