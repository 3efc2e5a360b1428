"""Clients, pages, the call log and what AWS's errors become."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

import pytest

from hubdeploy.aws.inventory import Inventory, tags_of
from hubdeploy.aws.masking import MASK, masked
from hubdeploy.aws.session import Aws, is_made_once
from hubdeploy.config.names import TAG_DEPLOYMENT, TAG_RESOURCE, Names
from hubdeploy.errors import AwsError
from tests.plugins.aws import CloudAccount


def names(cloud: CloudAccount, deployment: str = "demo") -> Names:
    return Names(deployment=deployment, region=cloud.region, account=cloud.account)


def test_clients_are_made_once_whoever_asks(cloud: CloudAccount) -> None:
    with ThreadPoolExecutor(16) as pool:
        clients = list(pool.map(lambda _: cloud.aws.client("ec2"), range(32)))
    assert len({id(client) for client in clients}) == 1


def test_all_pages_are_read_and_what_has_no_pages_too(cloud: CloudAccount) -> None:
    for number in range(23):
        cloud.client("ssm").put_parameter(Name=f"/x/{number}", Value="v", Type="String")
    found = cloud.aws.pages("ssm", "get_parameters_by_path", "Parameters", Path="/x")
    assert len(found) == 23
    assert cloud.aws.pages("ec2", "describe_addresses", "Addresses") == []


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("UnauthorizedOperation", "hubdeploy policy"),
        ("VpcLimitExceeded", "Service Quotas"),
        ("ExpiredToken", "renew"),
        ("InsufficientInstanceCapacity", "other instance types"),
    ],
)
def test_aws_refusals_are_one_line_with_a_code_and_a_hint(
    cloud: CloudAccount, code: str, hint: str
) -> None:
    cloud.faults.inject("ec2", "CreateVpc", code, message="No,\n  not now.")
    with pytest.raises(AwsError) as failed:
        cloud.aws.call("ec2", "create_vpc", CidrBlock="10.0.0.0/16")
    error = failed.value
    assert (error.code, error.operation) == (code, "create_vpc")
    assert error.message == f"ec2 create_vpc: No, not now. ({code})"
    assert hint in error.hint


def test_missing_credentials_are_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    with pytest.raises(AwsError, match="no AWS credentials found") as failed:
        Aws(region="eu-central-1", endpoint_url="http://127.0.0.1:9").call("ec2", "describe_vpcs")
    assert "--sandbox" in failed.value.hint


def test_an_endpoint_out_of_reach_is_said_so() -> None:
    aws = Aws(
        region="eu-central-1", endpoint_url="http://127.0.0.1:9", credentials=("a", "b", None)
    )
    aws.client("sts").meta.config.retries["total_max_attempts"] = 1
    with pytest.raises(AwsError, match="cannot reach AWS for sts"):
        _ = aws.account


def test_what_makes_something_is_not_repeated_when_its_answer_is_lost(cloud: CloudAccount) -> None:
    cloud.faults.drop("ec2", "CreateVpc")
    cloud.faults.drop("ec2", "DescribeVpcs")
    before = len(cloud.aws.pages("ec2", "describe_vpcs", "Vpcs"))
    with pytest.raises(AwsError) as failed:
        cloud.aws.call("ec2", "create_vpc", CidrBlock="10.0.0.0/16")
    assert failed.value.code == "NoAnswer"
    assert "goes on from where things are" in failed.value.hint
    assert len(cloud.aws.pages("ec2", "describe_vpcs", "Vpcs")) == before + 1


def test_what_makes_something_is_tried_again_while_aws_has_no_time_for_it(
    cloud: CloudAccount,
) -> None:
    cloud.faults.inject("ec2", "CreateVpc", "RequestLimitExceeded", times=2)
    cloud.aws.call("ec2", "create_vpc", CidrBlock="10.0.0.0/16")
    assert cloud.faults.raised["ec2", "CreateVpc"] == 2
    cloud.faults.inject("ec2", "AllocateAddress", "RequestLimitExceeded")
    hurried = cloud.session(cloud.credentials)
    hurried.patience = 0.2
    with pytest.raises(AwsError) as failed:
        hurried.call("ec2", "allocate_address", Domain="vpc")
    assert failed.value.code == "RequestLimitExceeded"
    assert "throttling" in failed.value.hint


@pytest.mark.parametrize(
    ("operation", "params", "once"),
    [
        ("describe_vpcs", {}, False),
        ("create_tags", {}, False),
        ("put_role_policy", {}, False),
        ("put_parameter", {"Overwrite": True}, False),
        ("put_parameter", {}, True),
        ("run_instances", {}, True),
        ("allocate_address", {}, True),
    ],
)
def test_only_what_would_be_there_twice_is_made_once(
    operation: str, params: dict[str, bool], once: bool
) -> None:
    assert is_made_once(operation, params) is once


def test_every_call_is_logged_without_secrets(
    cloud: CloudAccount, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="hubdeploy.aws.calls")
    aws = cloud.aws
    aws.call("ssm", "put_parameter", Name="/x", Value="hunter2", Type="SecureString")
    aws.call("ssm", "get_parameter", Name="/x", WithDecryption=True)
    assert "ssm.PutParameter" in caplog.text
    assert "ssm.GetParameter" in caplog.text
    assert "hunter2" not in caplog.text


def test_secrets_are_masked_by_name_and_by_look() -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----"
    assert masked({"Password": "x", "NextToken": "n", "Text": f"a {key} b"}) == {
        "Password": MASK,
        "NextToken": "n",
        "Text": f"a {MASK} b",
    }
    assert masked([{"Type": "SecureString", "Value": "x"}, b"123"]) == [
        {"Type": "SecureString", "Value": MASK},
        "<3 bytes>",
    ]


def test_what_only_sounds_like_a_secret_is_left() -> None:
    harmless = {
        "private_ip": "10.42.0.4",
        "PrivateIpAddress": "10.42.0.4",
        "token_url": "https://login.example.org/token",
        "userdata_url": "https://login.example.org/userinfo",
    }
    assert masked(harmless) == harmless
    assert masked(dict.fromkeys(("private_key", "privateKey", "UserData", "token"), "x")) == (
        dict.fromkeys(("private_key", "privateKey", "UserData", "token"), MASK)
    )


def test_tags_are_read_in_all_of_awss_spellings() -> None:
    assert tags_of({"Tags": [{"Key": "a", "Value": "1"}]}) == {"a": "1"}
    assert tags_of({"TagSet": [{"Key": "a", "Value": "1"}]}) == {"a": "1"}
    assert tags_of({"tags": {"a": "1"}}) == {"a": "1"}
    assert tags_of({"tags": [{"key": "a", "value": "1"}]}) == {"a": "1"}
    assert tags_of({}) == {}


def test_the_inventory_reads_once_for_all_who_ask(cloud: CloudAccount) -> None:
    inventory = Inventory(aws=cloud.aws, names=names(cloud))
    cloud.calls.clear()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: inventory.ec2("describe_vpcs", "Vpcs"), range(20)))
    assert cloud.calls.counts(account=cloud.account) == {"ec2:DescribeVpcs": 1}
    inventory.forget("describe_vpcs")
    inventory.ec2("describe_vpcs", "Vpcs")
    assert cloud.calls.counts(account=cloud.account) == {"ec2:DescribeVpcs": 2}


def test_the_inventory_never_shows_another_deployments_things(cloud: CloudAccount) -> None:
    subnet = cloud.client("ec2").describe_subnets()["Subnets"][0]["SubnetId"]
    for deployment in ("demo", "other"):
        tags = [
            {"Key": TAG_DEPLOYMENT, "Value": deployment},
            {"Key": TAG_RESOURCE, "Value": "nat"},
        ]
        address = cloud.client("ec2").allocate_address(Domain="vpc")["AllocationId"]
        cloud.client("ec2").create_nat_gateway(
            SubnetId=subnet,
            AllocationId=address,
            TagSpecifications=[{"ResourceType": "natgateway", "Tags": tags}],
        )
    inventory = Inventory(aws=cloud.aws, names=names(cloud))
    found = inventory.ec2("describe_nat_gateways", "NatGateways")
    assert [tags_of(item)[TAG_DEPLOYMENT] for item in found] == ["demo"]
