"""The operator's policy suffices for every command, and for nothing beyond the deployment."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.plugins.standing import TEXT, Standing

from hubdeploy.config.names import Names
from hubdeploy.doctor import all_checks
from hubdeploy.doctor.check import run
from hubdeploy.doctor.context import DoctorContext
from hubdeploy.errors import AwsError
from hubdeploy.operate import cost, policy, scale, secrets, status
from hubdeploy.pipeline.runner import PipelineFailed
from hubdeploy.remote.ssm import SsmChannel
from hubdeploy.sandbox.cloud.rights.policy import evaluate

Make = Callable[[str], Standing]
OUTSIDE = ("spawn", "hub.image", "chef.packages", "hub.url")
"""Checks that ask others than AWS."""
NAMES = Names(deployment="demo", region="eu-central-1", account="111122223333")


def limited(made: Standing) -> Standing:
    """The same deployment, for an operator with nothing but the policy."""
    document = policy.document(made.names)
    return replace(made, operator=made.cloud.restricted(document))


def denied(made: Standing) -> list[str]:
    return sorted(
        {
            f"{call.service}:{call.operation}: {call.error}"
            for call in made.cloud.calls.find(account=made.cloud.account)
            if re.search("Denied|Unauthorized", call.error or "")
        }
    )


def test_the_policy_suffices_for_every_command(configured: Make) -> None:
    made = limited(configured(TEXT))
    made.up()
    made.plan()
    aws, names = made.aws, made.names
    status.read(aws=aws, names=names)
    cost.read(made.config, aws=aws)
    before = scale.current(aws=aws, names=names)
    scale.scale(scale.wanted(before, max_nodes=12), aws=aws, names=names)
    secrets.store("hub/shared-password", "open sesame", aws=aws, names=names)
    channel = SsmChannel(aws=aws, bucket=names.bucket, every=0.2)
    targets = [m.target for m in status.machines(aws=aws, names=names)]
    assert all(r.ok for r in channel.run(targets, "echo hello", deadline=10))
    ctx = DoctorContext(config=made.config, names=names, aws=aws, channel=channel)
    run([check(ctx) for check in all_checks() if check.name not in OUTSIDE])
    made.down(delete_files=names.deployment)
    assert made.cloud.calls.find(account=made.cloud.account)
    assert denied(made) == []


@pytest.mark.parametrize(
    ("sid", "action"),
    [
        ("MountTargetPlace", "ec2:CreateNetworkInterface"),
        ("MountTargetInterface", "ec2:CreateNetworkInterface"),
        ("AwsOwnRoles", "iam:CreateServiceLinkedRole"),
    ],
)
def test_what_services_do_on_the_operators_behalf_has_to_be_granted(
    configured: Make, sid: str, action: str
) -> None:
    made = configured(TEXT)
    document = policy.document(made.names)
    document["Statement"] = [each for each in document["Statement"] if each["Sid"] != sid]
    one = replace(made, operator=made.cloud.restricted(document))
    with pytest.raises(PipelineFailed, match=action):
        one.up()


@pytest.mark.parametrize(
    ("region", "partition"),
    [("eu-central-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")],
)
def test_every_arn_is_in_the_regions_partition(region: str, partition: str) -> None:
    made = policy.document(Names(deployment="demo", region=region, account="111122223333"))
    arns = re.findall(r"arn:([^:]*):", json.dumps(made))
    assert arns
    assert set(arns) == {partition}


@pytest.mark.parametrize(
    ("action", "resource", "tags"),
    [
        ("ec2:TerminateInstances", "arn:aws:ec2:eu-central-1:111122223333:instance/i-1", "other"),
        ("ec2:DeleteVpc", "arn:aws:ec2:eu-central-1:111122223333:vpc/vpc-1", ""),
        ("ssm:SendCommand", "arn:aws:ec2:eu-central-1:111122223333:instance/i-1", "other"),
        ("ssm:GetParameter", "arn:aws:ssm:eu-central-1:111122223333:parameter/hubdeploy/x/a", ""),
        ("s3:GetObject", "arn:aws:s3:::somebody-elses/key", ""),
        ("iam:PutRolePolicy", "arn:aws:iam::111122223333:role/admin", ""),
        ("iam:PassRole", "arn:aws:iam::111122223333:role/admin", ""),
        ("iam:CreateUser", "arn:aws:iam::111122223333:user/me", ""),
        (
            "elasticfilesystem:DeleteFileSystem",
            "arn:aws:elasticfilesystem:eu-central-1:111122223333:file-system/fs-1",
            "other",
        ),
    ],
)
def test_what_is_not_the_deployments_is_out_of_reach(action: str, resource: str, tags: str) -> None:
    context = {"aws:ResourceTag/hubdeploy:deployment": tags} if tags else {}
    decision = evaluate([policy.document(NAMES)], action, resource, context)
    assert not decision.allowed


def test_without_the_right_to_delete_files_they_stay() -> None:
    arn = "arn:aws:elasticfilesystem:eu-central-1:111122223333:file-system/fs-1"
    context = {"aws:ResourceTag/hubdeploy:deployment": "demo"}
    action = "elasticfilesystem:DeleteFileSystem"
    assert evaluate([policy.document(NAMES)], action, arn, context).allowed
    kept = policy.document(NAMES, files=False)
    assert not evaluate([kept], action, arn, context).allowed


def test_with_a_boundary_no_role_can_be_made_without_it() -> None:
    boundary = "arn:aws:iam::111122223333:policy/bound"
    document = policy.document(NAMES, boundary=boundary)
    arn = "arn:aws:iam::111122223333:role/hubdeploy-demo-eu-central-1-leader"
    bound = {"iam:PermissionsBoundary": boundary}
    assert evaluate([document], "iam:CreateRole", arn, bound).allowed
    assert not evaluate([document], "iam:CreateRole", arn, {}).allowed
    assert not evaluate([document], "iam:DeleteRolePermissionsBoundary", arn, bound).allowed


def test_it_fits_into_a_roles_inline_policies() -> None:
    # 10,240 characters without white space (IAM quotas)
    assert len(json.dumps(policy.document(NAMES), separators=(",", ":"))) < 10_240


def test_a_refused_call_points_to_the_policy(configured: Make) -> None:
    made = configured(TEXT)
    nobody = replace(
        made, operator=made.cloud.restricted({"Version": "2012-10-17", "Statement": []})
    )
    with pytest.raises(AwsError) as caught:
        nobody.aws.pages("ec2", "describe_vpcs", "Vpcs")
    assert "hubdeploy policy" in caught.value.hint
