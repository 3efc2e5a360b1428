"""What passes by itself at AWS is tried again, by exactly its code and to the configured deadline;
what does not is an error at once."""

from __future__ import annotations

import time

import pytest

from hubdeploy.pipeline import runner
from hubdeploy.pipeline.runner import PipelineFailed
from tests.plugins.aws import CloudAccount
from tests.steps.rig import WAITS, Rig


@pytest.fixture
def rig(cloud: CloudAccount) -> Rig:
    return Rig(cloud)


PASSING = [
    ("s3", "CreateBucket", "OperationAborted"),
    ("s3", "PutBucketPolicy", "OperationAborted"),
    ("s3", "PutBucketVersioning", "NoSuchBucket"),
    ("efs", "CreateMountTarget", "IncorrectFileSystemLifeCycleState"),
    ("efs", "CreateAccessPoint", "FileSystemNotFound"),
    ("iam", "PutRolePolicy", "NoSuchEntity"),
    ("iam", "AddRoleToInstanceProfile", "ConcurrentModification"),
    ("ec2", "CreateSubnet", "InvalidVpcID.NotFound"),
    ("ec2", "CreateNatGateway", "InvalidAllocationID.NotFound"),
    ("ec2", "RunInstances", "InvalidGroup.NotFound"),
    ("ec2", "AssociateAddress", "InvalidInstanceID"),
    ("autoscaling", "CreateAutoScalingGroup", "InvalidLaunchTemplateId.NotFound"),
    ("logs", "PutRetentionPolicy", "OperationAbortedException"),
    ("servicediscovery", "CreateService", "NamespaceNotFound"),
]
"""Service, operation, and the code with which AWS refuses it for a while."""
THROTTLING = [
    ("ec2", "AuthorizeSecurityGroupIngress", "RequestLimitExceeded"),
    ("ssm", "PutParameter", "ThrottlingException"),
    ("route53", "ListHostedZones", "PriorRequestNotComplete"),
    ("s3", "PutObject", "SlowDown"),
]


def test_an_up_that_aws_puts_off_at_every_turn_still_ends(cloud: CloudAccount) -> None:
    cloud.client("route53").create_hosted_zone(Name="example.org", CallerReference="x")
    rig = Rig(cloud, domain="example.org")
    for service, operation, code in PASSING + THROTTLING:
        cloud.faults.inject(service, operation, code, times=1)
    rig.up()
    assert {call for call, count in cloud.faults.raised.items() if count == 1} == {
        (service, operation) for service, operation, _ in PASSING + THROTTLING
    }
    assert rig.plan() == []


def test_a_profile_that_ec2_does_not_know_is_waited_for_and_another_wrong_value_is_not(
    rig: Rig, cloud: CloudAccount
) -> None:
    """Both have the same code."""
    unknown = "Value (x) for parameter iamInstanceProfile.name is invalid."
    unknown += " Invalid IAM Instance Profile name"
    cloud.faults.inject("ec2", "RunInstances", "InvalidParameterValue", message=unknown, times=1)
    cloud.faults.inject("ec2", "CreateLaunchTemplate", "InvalidParameterValue", message="Odd.")
    with pytest.raises(PipelineFailed) as failed:
        rig.up()
    assert set(failed.value.failures) == {"workers.template"}
    assert cloud.faults.raised["ec2", "RunInstances"] == 1
    assert cloud.faults.raised["ec2", "CreateLaunchTemplate"] == 1


def test_a_code_that_does_not_pass_by_itself_is_refused_at_once(
    rig: Rig, cloud: CloudAccount
) -> None:
    cloud.faults.inject("ec2", "CreateSubnet", "SubnetLimitExceeded")
    with pytest.raises(PipelineFailed):
        rig.up()
    assert cloud.faults.raised["ec2", "CreateSubnet"] == 1


@pytest.mark.parametrize(
    ("wait", "operation", "code"),
    [
        ("settle", "CreateSubnet", "InvalidVpcID.NotFound"),
        ("aws", "AssociateAddress", "InvalidInstanceID"),
    ],
)
def test_waiting_ends_at_the_configured_deadline_with_awss_last_word(
    rig: Rig, cloud: CloudAccount, wait: str, operation: str, code: str
) -> None:
    cloud.faults.inject("ec2", operation, code)
    began = time.monotonic()
    with pytest.raises(PipelineFailed) as failed:
        rig.up(waits={**WAITS, wait: 1})
    assert f"({code})" in str(failed.value)
    assert time.monotonic() - began < WAITS[wait]


def test_a_nat_gateway_is_waited_for_no_longer_than_configured(
    rig: Rig, cloud: CloudAccount
) -> None:
    cloud.settings.nat_delay = 60
    with pytest.raises(PipelineFailed, match=r"NAT gateway nat-\w+: not there after \d s"):
        rig.up(waits={**WAITS, "aws": 1})


def test_what_is_in_use_is_removed_once_it_is_free(rig: Rig, cloud: CloudAccount) -> None:
    rig.up()
    cloud.faults.inject("ec2", "DeleteSecurityGroup", "DependencyViolation", times=2)
    said = list[str]()
    runner.down(rig.steps(say=said.append))
    assert "waiting for what still hinders delete_security_group (DependencyViolation)" in said
    assert cloud.faults.raised["ec2", "DeleteSecurityGroup"] == 2
