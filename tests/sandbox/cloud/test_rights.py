"""Calls with a role's credentials are held against that role's policies."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest

from hubdeploy.aws.session import Aws
from hubdeploy.errors import AwsError
from tests.plugins.aws import CloudAccount
from tests.sandbox.cloud.world import World, allow, tagged

DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403")


def may(call: Callable[[], Any]) -> bool:
    try:
        call()
    except AwsError as error:
        if error.code not in DENIED:
            raise
        return False
    return True


@pytest.fixture
def role(world: World) -> Callable[..., Aws]:
    """Makes a role with the statements given and answers with its credentials."""
    numbers = iter(range(100))

    def make(*policies: dict[str, Any]) -> Aws:
        name = f"role-{next(numbers)}"
        world.role(name, policies[0])
        for number, policy in enumerate(policies[1:]):
            world.cloud.client("iam").put_role_policy(
                RoleName=name, PolicyName=f"more-{number}", PolicyDocument=json.dumps(policy)
            )
        return world.cloud.as_role(name)

    return make


def parameter(cloud: CloudAccount, name: str) -> str:
    return f"arn:aws:ssm:{cloud.region}:{cloud.account}:parameter{name}"


def test_parameters_are_scoped_by_arn(world: World, role: Callable[..., Aws]) -> None:
    for name in ("/demo/a", "/other/a"):
        world.ssm.put_parameter(Name=name, Value="v", Type="SecureString")
    reader = role(allow("ssm:GetParameter*", parameter(world.cloud, "/demo/*")))
    assert may(lambda: reader.call("ssm", "get_parameter", Name="/demo/a"))
    assert may(lambda: reader.call("ssm", "get_parameters", Names=["/demo/a"]))
    assert not may(lambda: reader.call("ssm", "get_parameter", Name="/other/a"))
    # one name that is not allowed refuses the whole request
    assert not may(lambda: reader.call("ssm", "get_parameters", Names=["/demo/a", "/other/a"]))
    assert not may(lambda: reader.call("ssm", "put_parameter", Name="/demo/a", Value="x"))


def test_objects_are_scoped_by_key(world: World, role: Callable[..., Aws]) -> None:
    s3 = world.cloud.client("s3")
    for bucket in ("bucket-a", "bucket-b"):
        location = {"LocationConstraint": world.cloud.region}
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=location)
        for key in ("mine/x", "theirs/x"):
            s3.put_object(Bucket=bucket, Key=key, Body=b"1")
    one = role(
        allow(["s3:GetObject", "s3:PutObject"], "arn:aws:s3:::bucket-a/mine/*"),
        allow("s3:ListBucket", "arn:aws:s3:::bucket-a", StringLike={"s3:prefix": "mine/*"}),
    )
    assert may(lambda: one.call("s3", "get_object", Bucket="bucket-a", Key="mine/x"))
    assert may(lambda: one.call("s3", "put_object", Bucket="bucket-a", Key="mine/y", Body=b"2"))
    assert not may(lambda: one.call("s3", "get_object", Bucket="bucket-a", Key="theirs/x"))
    assert not may(lambda: one.call("s3", "get_object", Bucket="bucket-b", Key="mine/x"))
    assert not may(lambda: one.call("s3", "delete_object", Bucket="bucket-a", Key="mine/x"))
    assert may(lambda: one.call("s3", "list_objects_v2", Bucket="bucket-a", Prefix="mine/"))
    assert not may(lambda: one.call("s3", "list_objects_v2", Bucket="bucket-a"))


def test_instances_are_scoped_by_tag(world: World, role: Callable[..., Aws]) -> None:
    mine = world.running(TagSpecifications=tagged("instance", deployment="demo"))
    theirs = world.running(TagSpecifications=tagged("instance", deployment="other"))
    instances = f"arn:aws:ec2:*:{world.cloud.account}:instance/*"
    tag = {"ec2:ResourceTag/hubdeploy:deployment": "demo"}
    one = role(
        allow("ec2:TerminateInstances", instances, StringEquals=tag),
        allow("EC2:describe*"),
    )
    assert may(lambda: one.call("ec2", "describe_instances"))
    assert not may(lambda: one.call("ec2", "terminate_instances", InstanceIds=[theirs]))
    assert not may(lambda: one.call("ec2", "terminate_instances", InstanceIds=[mine, theirs]))
    assert may(lambda: one.call("ec2", "terminate_instances", InstanceIds=[mine]))
    assert world.state(theirs) == "running"


def test_groups_are_scoped_by_tag(world: World, role: Callable[..., Aws]) -> None:
    world.template()
    for name in ("demo", "other"):
        tag = {"Key": "hubdeploy:deployment", "Value": name, "PropagateAtLaunch": True}
        world.group(name, Tags=[{**tag, "ResourceId": name, "ResourceType": "auto-scaling-group"}])
    own = {"aws:ResourceTag/hubdeploy:deployment": "demo"}
    fleet = role(allow("autoscaling:*", "*", StringEquals=own))
    ids = world.in_service(2, "demo")
    others = world.in_service(2, "other")
    desired = {"DesiredCapacity": 2}
    capacity = "set_desired_capacity"
    assert may(lambda: fleet.call("autoscaling", capacity, AutoScalingGroupName="demo", **desired))
    assert not may(
        lambda: fleet.call("autoscaling", capacity, AutoScalingGroupName="other", **desired)
    )
    end = "terminate_instance_in_auto_scaling_group"
    keep = {"ShouldDecrementDesiredCapacity": False}
    assert may(lambda: fleet.call("autoscaling", end, InstanceId=ids[0], **keep))
    assert not may(lambda: fleet.call("autoscaling", end, InstanceId=others[0], **keep))


def test_tags_in_the_request_can_be_demanded(world: World, role: Callable[..., Aws]) -> None:
    asked = {"aws:RequestTag/hubdeploy:deployment": "demo"}
    arn = f"arn:aws:ec2:*:{world.cloud.account}:volume/*"
    one = role(allow(["ec2:CreateVolume", "ec2:CreateTags"], arn, StringEquals=asked))
    request = {"AvailabilityZone": f"{world.cloud.region}a", "Size": 1}
    mine = tagged("volume", deployment="demo")
    theirs = tagged("volume", deployment="other")
    assert may(lambda: one.call("ec2", "create_volume", TagSpecifications=mine, **request))
    assert not may(lambda: one.call("ec2", "create_volume", TagSpecifications=theirs, **request))
    assert not may(lambda: one.call("ec2", "create_volume", **request))


def test_passing_a_role_on_is_a_right_of_its_own(world: World, role: Callable[..., Aws]) -> None:
    without = role(allow(["ec2:*"]))
    pass_on = allow("iam:PassRole", f"arn:aws:iam::{world.cloud.account}:role/machine")
    with_it = role(allow(["ec2:*"]), pass_on)
    assert not may(lambda: without.call("ec2", "run_instances", **world.request()))
    assert may(lambda: with_it.call("ec2", "run_instances", **world.request()))


def test_a_boundary_holds_a_role_back(world: World) -> None:
    iam = world.cloud.client("iam")
    document = json.dumps(allow("ssm:GetParameter"))
    limit = iam.create_policy(PolicyName="limit", PolicyDocument=document)["Policy"]["Arn"]
    world.role("bounded", allow("ssm:*"))
    iam.put_role_permissions_boundary(RoleName="bounded", PermissionsBoundary=limit)
    one = world.cloud.as_role("bounded")
    world.ssm.put_parameter(Name="/a", Value="v", Type="String")
    assert may(lambda: one.call("ssm", "get_parameter", Name="/a"))
    assert not may(lambda: one.call("ssm", "delete_parameter", Name="/a"))


def test_an_alarm_that_recovers_a_machine_makes_awss_own_role(
    world: World, role: Callable[..., Aws]
) -> None:
    linked = f"arn:aws:iam::{world.cloud.account}:role/aws-service-role/events.amazonaws.com/*"
    without = role(allow("cloudwatch:PutMetricAlarm"))
    with_it = role(allow("cloudwatch:PutMetricAlarm"), allow("iam:CreateServiceLinkedRole", linked))
    alarm: dict[str, Any] = {
        "AlarmName": "a",
        "Namespace": "AWS/EC2",
        "MetricName": "StatusCheckFailed_System",
        "Statistic": "Maximum",
        "Period": 60,
        "EvaluationPeriods": 2,
        "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanThreshold",
    }
    recover = [f"arn:aws:automate:{world.cloud.region}:ec2:recover"]
    put = "put_metric_alarm"
    assert may(lambda: without.call("cloudwatch", put, **alarm))
    assert not may(lambda: without.call("cloudwatch", put, **alarm, AlarmActions=recover))
    assert may(lambda: with_it.call("cloudwatch", put, **alarm, AlarmActions=recover))


@pytest.fixture
def names(world: World) -> tuple[str, str]:
    """A private namespace ``demo.internal`` with the service ``chef``: its id, the zone's id."""
    cloud = world.cloud
    map_ = cloud.client("servicediscovery")
    vpc = cloud.client("ec2").create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    map_.create_private_dns_namespace(Name="demo.internal", Vpc=vpc)
    space = map_.list_namespaces()["Namespaces"][0]
    service = map_.create_service(
        Name="chef", NamespaceId=space["Id"], DnsConfig={"DnsRecords": [{"Type": "A", "TTL": 5}]}
    )["Service"]["Id"]
    found = map_.get_namespace(Id=space["Id"])["Namespace"]["Properties"]["DnsProperties"]
    return service, str(found["HostedZoneId"]).rpartition("/")[2]


