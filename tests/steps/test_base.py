"""What passes by itself at AWS is tried again, by exactly its code and to the configured deadline;
what does not is an error at once."""

from __future__ import annotations

import re
import time
from collections import Counter

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
    ("efs", "CreateMountTarget", "SubnetNotFound"),
    ("efs", "CreateMountTarget", "SecurityGroupNotFound"),
    ("efs", "CreateAccessPoint", "FileSystemNotFound"),
    ("iam", "PutRolePolicy", "NoSuchEntity"),
    ("iam", "AddRoleToInstanceProfile", "ConcurrentModification"),
    ("ec2", "CreateSubnet", "InvalidVpcID.NotFound"),
    ("ec2", "CreateNatGateway", "InvalidAllocationID.NotFound"),
    ("ec2", "CreateRoute", "InvalidGatewayID.NotFound"),
    ("ec2", "CreateRoute", "InvalidNatGatewayID.NotFound"),
    ("ec2", "CreateVpcEndpoint", "InvalidRouteTableId.NotFound"),
    ("ec2", "RunInstances", "InvalidGroup.NotFound"),
    ("ec2", "RunInstances", "InvalidSubnetID.NotFound"),
    ("ec2", "RunInstances", "InvalidKeyPair.NotFound"),
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
    assert cloud.faults.raised == Counter(call[:2] for call in PASSING + THROTTLING)
    assert rig.plan() == []


def test_what_only_a_text_tells_is_waited_for_too(rig: Rig, cloud: CloudAccount) -> None:
    profile = "Value (x) for parameter iamInstanceProfile.name is invalid."
    profile += " Invalid IAM Instance Profile name"
    passing = [
        ("ec2", "RunInstances", "InvalidParameterValue", profile),
        ("ec2", "CreateLaunchTemplate", "InvalidParameterValue", profile),
        ("autoscaling", "CreateAutoScalingGroup", "ValidationError", profile),
        ("autoscaling", "CreateAutoScalingGroup", "ValidationError", "The subnet does not exist"),
    ]
    for service, operation, code, text in passing:
        cloud.faults.inject(service, operation, code, message=text, times=1)
    rig.up()
    assert cloud.faults.raised == Counter(call[:2] for call in passing)


def test_another_wrong_value_of_the_same_code_is_refused_at_once(
    rig: Rig, cloud: CloudAccount
) -> None:
    cloud.faults.inject("ec2", "CreateLaunchTemplate", "InvalidParameterValue", message="Odd.")
    with pytest.raises(PipelineFailed) as failed:
        rig.up()
    assert set(failed.value.failures) == {"workers.template"}
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
    told = [error.message for error in failed.value.failures.values()]
    assert any(f"({code})" in text for text in told)
    assert time.monotonic() - began < WAITS[wait]


def test_a_nat_gateway_is_waited_for_no_longer_than_configured(
    rig: Rig, cloud: CloudAccount
) -> None:
    cloud.settings.nat_delay = 60
    with pytest.raises(PipelineFailed) as failed:
        rig.up(waits={**WAITS, "aws": 1})
    told = failed.value.failures["network.nat"].message
    assert re.match(r"NAT gateway nat-\w+: not there after \d+ s", told)


def test_what_is_in_use_is_removed_once_it_is_free(rig: Rig, cloud: CloudAccount) -> None:
    rig.up()
    cloud.faults.inject("ec2", "DeleteSecurityGroup", "DependencyViolation", times=2)
    said = list[str]()
    runner.down(rig.steps(say=said.append))
    assert "waiting for what still hinders delete_security_group (DependencyViolation)" in said
    assert cloud.faults.raised["ec2", "DeleteSecurityGroup"] == 2
