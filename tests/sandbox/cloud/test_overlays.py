"""The smaller things that moto lacks, and faults on demand."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from hubdeploy.aws import pricing
from hubdeploy.errors import AwsError
from hubdeploy.sandbox.cloud import images
from hubdeploy.sandbox.cloud.overlay.files import set_size
from tests.plugins.aws import CloudAccount
from tests.sandbox.cloud.test_network_order import refused
from tests.sandbox.cloud.world import DEBIAN, World

UBUNTU = "/aws/service/canonical/ubuntu/server/22.04/stable/current/amd64/hvm/ebs-gp2/ami-id"


# ---- images, prices, quotas ------------------------------------------------------------------


def test_public_images_are_found_by_parameter(cloud: CloudAccount) -> None:
    ssm, ec2 = cloud.client("ssm"), cloud.client("ec2")
    ssm.put_parameter(Name="/own", Value="v", Type="String")
    answer = ssm.get_parameters(Names=[DEBIAN, UBUNTU, "/own", "/none"])
    values = {entry["Name"]: entry["Value"] for entry in answer["Parameters"]}
    assert answer["InvalidParameters"] == ["/none"]
    assert values["/own"] == "v"
    known = images.known(cloud.region)
    assert known[values[DEBIAN]].distribution == "debian"
    assert known[values[UBUNTU]].release == "22.04"
    (image,) = ec2.describe_images(ImageIds=[values[DEBIAN]])["Images"]
    assert image["State"] == "available"
    assert image["Architecture"] == "x86_64"
    assert image["RootDeviceName"] == "/dev/xvda"
    assert refused(ssm.get_parameter, Name=DEBIAN.replace("12", "7")) == "ParameterNotFound"


def test_prices_are_there_and_say_that_they_are_made_up(cloud: CloudAccount) -> None:
    wanted = [
        *(pricing.instance("t3.medium"), pricing.GP3, pricing.NAT),
        *(pricing.PUBLIC_ADDRESS, pricing.EFS),
    ]
    found = pricing.prices(wanted, aws=cloud.aws)
    assert set(found) == {sku.name for sku in wanted}
    assert all(price.dollars > 0 for price in found.values())
    client = cloud.aws.client("pricing", region="us-east-1")
    (product,) = client.get_products(
        ServiceCode="AmazonEC2",
        Filters=[
            {"Type": "TERM_MATCH", "Field": "instanceType", "Value": "t3.medium"},
            {"Type": "TERM_MATCH", "Field": "regionCode", "Value": cloud.region},
        ],
    )["PriceList"]
    assert "made up" in json.loads(product)["product"]["attributes"]["note"]


def test_what_has_no_price_is_missing(cloud: CloudAccount) -> None:
    assert pricing.prices([pricing.instance("x9.huge")], aws=cloud.aws) == {}


def test_quotas_have_applied_and_default_values(cloud: CloudAccount) -> None:
    cloud.settings.quotas["L-0263D0A3"] = 17
    quotas = cloud.client("service-quotas")
    which = {"ServiceCode": "ec2", "QuotaCode": "L-0263D0A3"}
    assert quotas.get_service_quota(**which)["Quota"]["Value"] == 17
    assert quotas.get_aws_default_service_quota(**which)["Quota"]["Value"] == 5
    which["QuotaCode"] = "L-00000000"
    assert refused(quotas.get_service_quota, **which) == "NoSuchResourceException"
    assert len(quotas.list_service_quotas(ServiceCode="vpc")["Quotas"]) > 3


# ---- EFS, S3, Cloud Map ----------------------------------------------------------------------


def test_file_systems_have_backups_throughput_and_a_metered_size(cloud: CloudAccount) -> None:
    efs = cloud.client("efs")
    ident = efs.create_file_system(CreationToken="f")["FileSystemId"]
    which = {"FileSystemId": ident}
    assert efs.describe_backup_policy(**which)["BackupPolicy"]["Status"] == "DISABLED"
    efs.put_backup_policy(BackupPolicy={"Status": "ENABLED"}, **which)
    assert efs.describe_backup_policy(**which)["BackupPolicy"]["Status"] == "ENABLED"
    assert efs.update_file_system(ThroughputMode="elastic", **which)["ThroughputMode"] == "elastic"
    set_size(cloud.cloud, cloud.account, cloud.region, ident, 5 << 30)
    (found,) = efs.describe_file_systems(**which)["FileSystems"]
    assert found["SizeInBytes"]["Value"] == 5 << 30
    assert found["ThroughputMode"] == "elastic"
    missing = {"FileSystemId": "fs-00000000"}
    backup = {"BackupPolicy": {"Status": "ENABLED"}}
    assert refused(efs.put_backup_policy, **missing, **backup) == "FileSystemNotFound"


def test_a_file_system_is_creating_before_it_takes_mount_targets(world: World) -> None:
    world.cloud.settings.efs_delay = 0.2
    efs = world.cloud.client("efs")
    made = efs.create_file_system(CreationToken="f")
    assert made["LifeCycleState"] == "creating"
    target = {"FileSystemId": made["FileSystemId"], "SubnetId": world.subnets[0]}
    code = refused(efs.create_mount_target, **target)
    assert code == "IncorrectFileSystemLifeCycleState"

    def available() -> bool:
        state = efs.describe_file_systems()["FileSystems"][0]["LifeCycleState"]
        return bool(state == "available")

    world.cloud.wait(available)
    assert efs.create_mount_target(**target)["LifeCycleState"] == "creating"
    which = {"FileSystemId": made["FileSystemId"]}
    world.cloud.wait(
        lambda: (
            efs.describe_mount_targets(**which)["MountTargets"][0]["LifeCycleState"] == "available"
        )
    )
    assert refused(efs.create_mount_target, **target) == "MountTargetConflict"


@pytest.fixture
def bucket(cloud: CloudAccount) -> str:
    location = {"LocationConstraint": cloud.region}
    cloud.client("s3").create_bucket(Bucket="own", CreateBucketConfiguration=location)
    return "own"


def test_a_bucket_that_denies_plain_transport_stays_usable(
    cloud: CloudAccount, bucket: str
) -> None:
    s3 = cloud.client("s3")
    deny = {
        "Sid": "Encrypted",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    secret = {**deny, "Sid": "Closed", "Resource": f"arn:aws:s3:::{bucket}/closed/*"}
    del secret["Condition"]
    policy = {"Version": "2012-10-17", "Statement": [deny, secret]}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    assert json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"]) == policy
    s3.put_object(Bucket=bucket, Key="open/x", Body=b"1")
    assert s3.get_object(Bucket=bucket, Key="open/x")["Body"].read() == b"1"
    closed = {"Bucket": bucket, "Key": "closed/x"}
    assert refused(s3.put_object, Body=b"1", **closed) == "AccessDenied"
    s3.delete_bucket_policy(Bucket=bucket)
    assert refused(s3.get_bucket_policy, Bucket=bucket) == "NoSuchBucketPolicy"
    s3.put_object(Body=b"1", **closed)


def test_a_bucket_with_objects_or_old_versions_stays(cloud: CloudAccount, bucket: str) -> None:
    s3 = cloud.client("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=bucket, Key="x", Body=b"1")
    assert refused(s3.delete_bucket, Bucket=bucket) == "BucketNotEmpty"
    s3.delete_object(Bucket=bucket, Key="x")
    assert refused(s3.delete_bucket, Bucket=bucket) == "BucketNotEmpty"
    found = s3.list_object_versions(Bucket=bucket)
    for entry in [*found["Versions"], *found["DeleteMarkers"]]:
        s3.delete_object(Bucket=bucket, Key="x", VersionId=entry["VersionId"])
    s3.delete_bucket(Bucket=bucket)


def test_namespaces_and_services_go_in_order_and_names_are_taken_once(world: World) -> None:
    names = world.cloud.client("servicediscovery")
    create = {"Name": "demo.internal", "Vpc": world.vpc}
    names.create_private_dns_namespace(**create)
    other = world.ec2.create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]["VpcId"]
    again = {**create, "Vpc": other}
    code = refused(names.create_private_dns_namespace, **again)
    assert code == "NamespaceAlreadyExists"
    (space,) = names.list_namespaces()["Namespaces"]
    dns = {"DnsRecords": [{"Type": "A", "TTL": 5}]}
    request = {"Name": "chef", "NamespaceId": space["Id"], "DnsConfig": dns}
    service = names.create_service(**request)["Service"]["Id"]
    assert refused(names.create_service, **request) == "ServiceAlreadyExists"
    names.register_instance(
        ServiceId=service, InstanceId="i", Attributes={"AWS_INSTANCE_IPV4": "10.7.0.9"}
    )
    assert refused(names.delete_service, Id=service) == "ResourceInUse"
    assert refused(names.delete_namespace, Id=space["Id"]) == "ResourceInUse"
    names.deregister_instance(ServiceId=service, InstanceId="i")
    names.delete_service(Id=service)
    zones = world.cloud.client("route53").list_hosted_zones()["HostedZones"]
    assert [zone["Name"] for zone in zones] == ["demo.internal."]
    names.delete_namespace(Id=space["Id"])
    assert world.cloud.client("route53").list_hosted_zones()["HostedZones"] == []


@pytest.mark.parametrize(
    "params",
    [
        {"Name": "/a", "Value": "x" * 4097, "Type": "String"},
        {
            "Name": "/a",
            "Value": "x",
            "Type": "String",
            "Overwrite": True,
            "Tags": [{"Key": "k", "Value": "v"}],
        },
    ],
)
def test_parameters_have_limits(cloud: CloudAccount, params: dict[str, Any]) -> None:
    assert refused(cloud.client("ssm").put_parameter, **params) == "ValidationException"


def test_parameters_are_read_ten_at_most(cloud: CloudAccount) -> None:
    names = [f"/{number}" for number in range(11)]
    assert refused(cloud.client("ssm").get_parameters, Names=names) == "ValidationException"


def test_a_roles_policies_have_a_size(world: World) -> None:
    iam = world.cloud.client("iam")
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:" + "x" * 10300}
    text = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    request = {"RoleName": "machine", "PolicyName": "big", "PolicyDocument": text}
    assert refused(iam.put_role_policy, **request) == "LimitExceeded"


def test_roles_and_profiles_go_in_order(world: World) -> None:
    iam = world.cloud.client("iam")
    profile = {"InstanceProfileName": "machine"}
    assert refused(iam.delete_role, RoleName="machine") == "DeleteConflict"
    assert refused(iam.delete_instance_profile, **profile) == "DeleteConflict"
    iam.remove_role_from_instance_profile(RoleName="machine", **profile)
    iam.delete_instance_profile(**profile)
    assert refused(iam.delete_role, RoleName="machine") == "DeleteConflict"
    iam.delete_role_policy(RoleName="machine", PolicyName="own")
    iam.delete_role(RoleName="machine")


# ---- consistency, pages, faults --------------------------------------------------------------


def test_what_was_just_made_may_be_missing_for_a_while(cloud: CloudAccount) -> None:
    cloud.settings.missing_reads = 2
    ec2 = cloud.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
    assert refused(ec2.describe_vpcs, VpcIds=[vpc]) == "InvalidVpcID.NotFound"
    subnet = {"VpcId": vpc, "CidrBlock": "10.7.0.0/24"}
    assert refused(ec2.create_subnet, **subnet) == "InvalidVpcID.NotFound"
    made = ec2.create_subnet(**subnet)["Subnet"]["SubnetId"]
    assert refused(ec2.describe_subnets, SubnetIds=[made]) == "InvalidSubnetID.NotFound"


@pytest.mark.parametrize(
    ("service", "operation", "key"),
    [
        ("ec2", "describe_vpcs", "Vpcs"),
        ("ec2", "describe_subnets", "Subnets"),
        ("ec2", "describe_security_groups", "SecurityGroups"),
        ("ec2", "describe_instances", "Reservations"),
        ("ec2", "describe_launch_templates", "LaunchTemplates"),
    ],
)
def test_answers_come_in_pages(world: World, service: str, operation: str, key: str) -> None:
    world.template()
    for _ in range(3):
        world.run()
    whole = world.cloud.aws.pages(service, operation, key)
    world.cloud.settings.page_size = 1
    first = world.cloud.aws.call(service, operation)
    if len(whole) > 1:
        assert first["NextToken"]
    assert len(first[key]) == 1
    assert len(world.cloud.aws.pages(service, operation, key)) == len(whole)


def test_faults_strike_the_nth_call_and_are_borne_by_retries(cloud: CloudAccount) -> None:
    cloud.faults.inject("ec2", "CreateVpc", "RequestLimitExceeded", nth=2)
    ec2 = cloud.client("ec2")
    for number in range(3):
        ec2.create_vpc(CidrBlock=f"10.{number}.0.0/16")
    assert [r.error for r in cloud.calls.find("ec2:CreateVpc")] == [
        "",
        "RequestLimitExceeded",
        "",
        "",
    ]
    assert cloud.faults.raised["ec2", "CreateVpc"] == 1


def test_faults_without_a_retry_reach_the_caller(cloud: CloudAccount) -> None:
    cloud.faults.inject("*", "*", "OptInRequired", message="not in this region")
    with pytest.raises(AwsError, match="not in this region"):
        cloud.aws.call("ec2", "describe_vpcs")


def test_a_connection_can_be_cut_after_the_call_took_effect(cloud: CloudAccount) -> None:
    cloud.faults.drop("ssm", "PutParameter", nth=1, after=True)
    with pytest.raises(AwsError) as lost:
        cloud.aws.call("ssm", "put_parameter", Name="/a", Value="v", Type="String")
    assert lost.value.code == "NoAnswer"
    assert cloud.aws.call("ssm", "get_parameter", Name="/a")["Parameter"]["Value"] == "v"


def test_calls_can_be_slow(cloud: CloudAccount) -> None:
    cloud.aws.call("sts", "get_caller_identity")
    cloud.faults.delay("sts", "*", 0.2)
    began = time.monotonic()
    cloud.aws.call("sts", "get_caller_identity")
    assert time.monotonic() - began > 0.2


def test_calls_are_counted_and_told_apart(cloud: CloudAccount) -> None:
    ec2 = cloud.client("ec2")
    ec2.create_vpc(CidrBlock="10.0.0.0/16")
    ec2.describe_vpcs()
    ec2.describe_vpcs()
    assert cloud.calls.counts() == {"ec2:CreateVpc": 1, "ec2:DescribeVpcs": 2}
    assert [record.name for record in cloud.calls.mutations()] == ["ec2:CreateVpc"]
    assert len(cloud.calls.reads()) == 2


def test_an_operation_that_nobody_has_is_named(cloud: CloudAccount) -> None:
    with pytest.raises(AwsError, match="lacks ec2:DescribeFpgaImages"):
        cloud.aws.call("ec2", "describe_fpga_images")