CLOUD_MAP = ["servicediscovery:RegisterInstance", "servicediscovery:DeregisterInstance"]
FIND = ["route53:GetHostedZone", "route53:ListHostedZonesByName"]
WRITE = "route53:ChangeResourceRecordSets"
NAMES = "route53:ChangeResourceRecordSetsNormalizedRecordNames"
OWN: dict[str, Any] = {"ForAllValues:StringEquals": {NAMES: ["chef.demo.internal"]}}
OTHERS: dict[str, Any] = {"ForAllValues:StringEquals": {NAMES: ["leader.demo.internal"]}}


@pytest.mark.parametrize(
    ("more", "enough"),
    [
        ([], False),
        ([allow(WRITE)], False),
        ([allow(FIND)], False),
        ([allow(FIND[0]), allow(WRITE)], False),
        ([allow(FIND), allow(WRITE)], True),
        ([allow(FIND), allow(WRITE, **OWN)], True),
        ([allow(FIND), allow(WRITE, **OTHERS)], False),
    ],
)
def test_cloud_map_writes_a_machines_record_with_the_machines_own_rights(
    names: tuple[str, str], role: Callable[..., Aws], more: list[dict[str, Any]], enough: bool
) -> None:
    machine = role(allow(CLOUD_MAP), *more)
    service, ip = names[0], {"AWS_INSTANCE_IPV4": "10.9.0.1"}
    who = {"ServiceId": service, "InstanceId": "i-0a"}
    registered = may(
        lambda: machine.call("servicediscovery", "register_instance", Attributes=ip, **who)
    )
    assert registered == enough
    assert may(lambda: machine.call("servicediscovery", "deregister_instance", **who)) == enough


