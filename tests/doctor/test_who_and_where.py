"""Credentials, clock, region, and names that are somebody else's: each fault is seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.doctor.conftest import Examine, debian, said
from tests.plugins.standing import TEXT, Standing

from hubdeploy.config.names import Role
from hubdeploy.pipeline.step import Severity
from hubdeploy.sandbox.cloud.credentials import Principal

Make = Callable[[str], Standing]
BASE = 'name = "demo"\nregion = "eu-central-1"\n'


def test_the_accounts_root_is_warned_of(configured: Make, examine: Examine) -> None:
    made = configured(TEXT)
    keys = made.cloud.cloud.keys.issue(Principal(account=made.cloud.account, user="root"))
    root = replace(made, operator=made.cloud.session(keys))
    report = examine(root, "aws.credentials")
    assert report.severity is Severity.WARNING
    assert "root credentials" in said(report)


def test_expired_credentials_are_an_error_with_what_to_do(
    configured: Make, examine: Examine
) -> None:
    made = configured(TEXT)
    made.cloud.cloud.keys.expire(made.cloud.account)
    report = examine(made, "aws.credentials")
    made.cloud.cloud.keys.renew(made.cloud.account)
    assert report.severity is Severity.ERROR
    assert "renew them" in report.findings[0].hint


@pytest.mark.parametrize(
    ("off", "severity"),
    [(0, Severity.OK), (60, Severity.WARNING), (-60, Severity.WARNING), (3600, Severity.ERROR)],
)
def test_a_clock_that_is_off_is_seen(
    configured: Make, examine: Examine, off: int, severity: Severity
) -> None:
    made = configured(TEXT)
    made.cloud.settings.clock = off
    report = examine(made, "aws.clock")
    assert report.severity is severity
    assert not off or "s off AWS's" in said(report)


def test_a_region_that_is_not_enabled_and_one_that_is_none_are_told_apart(
    configured: Make, examine: Examine
) -> None:
    assert examine(configured(TEXT), "aws.region").severity is Severity.OK
    closed = configured('name = "demo"\nregion = "me-central-1"\n')
    report = examine(closed, "aws.region")
    assert said(report) == "region me-central-1 is not enabled in this account"
    assert "enable-region" in report.findings[0].hint
    none = examine(configured('name = "demo"\nregion = "eu-nowhere-1"\n'), "aws.region")
    assert said(none) == "there is no region eu-nowhere-1"
    assert "eu-central-1" in none.findings[0].hint


def test_an_overlapping_vpc_is_named(configured: Make, examine: Examine) -> None:
    made = configured(BASE)
    vpc = made.aws.call("ec2", "create_vpc", CidrBlock="10.42.0.0/16")["Vpc"]["VpcId"]
    assert vpc in said(examine(made, "aws.network"))


def test_a_bucket_of_our_name_in_another_account_is_seen(
    configured: Make, examine: Examine
) -> None:
    made = configured(BASE)
    other = made.cloud.session(made.cloud.cloud.operator("999999999999"))
    bucket = made.names.bucket
    other.call(
        "s3",
        "create_bucket",
        Bucket=bucket,
        CreateBucketConfiguration={"LocationConstraint": "eu-central-1"},
    )
    try:
        report = examine(made, "aws.name")
    finally:
        other.call("s3", "delete_bucket", Bucket=bucket)
    assert said(report) == f"bucket {bucket} belongs to somebody else"


def test_a_group_of_our_name_that_is_not_ours_is_named(configured: Make, examine: Examine) -> None:
    made = configured(BASE)
    image = debian(made)
    made.aws.call(
        "ec2",
        "create_launch_template",
        LaunchTemplateName="theirs",
        LaunchTemplateData={"ImageId": image, "InstanceType": "t3.micro"},
    )
    made.aws.call(
        "autoscaling",
        "create_auto_scaling_group",
        AutoScalingGroupName=made.names.workers_group("m6i.xlarge"),
        LaunchTemplate={"LaunchTemplateName": "theirs"},
        MinSize=0,
        MaxSize=0,
        AvailabilityZones=["eu-central-1a"],
    )
    assert "is not this deployment's" in said(examine(made, "aws.name"))


def test_roles_repositories_logs_and_parameters_of_our_names_are_seen(
    configured: Make, examine: Examine
) -> None:
    made = configured(BASE)
    aws, names = made.aws, made.names
    assert examine(made, "aws.name").findings == []
    role = names.machine_role(Role.LEADER)
    trust = '{"Version": "2012-10-17", "Statement": []}'
    aws.call("iam", "create_role", RoleName=role, AssumeRolePolicyDocument=trust)
    aws.call("iam", "create_instance_profile", InstanceProfileName=role)
    aws.call("ecr", "create_repository", repositoryName=names.repository)
    aws.call("logs", "create_log_group", logGroupName=names.log_group("hub"))
    strange = f"{names.parameters.root}/somebodys"
    aws.call("ssm", "put_parameter", Name=strange, Value="x", Type="String")
    report = examine(made, "aws.name")
    assert [f.message for f in report.findings] == [
        f"IAM role {role} is not this deployment's",
        f"instance profile {role} is not this deployment's",
        f"ECR repository {names.repository} is not this deployment's",
        f"log group {names.log_group('hub')} is not this deployment's",
        f"parameter {strange} is none of hubdeploy's: `down` deletes it",
    ]


def test_what_the_deployment_made_itself_is_its_own(standing: Standing, examine: Examine) -> None:
    assert examine(standing, "aws.name").findings == []
