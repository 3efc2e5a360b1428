"""The operator's policy suffices for every command, and for nothing beyond the deployment."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.plugins.aws import CloudAccount
from tests.plugins.standing import TEXT, Standing
from typer.testing import CliRunner

from hubdeploy.cli.main import app
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
LONGEST_NAME = 24
NAMES = Names(deployment="demo", region="eu-central-1", account="111122223333")


def limited(made: Standing) -> Standing:
    """The same deployment, for an operator with nothing but the policy."""
    return replace(made, operator=made.cloud.restricted(*policy.documents(made.names)))


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


LONGEST = "arn:aws-us-gov:iam::111122223333:policy/" + "path/" * 102 + "b" * 128
"""A boundary's ARN: its path may have 512 characters, its name 128 (IAM quotas)."""


@pytest.mark.parametrize("files", [True, False])
@pytest.mark.parametrize("boundary", [None, LONGEST])
@pytest.mark.parametrize("region", ["eu-central-1", "us-gov-west-1", "cn-northwest-1"])
def test_two_managed_policies_are_the_whole_whatever_the_name(
    region: str, boundary: str | None, files: bool
) -> None:
    for length in range(1, LONGEST_NAME + 1):
        names = Names(deployment="a" * length, region=region, account="111122223333")
        parts = policy.documents(names, boundary=boundary, files=files)
        # white space is not counted (IAM quotas); there is none in a name or an ARN
        assert all(len("".join(json.dumps(part).split())) <= 6_144 for part in parts)
        assert len(parts) == 2
        whole = policy.document(names, boundary=boundary, files=files)
        assert by_sid(parts) == by_sid([whole])


def by_sid(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted((s for d in documents for s in d["Statement"]), key=lambda each: each["Sid"])


def test_as_a_whole_it_fits_a_permission_set() -> None:
    # PutInlinePolicyToPermissionSet takes 32,768 characters, white space counted
    names = Names(deployment="a" * LONGEST_NAME, region="us-gov-west-1", account="111122223333")
    assert len(json.dumps(policy.document(names, boundary=LONGEST), indent=2)) < 32_768


def test_iam_takes_the_files_that_the_command_writes(tmp_path: Path, cloud: CloudAccount) -> None:
    config = tmp_path / "hubdeploy.toml"
    config.write_text(f'name = "{"a" * LONGEST_NAME}"\nregion = "eu-central-1"\n')
    words = ["policy", "--config", str(config), "--account", "111122223333"]
    ran = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "new" / "policies")])
    assert ran.exit_code == 0, ran.output
    asked = re.findall(r"--policy-name (\S+) \\\n  --policy-document file://(\S+)", ran.stdout)
    made = [
        cloud.aws.call(
            "iam", "create_policy", PolicyName=name, PolicyDocument=Path(path).read_text()
        )
        for name, path in asked
    ]
    assert len(made) == 2
    names = Names(deployment="a" * LONGEST_NAME, region="eu-central-1", account="111122223333")
    written = [json.loads(Path(path).read_text()) for _, path in asked]
    assert written == policy.documents(names)
    whole = CliRunner().invoke(app, words)
    assert json.loads(whole.stdout) == policy.document(names)


def test_a_folder_that_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    config = tmp_path / "hubdeploy.toml"
    config.write_text('name = "demo"\nregion = "eu-central-1"\n')
    words = ["policy", "--config", str(config), "--account", "111122223333", "--out", str(config)]
    ran = subprocess.run(
        [Path(sys.executable).with_name("hubdeploy"), *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert f"error: cannot write {config}" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_refused_call_points_to_the_policy(configured: Make) -> None:
    made = configured(TEXT)
    nobody = replace(
        made, operator=made.cloud.restricted({"Version": "2012-10-17", "Statement": []})
    )
    with pytest.raises(AwsError) as caught:
        nobody.aws.pages("ec2", "describe_vpcs", "Vpcs")
    assert "hubdeploy policy" in caught.value.hint
