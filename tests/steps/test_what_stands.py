"""What stands in the account when ``up`` has ended, part by part, as AWS itself tells it."""

from __future__ import annotations

import json
from ipaddress import IPv4Network
from typing import Any

import pytest

from hubdeploy.aws.inventory import tags_of
from hubdeploy.config.names import NOTEBOOK_GID, NOTEBOOK_UID, TAG_RESOURCE, TAG_ROLE, Role
from hubdeploy.hub.fleet.cloud import Cloud
from hubdeploy.pipeline import graph, runner
from hubdeploy.pipeline.change import Action
from hubdeploy.steps import rules
from hubdeploy.steps.artifacts import packed
from hubdeploy.steps.logs import UNITS
from tests.plugins.aws import CloudAccount
from tests.steps.rig import Rig

ZONES = {"eu-central-1a", "eu-central-1b"}


@pytest.fixture(scope="module")
def rig(module_cloud: CloudAccount) -> Rig:
    """One deployment for all tests here, which only look."""
    made = Rig(module_cloud)
    made.up()
    return made


def ec2(rig: Rig, operation: str, key: str) -> dict[str, dict[str, Any]]:
    """The deployment's, by logical name."""
    return {
        tags_of(item)[TAG_RESOURCE]: item
        for item in rig.cloud.aws.pages("ec2", operation, key)
        if TAG_RESOURCE in tags_of(item)
    }


def instances(rig: Rig) -> dict[str, dict[str, Any]]:
    """By role."""
    found = rig.cloud.aws.pages("ec2", "describe_instances", "Reservations")
    return {tags_of(item)[TAG_ROLE]: item for entry in found for item in entry["Instances"]}


def default_routes(table: dict[str, Any]) -> list[dict[str, Any]]:
    return [r for r in table["Routes"] if r.get("DestinationCidrBlock") == "0.0.0.0/0"]


# ---- network ---------------------------------------------------------------------------------


def test_the_network_spans_two_zones_with_a_public_and_a_private_subnet_in_each(rig: Rig) -> None:
    vpc = ec2(rig, "describe_vpcs", "Vpcs")["vpc"]
    subnets = ec2(rig, "describe_subnets", "Subnets")
    zones: dict[str, set[str]] = {"public": set(), "private": set()}
    for name, subnet in subnets.items():
        zones[name.split(".")[1]].add(subnet["AvailabilityZone"])
        assert subnet["VpcId"] == vpc["VpcId"]
        assert IPv4Network(subnet["CidrBlock"]).subnet_of(IPv4Network(vpc["CidrBlock"]))
        assert subnet["MapPublicIpOnLaunch"] is False
    assert zones == {"public": ZONES, "private": ZONES}


def test_public_subnets_go_out_by_the_gateway_and_private_ones_by_nat(rig: Rig) -> None:
    tables = ec2(rig, "describe_route_tables", "RouteTables")
    subnets = ec2(rig, "describe_subnets", "Subnets")
    gateway = ec2(rig, "describe_internet_gateways", "InternetGateways")["gateway"]
    nat = ec2(rig, "describe_nat_gateways", "NatGateways")["nat"]
    assert [item["VpcId"] for item in gateway["Attachments"]] == [rig.outputs["vpc"]]
    for kind, field, target in (
        ("public", "GatewayId", gateway["InternetGatewayId"]),
        ("private", "NatGatewayId", nat["NatGatewayId"]),
    ):
        table = tables[f"routes.{kind}"]
        assert [route.get(field) for route in default_routes(table)] == [target]
        assert {item["SubnetId"] for item in table["Associations"]} == {
            subnet["SubnetId"] for name, subnet in subnets.items() if f".{kind}." in name
        }
    assert nat["SubnetId"] in {s["SubnetId"] for n, s in subnets.items() if ".public." in n}