def test_a_record_that_a_machine_writes_itself_is_held_against_names_and_types(
    names: tuple[str, str], role: Callable[..., Aws]
) -> None:
    prefix = "route53:ChangeResourceRecordSets"
    own = {f"{prefix}NormalizedRecordNames": ["_acme-challenge.*"]}
    limits = {
        "ForAllValues:StringLike": own,
        "ForAllValues:StringEquals": {f"{prefix}RecordTypes": ["TXT"]},
        "Null": {f"{prefix}NormalizedRecordNames": "false"},
    }
    machine = role(allow(WRITE, f"arn:aws:route53:::hostedzone/{names[1]}", **limits))

    def write(name: str, kind: str, value: str) -> bool:
        record = {"Name": name, "Type": kind, "TTL": 10, "ResourceRecords": [{"Value": value}]}
        batch = {"Changes": [{"Action": "UPSERT", "ResourceRecordSet": record}]}
        return may(
            lambda: machine.call(
                "route53", "change_resource_record_sets", HostedZoneId=names[1], ChangeBatch=batch
            )
        )

    assert write("_acme-challenge.notebooks.demo.internal.", "TXT", '"proof"')
    assert not write("notebooks.demo.internal.", "TXT", '"proof"')
    assert not write("_acme-challenge.notebooks.demo.internal.", "A", "10.0.0.1")


def test_a_roles_boundary_can_be_demanded(role: Callable[..., Aws]) -> None:
    bound = {"iam:PermissionsBoundary": "arn:aws:iam::aws:policy/ReadOnlyAccess"}
    one = role(allow("iam:CreateRole", "*", StringEquals=bound))
    made = {
        "RoleName": "machine-2",
        "AssumeRolePolicyDocument": json.dumps(allow("sts:AssumeRole")),
    }
    assert not may(lambda: one.call("iam", "create_role", **made))
    assert may(
        lambda: one.call(
            "iam", "create_role", **made, PermissionsBoundary=bound["iam:PermissionsBoundary"]
        )
    )


