"""The fixture itself: accounts apart from each other, credentials of the embedded AWS only."""

from __future__ import annotations

import socket

import pytest

from hubdeploy.aws.session import Aws
from hubdeploy.errors import AwsError
from tests.plugins.aws import CloudAccount, OutsideConnection


def test_the_operator_is_known_by_the_account(cloud: CloudAccount) -> None:
    assert cloud.aws.account == cloud.account


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_starts_with_an_empty_account(cloud: CloudAccount, turn: int) -> None:
    s3 = cloud.client("s3")
    assert s3.list_buckets()["Buckets"] == []
    assert len(cloud.calls) == 1, turn
    # names of buckets are global: the former test's must be free again
    s3.create_bucket(
        Bucket="the-same-name", CreateBucketConfiguration={"LocationConstraint": cloud.region}
    )


@pytest.mark.parametrize("service", ["ec2", "sts", "ssm", "s3"])
def test_a_strange_access_key_is_refused(cloud: CloudAccount, service: str) -> None:
    keys = ("AKIAIOSFODNN7EXAMPLE", "secret", None)
    aws = Aws(region=cloud.region, endpoint_url=cloud.endpoint_url, credentials=keys)
    read = {
        "ec2": "describe_vpcs",
        "sts": "get_caller_identity",
        "ssm": "describe_parameters",
        "s3": "list_buckets",
    }[service]
    with pytest.raises(AwsError) as refused:
        aws.call(service, read)
    assert refused.value.code in (
        "AuthFailure",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "InvalidAccessKeyId",
    )


@pytest.mark.parametrize(
    ("service", "read", "code"),
    [
        ("sts", "get_caller_identity", "ExpiredToken"),
        ("ssm", "describe_parameters", "ExpiredTokenException"),
        ("ec2", "describe_vpcs", "RequestExpired"),
    ],
)
def test_credentials_can_expire(cloud: CloudAccount, service: str, read: str, code: str) -> None:
    cloud.cloud.keys.expire(cloud.account)
    with pytest.raises(AwsError) as refused:
        cloud.aws.call(service, read)
    assert refused.value.code == code


def test_no_test_can_leave_this_machine(cloud: CloudAccount) -> None:
    assert cloud.aws.account
    with pytest.raises(OutsideConnection), socket.socket() as sock:
        sock.connect(("203.0.113.1", 80))