def test_s3_is_reached_from_every_subnet_by_a_gateway_endpoint(rig: Rig) -> None:
    endpoint = ec2(rig, "describe_vpc_endpoints", "VpcEndpoints")["endpoint.s3"]
    tables = ec2(rig, "describe_route_tables", "RouteTables")
    assert endpoint["VpcEndpointType"] == "Gateway"
    assert endpoint["ServiceName"] == "com.amazonaws.eu-central-1.s3"
    assert set(endpoint["RouteTableIds"]) == {table["RouteTableId"] for table in tables.values()}


def test_without_nat_there_is_none_and_no_private_subnet(rig: Rig) -> None:
    elsewhere = Rig(rig.cloud.elsewhere("eu-west-1"), network={"egress": "public"})
    made = {change.resource for change in elsewhere.plan()}
    assert {"subnet.public.a", "subnet.public.b", "gateway", "endpoint.s3"} <= made
    assert not {name for name in made if "private" in name or "nat" in name.split(".")}


def test_the_security_groups_let_each_kind_of_machine_reach_named_ports_of_named_peers(
    rig: Rig,
) -> None:
    groups = ec2(rig, "describe_security_groups", "SecurityGroups")
    ids = {group["GroupId"] for group in groups.values()}
    assert set(groups) == {f"firewall.{name}" for name in rules.GROUPS}
    for name, group in groups.items():
        for rule in rules.read(group):
            assert rule.protocol in ("tcp", "udp"), (name, rule)
            # a group, or the whole internet: never a range inside the VPC
            assert rule.peer in ids | {rules.ANYWHERE}, (name, rule)
            if rule.direction == "in" and rule.peer == rules.ANYWHERE:
                assert name == "firewall.leader"
                assert rule.first in (80, 443)


# ---- storage ---------------------------------------------------------------------------------