def test_managed_policies_count(world: World, role: Callable[..., Aws]) -> None:
    iam = world.cloud.client("iam")
    one = role(allow("s3:*"))
    world.ssm.put_parameter(Name="/a", Value="v", Type="String")
    assert not may(lambda: one.call("ssm", "get_parameter", Name="/a"))
    document = json.dumps(allow("ssm:GetParameter"))
    arn = iam.create_policy(PolicyName="more", PolicyDocument=document)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName="role-0", PolicyArn=arn)
    assert may(lambda: one.call("ssm", "get_parameter", Name="/a"))


@pytest.mark.parametrize(
    ("service", "operation", "params", "code"),
    [
        ("ec2", "describe_vpcs", {}, "UnauthorizedOperation"),
        ("s3", "list_buckets", {}, "AccessDenied"),
        ("ssm", "describe_parameters", {}, "AccessDeniedException"),
        ("autoscaling", "describe_auto_scaling_groups", {}, "AccessDenied"),
        ("efs", "describe_file_systems", {}, "AccessDeniedException"),
        ("iam", "list_roles", {}, "AccessDenied"),
        ("dynamodb", "list_tables", {}, "AccessDeniedException"),
    ],
)
def test_a_refusal_has_the_services_own_code_and_names_action_and_caller(
    role: Callable[..., Aws],
    service: str,
    operation: str,
    params: dict[str, Any],
    code: str,
) -> None:
    one = role(allow("logs:*"))
    with pytest.raises(AwsError) as refused:
        one.call(service, operation, **params)
    assert refused.value.code == code
    assert "assumed-role/role-0/" in refused.value.message
    assert "is not authorized to perform" in refused.value.message


def test_an_operation_in_no_table_is_refused_whatever_the_policy_says(
    role: Callable[..., Aws], caplog: pytest.LogCaptureFixture
) -> None:
    one = role(allow("*"))
    with pytest.raises(AwsError, match="table of actions"):
        one.call("dynamodb", "list_tables")
    assert "dynamodb:ListTables is not in the table of actions" in caplog.text


def test_everyone_may_ask_who_they_are(world: World, role: Callable[..., Aws]) -> None:
    one = role(allow("logs:*"))
    answer = one.call("sts", "get_caller_identity")
    assert answer["Account"] == world.cloud.account
    assert ":assumed-role/role-0/" in answer["Arn"]


def test_a_restricted_operator_is_held_to_the_documents_given(world: World) -> None:
    one = world.cloud.restricted(allow(["ec2:DescribeVpcs", "ec2:CreateVpc"]))
    assert may(lambda: one.call("ec2", "describe_vpcs"))
    assert may(lambda: one.call("ec2", "create_vpc", CidrBlock="10.9.0.0/16"))
    assert not may(lambda: one.call("ec2", "describe_subnets"))


def test_a_role_can_be_assumed_with_its_rights(world: World) -> None:
    arn = f"arn:aws:iam::{world.cloud.account}:role/machine"
    keys = world.cloud.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
    client = boto3.client(
        "ec2",
        region_name=world.cloud.region,
        endpoint_url=world.cloud.endpoint_url,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )
    with pytest.raises(client.exceptions.ClientError, match="UnauthorizedOperation"):
        client.describe_vpcs()


def test_the_log_tells_who_called(world: World, role: Callable[..., Aws]) -> None:
    one = role(allow("ssm:GetParameter"))
    assert not may(lambda: one.call("ssm", "delete_parameter", Name="/a"))
    (record,) = world.cloud.calls.find("ssm:DeleteParameter", role="role-0")
    assert record.error == "AccessDeniedException"
    assert world.cloud.calls.find("ssm:DeleteParameter") == []


def test_rights_can_be_asked_for_beforehand(world: World) -> None:
    iam = world.cloud.client("iam")
    role = f"arn:aws:iam::{world.cloud.account}:role/machine"

    def decisions(arn: str) -> list[str]:
        answer = iam.simulate_principal_policy(
            PolicySourceArn=arn, ActionNames=["s3:GetObject", "ec2:CreateVpc"]
        )
        return [entry["EvalDecision"] for entry in answer["EvaluationResults"]]

    assert decisions(role) == ["allowed", "implicitDeny"]
    operator = f"arn:aws:iam::{world.cloud.account}:user/rehearsal"
    assert decisions(operator) == ["allowed", "allowed"]