def test_the_bucket_is_private_encrypted_versioned_and_for_tls_only(rig: Rig) -> None:
    s3, bucket = rig.cloud.client("s3"), {"Bucket": rig.names.bucket}
    private = s3.get_public_access_block(**bucket)["PublicAccessBlockConfiguration"]
    assert len(private) == 4
    assert all(private.values())
    (rule,) = s3.get_bucket_encryption(**bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert s3.get_bucket_versioning(**bucket)["Status"] == "Enabled"
    (statement,) = json.loads(s3.get_bucket_policy(**bucket)["Policy"])["Statement"]
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_wheel_and_cookbooks_lie_in_the_bucket_under_their_digests(rig: Rig) -> None:
    found = rig.cloud.aws.pages("s3", "list_objects_v2", "Contents", Bucket=rig.names.bucket)
    keys = {item["Key"] for item in found}
    for artifact in packed().values():
        assert artifact.key in keys
        assert artifact.sha256 in artifact.key


def test_the_file_system_is_encrypted_backed_up_and_mounted_in_every_zone(rig: Rig) -> None:
    efs = rig.cloud.client("efs")
    (system,) = efs.describe_file_systems()["FileSystems"]
    named = {"FileSystemId": system["FileSystemId"]}
    assert system["Encrypted"] is True
    assert efs.describe_backup_policy(**named)["BackupPolicy"]["Status"] == "ENABLED"
    targets = efs.describe_mount_targets(**named)["MountTargets"]
    assert {item["AvailabilityZoneName"] for item in targets} == ZONES
    assert {item["SubnetId"] for item in targets} == set(rig.outputs["subnets.machines"])
    group = ec2(rig, "describe_security_groups", "SecurityGroups")["firewall.files"]["GroupId"]
    for target in targets:
        worn = efs.describe_mount_target_security_groups(MountTargetId=target["MountTargetId"])
        assert worn["SecurityGroups"] == [group]


def test_the_homes_have_an_access_point_for_the_notebooks_user(rig: Rig) -> None:
    (point,) = rig.cloud.client("efs").describe_access_points()["AccessPoints"]
    assert point["RootDirectory"]["Path"] == "/home"
    assert (point["PosixUser"]["Uid"], point["PosixUser"]["Gid"]) == (NOTEBOOK_UID, NOTEBOOK_GID)


def test_the_leaders_volume_is_encrypted_and_no_part_of_an_instance(rig: Rig) -> None:
    volume = ec2(rig, "describe_volumes", "Volumes")["volume.leader"]
    assert volume["Encrypted"] is True
    assert volume["AvailabilityZone"] == instances(rig)["leader"]["Placement"]["AvailabilityZone"]
    disks = {
        mapping["Ebs"]["VolumeId"]
        for item in instances(rig).values()
        for mapping in item["BlockDeviceMappings"]
        if mapping["Ebs"]["DeleteOnTermination"]
    }
    assert volume["VolumeId"] not in disks


# ---- who may what ----------------------------------------------------------------------------


def test_each_kind_of_machine_has_a_role_of_its_own_and_runs_with_it(rig: Rig) -> None:
    iam, policies = rig.cloud.client("iam"), set()
    for role in Role:
        name = rig.names.machine_role(role)
        (held,) = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Roles"]
        assert held["RoleName"] == name
        assert iam.list_role_policies(RoleName=name)["PolicyNames"] == ["hubdeploy"]
        assert iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"] == []
        document = iam.get_role_policy(RoleName=name, PolicyName="hubdeploy")["PolicyDocument"]
        policies.add(json.dumps(document, sort_keys=True))
        profile = instances(rig)[role]["IamInstanceProfile"]["Arn"]
        assert profile.endswith(f"instance-profile/{name}")
    assert len(policies) == len(Role)


# ---- machines --------------------------------------------------------------------------------


@pytest.mark.parametrize("role", list(Role))
def test_a_machine_wears_its_own_group_and_gives_its_metadata_to_nobody_else(
    rig: Rig, role: Role
) -> None:
    machine = instances(rig)[role]
    groups = ec2(rig, "describe_security_groups", "SecurityGroups")
    worn = [each["GroupId"] for item in machine["NetworkInterfaces"] for each in item["Groups"]]
    assert worn == [groups[f"firewall.{role}"]["GroupId"]]
    options = machine["MetadataOptions"]
    assert (options["HttpTokens"], options["HttpPutResponseHopLimit"]) == ("required", 1)


def test_the_leader_has_the_elastic_address(rig: Rig) -> None:
    address = ec2(rig, "describe_addresses", "Addresses")["address.leader"]
    assert address["InstanceId"] == instances(rig)["leader"]["InstanceId"]


def test_every_disk_is_encrypted(rig: Rig) -> None:
    volumes = rig.cloud.aws.pages("ec2", "describe_volumes", "Volumes")
    assert len(volumes) == 5
    assert all(volume["Encrypted"] for volume in volumes)


def test_the_group_leaves_it_to_the_fleet_which_worker_ends(rig: Rig) -> None:
    (group,) = rig.cloud.aws.pages(
        "autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups"
    )
    assert group["NewInstancesProtectedFromScaleIn"] is True
    assert all(member["ProtectedFromScaleIn"] for member in group["Instances"])
    assert {item["ProcessName"] for item in group["SuspendedProcesses"]} == {"AZRebalance"}
    assert group["MinSize"] == 0
    subnets = set(group["VPCZoneIdentifier"].split(","))
    assert subnets == set(rig.outputs["subnets.machines"])
    assert rig.cloud.client("autoscaling").describe_policies()["ScalingPolicies"] == []


# ---- names, parameters, logs, alarms ---------------------------------------------------------


def test_the_machines_find_each_other_by_private_names(rig: Rig) -> None:
    discovery = rig.cloud.client("servicediscovery")
    (namespace,) = discovery.list_namespaces()["Namespaces"]
    assert (namespace["Name"], namespace["Type"]) == ("demo.internal", "DNS_PRIVATE")
    services = {item["Name"] for item in discovery.list_services()["Services"]}
    assert services == {"chef", "leader"}


def test_what_is_secret_among_the_parameters_is_encrypted(rig: Rig) -> None:
    names = rig.names.parameters
    found = {
        item["Name"]: item["Type"]
        for item in rig.cloud.aws.pages("ssm", "describe_parameters", "Parameters")
    }
    assert {names.release, names.limits, names.hub_secret("doctor-token")} <= found.keys()
    assert names.lock not in found
    secret = {name for name, kind in found.items() if kind == "SecureString"}
    assert secret == {name for name in found if "/secret/" in name or name == names.chef_admin}


def test_images_of_ones_own_have_a_registry_that_looks_for_known_faults(rig: Rig) -> None:
    (repository,) = rig.cloud.client("ecr").describe_repositories()["repositories"]
    assert repository["repositoryName"] == rig.names.repository
    assert repository["imageScanningConfiguration"]["scanOnPush"] is True


def test_logs_are_kept_for_a_while_by_unit(rig: Rig) -> None:
    found = rig.cloud.client("logs").describe_log_groups()["logGroups"]
    kept = {item["logGroupName"]: item.get("retentionInDays") for item in found}
    assert kept == {rig.names.log_group(unit): 30 for unit in UNITS}


def test_alarms_watch_the_status_checks_and_the_leaders_disk(rig: Rig) -> None:
    found = rig.cloud.client("cloudwatch").describe_alarms()["MetricAlarms"]
    watched = {
        item["AlarmName"].removeprefix("hubdeploy-demo-alarm-"): (
            item["MetricName"],
            {each["Value"] for each in item["Dimensions"]},
        )
        for item in found
    }
    ids = {role: {item["InstanceId"]} for role, item in instances(rig).items()}
    assert watched == {
        "leader-host": ("StatusCheckFailed_System", ids["leader"]),
        "leader-system": ("StatusCheckFailed_Instance", ids["leader"]),
        "chef-server-host": ("StatusCheckFailed_System", ids["chef-server"]),
        "workstation-host": ("StatusCheckFailed_System", ids["workstation"]),
        "leader-disk": ("DiskUsedPercent", {"demo", "leader"}),
    }


def test_the_alarm_of_the_disk_watches_what_the_fleet_tells_of_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in rig.cloud.environ().items():
        monkeypatch.setenv(name, value)
    Cloud(rig.names).put_disk_share(91.0)
    watch = rig.cloud.client("cloudwatch")
    (alarm,) = watch.describe_alarms(AlarmNames=["hubdeploy-demo-alarm-leader-disk"])[
        "MetricAlarms"
    ]
    (metric,) = watch.list_metrics(Namespace=alarm["Namespace"])["Metrics"]
    assert metric["MetricName"] == alarm["MetricName"]
    told, watched = (
        {each["Name"]: each["Value"] for each in item["Dimensions"]} for item in (metric, alarm)
    )
    assert told == watched


# ---- order -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "machine",
    [
        "machine.chef-server",
        "machine.workstation",
        "machine.leader",
        "workers.group",
    ],
)
def test_no_launch_waits_for_another_machine(rig: Rig, machine: str) -> None:
    needs = {step.name: step.needs for step in rig.steps(planning=True)}
    before = graph.upto(graph.checked(needs), machine) - {machine}
    assert not {name for name in before if name.startswith(("wait.", "machine."))}


def test_what_up_waits_for_is_the_chef_server_the_workstation_the_leader_the_hub_and_workers(
    rig: Rig,
) -> None:
    elsewhere = Rig(rig.cloud.elsewhere("eu-west-1"))
    planned = runner.plan(elsewhere.steps(planning=True)).changes
    waits = {
        step
        for step, made in planned.items()
        if step.startswith("wait.") and [change.action for change in made] == [Action.WAIT]
    }
    assert waits == {
        f"wait.{what}" for what in ("chef-server", "workstation", "leader", "hub", "workers")
    }
