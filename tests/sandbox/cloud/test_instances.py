"""Instances follow their machines, and RunInstances refuses what EC2 refuses."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from botocore.exceptions import ClientError

from hubdeploy.sandbox.cloud import hosts
from tests.sandbox.cloud.test_network_order import refused
from tests.sandbox.cloud.world import World, tagged


def test_an_instance_is_pending_until_its_machine_runs(world: World) -> None:
    world.cloud.plan.power_on = 1.0
    made = world.ec2.run_instances(**world.request())["Instances"][0]
    assert made["State"]["Name"] == "pending"
    assert world.state(made["InstanceId"]) == "pending"
    world.wait_for(made["InstanceId"], "running")


def test_stop_start_and_reboot_reach_the_machine(world: World) -> None:
    ident = world.running()
    answer = world.ec2.stop_instances(InstanceIds=[ident])["StoppingInstances"][0]
    assert answer["CurrentState"]["Name"] == "stopping"
    world.wait_for(ident, "stopped")
    assert world.cloud.machines.state(ident) == "stopped"
    assert refused(world.ec2.reboot_instances, InstanceIds=[ident]) == "IncorrectInstanceState"
    answer = world.ec2.start_instances(InstanceIds=[ident])["StartingInstances"][0]
    assert answer["CurrentState"]["Name"] == "pending"
    world.wait_for(ident, "running")
    world.ec2.reboot_instances(InstanceIds=[ident])
    logins = f"ip-{world.instance(ident)['PrivateIpAddress'].replace('.', '-')} login:"
    world.cloud.wait(lambda: world.cloud.machines.console(ident).count(logins) == 3)


def test_termination_ends_the_machine_and_frees_what_it_held(world: World) -> None:
    ec2 = world.ec2
    ident = world.running()
    zone = f"{world.cloud.region}a"
    volume = ec2.create_volume(AvailabilityZone=zone, Size=5)["VolumeId"]
    ec2.attach_volume(VolumeId=volume, InstanceId=ident, Device="/dev/sdf")
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    ec2.associate_address(InstanceId=ident, AllocationId=address)

    ec2.terminate_instances(InstanceIds=[ident])
    world.wait_for(ident, "terminated")
    assert world.cloud.machines.state(ident) == "gone"
    found = ec2.describe_volumes()["Volumes"]
    assert [(v["VolumeId"], v["State"]) for v in found] == [(volume, "available")]
    assert "AssociationId" not in ec2.describe_addresses()["Addresses"][0]
    assert ec2.describe_network_interfaces()["NetworkInterfaces"] == []
    ec2.delete_volume(VolumeId=volume)
    ec2.release_address(AllocationId=address)


def test_a_machine_that_does_not_come_up_ends_its_instance(world: World) -> None:
    world.cloud.plan.never_boots = {"worker"}
    ident = world.run(TagSpecifications=tagged("instance", role="worker"))
    world.wait_for(ident, "terminated")
    assert "told not to boot" in world.instance(ident)["StateReason"]["Message"]


def test_a_machine_that_dies_ends_its_instance(world: World) -> None:
    ident = world.running()
    world.cloud.machines.kill(ident)
    world.wait_for(ident, "terminated")


def test_a_launch_template_is_merged_in_full(world: World) -> None:
    data = base64.b64encode(b"#!/bin/sh\ntrue\n").decode()
    ident = world.template(UserData=data, InstanceMarketOptions={"MarketType": "spot"})
    template = {"LaunchTemplateId": ident, "Version": "$Latest"}
    made = world.ec2.run_instances(
        LaunchTemplate=template,
        MinCount=1,
        MaxCount=1,
        SubnetId=world.subnets[1],
        InstanceType="t3.large",
        TagSpecifications=tagged("instance", role="leader", resource="one"),
    )["Instances"][0]
    found = world.instance(made["InstanceId"])
    tags = {tag["Key"]: tag["Value"] for tag in found["Tags"]}
    assert found["InstanceType"] == "t3.large"
    assert found["IamInstanceProfile"]["Arn"].endswith("instance-profile/machine")
    assert found["MetadataOptions"]["HttpTokens"] == "required"
    assert found["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    assert found["InstanceLifecycle"] == "spot"
    assert found["SubnetId"] == world.subnets[1]
    # the request's tags win over the template's
    assert tags["hubdeploy:role"] == "leader"
    assert tags["hubdeploy:deployment"] == "demo"
    assert tags["aws:ec2launchtemplate:id"] == ident

    backend = world.cloud.backend("ec2")
    site = (world.cloud.account, world.cloud.region)
    spec = hosts.spec_of(world.cloud.cloud, *site, backend.get_instance(made["InstanceId"]))
    assert spec.user_data == b"#!/bin/sh\ntrue\n"
    assert spec.role_name == "machine"
    assert spec.vpc_cidr == "10.7.0.0/16"
    assert spec.spot


def test_a_machine_is_told_the_public_key_that_was_imported(world: World) -> None:
    line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOCeEDwN2wQ1HDBNkZfk7fZP9NlE4mHr1fy7fvcuBSlE"
    world.ec2.import_key_pair(KeyName="operator", PublicKeyMaterial=line.encode())
    made = world.ec2.run_instances(**world.request(KeyName="operator"))["Instances"][0]
    backend = world.cloud.backend("ec2")
    site = (world.cloud.account, world.cloud.region)
    spec = hosts.spec_of(world.cloud.cloud, *site, backend.get_instance(made["InstanceId"]))
    assert spec.key_names == ("operator",)
    assert [key.split()[:2] for key in spec.public_keys] == [line.split()]


def test_a_client_token_starts_an_instance_once(world: World) -> None:
    request = world.request(ClientToken="once")
    first = world.ec2.run_instances(**request)["Instances"][0]["InstanceId"]
    again = world.ec2.run_instances(**request)["Instances"][0]["InstanceId"]
    assert first == again
    changed = {**request, "InstanceType": "t3.large"}
    assert refused(world.ec2.run_instances, **changed) == "IdempotentParameterMismatch"
    assert len(world.ec2.describe_instances()["Reservations"]) == 1


def test_a_client_token_whose_launch_failed_may_be_used_again(world: World) -> None:
    world.cloud.settings.capacity_errors = {"t3.small": "InsufficientInstanceCapacity"}
    request = world.request(ClientToken="again")
    with pytest.raises(ClientError, match=r"sufficient t3\.small capacity"):
        world.ec2.run_instances(**request)
    world.cloud.settings.capacity_errors = {}
    assert world.ec2.run_instances(**request)["Instances"]


def test_a_new_instance_profile_is_unknown_to_ec2_for_a_while(world: World) -> None:
    iam = world.cloud.client("iam")
    world.cloud.settings.profile_delay = 0.2
    iam.create_instance_profile(InstanceProfileName="fresh")
    iam.add_role_to_instance_profile(InstanceProfileName="fresh", RoleName="machine")
    request = world.request(IamInstanceProfile={"Name": "fresh"})
    with pytest.raises(ClientError) as caught:
        world.ec2.run_instances(**request)
    error = caught.value.response["Error"]
    assert error["Code"] == "InvalidParameterValue"
    assert "Invalid IAM Instance Profile name" in error["Message"]
    world.cloud.wait(lambda: _starts(world, request), what="a launch with the new profile")


def _starts(world: World, request: dict[str, Any]) -> bool:
    try:
        world.ec2.run_instances(**request)
    except ClientError:
        return False
    return True


def test_a_profile_without_a_role_is_refused(world: World) -> None:
    world.cloud.client("iam").create_instance_profile(InstanceProfileName="empty")
    with pytest.raises(ClientError, match="no associated IAM Roles"):
        world.run(IamInstanceProfile={"Name": "empty"})


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"ImageId": "ami-0123456789abcdef0"}, "InvalidAMIID.NotFound"),
        ({"InstanceType": "t3.gigantic"}, "InvalidParameterValue"),
        ({"InstanceType": "m6g.large"}, "InvalidParameterValue"),
        ({"KeyName": "nobodys"}, "InvalidKeyPair.NotFound"),
        ({"SecurityGroupIds": ["sg-0123456789abcdef0"]}, "InvalidGroup.NotFound"),
        ({"SubnetId": "subnet-0123456789abcdef0"}, "InvalidSubnetID.NotFound"),
        (
            {"LaunchTemplate": {"LaunchTemplateName": "none"}},
            "InvalidLaunchTemplateName.NotFoundException",
        ),
    ],
)
def test_what_does_not_exist_cannot_be_launched_with(
    world: World, changes: dict[str, Any], code: str
) -> None:
    assert refused(world.ec2.run_instances, **world.request(**changes)) == code


def test_a_security_group_of_another_network_is_refused(world: World) -> None:
    other = world.ec2.create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]["VpcId"]
    group = world.ec2.create_security_group(GroupName="g", Description="d", VpcId=other)["GroupId"]
    request = world.request(SecurityGroupIds=[group])
    assert refused(world.ec2.run_instances, **request) == "InvalidParameter"


def test_the_quota_of_processors_ends_launches(world: World) -> None:
    world.cloud.settings.quotas["L-1216C47A"] = 3
    world.run()
    assert refused(world.ec2.run_instances, **world.request()) == "VcpuLimitExceeded"


def test_a_protected_instance_keeps_a_request_from_ending_any(world: World) -> None:
    guarded = world.running(DisableApiTermination=True)
    other = world.running()
    end = world.ec2.terminate_instances
    assert refused(end, InstanceIds=[other, guarded]) == "OperationNotPermitted"
    assert world.state(other) == "running"
    world.ec2.modify_instance_attribute(InstanceId=guarded, DisableApiTermination={"Value": False})
    end(InstanceIds=[other, guarded])
    world.wait_for(guarded, "terminated")


def test_volumes_reach_the_machine_only_in_their_zone_and_one_at_a_time(world: World) -> None:
    ec2, region = world.ec2, world.cloud.region
    ident = world.running()
    near, far = (
        ec2.create_volume(AvailabilityZone=f"{region}{zone}", Size=5)["VolumeId"] for zone in "ab"
    )
    attach = {"InstanceId": ident, "Device": "/dev/sdf"}
    assert refused(ec2.attach_volume, VolumeId=far, **attach) == "InvalidVolume.ZoneMismatch"
    ec2.attach_volume(VolumeId=near, **attach)
    assert refused(ec2.attach_volume, VolumeId=near, **attach) == "VolumeInUse"
    assert refused(ec2.delete_volume, VolumeId=near) == "VolumeInUse"
    machine = world.cloud.machines._machines[ident]
    world.cloud.wait(lambda: machine.volumes == {near: "/dev/sdf"}, what="the volume")
    ec2.detach_volume(VolumeId=near)
    world.cloud.wait(lambda: machine.volumes == {}, what="the volume's absence")


def test_an_instance_that_is_pending_takes_neither_volume_nor_address(world: World) -> None:
    world.cloud.plan.power_on = 5.0
    ident = world.run()
    ec2 = world.ec2
    zone = f"{world.cloud.region}a"
    volume = ec2.create_volume(AvailabilityZone=zone, Size=5)["VolumeId"]
    attach = {"InstanceId": ident, "VolumeId": volume, "Device": "/dev/sdf"}
    assert refused(ec2.attach_volume, **attach) == "IncorrectState"
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    link = {"InstanceId": ident, "AllocationId": address}
    assert refused(ec2.associate_address, **link) == "InvalidInstanceID"


def test_an_address_is_not_taken_from_another_instance_unasked(world: World) -> None:
    ec2 = world.ec2
    one, two = world.running(), world.running()
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    ec2.associate_address(InstanceId=one, AllocationId=address, AllowReassociation=False)
    link = {"InstanceId": two, "AllocationId": address}
    code = refused(ec2.associate_address, AllowReassociation=False, **link)
    assert code == "Resource.AlreadyAssociated"
    ec2.associate_address(AllowReassociation=True, **link)
    assert ec2.describe_addresses()["Addresses"][0]["InstanceId"] == two


def test_new_tags_reach_the_machine(world: World) -> None:
    ident = world.running()
    world.ec2.create_tags(Resources=[ident], Tags=[{"Key": "a", "Value": "b"}])
    machine = world.cloud.machines._machines[ident]
    world.cloud.wait(lambda: machine.tags.get("a") == "b", what="the tag")


def test_the_console_is_the_machines(world: World) -> None:
    ident = world.running()
    text = world.ec2.get_console_output(InstanceId=ident)["Output"]
    assert "login:" in text


def test_user_data_and_type_change_only_while_stopped(world: World) -> None:
    ident = world.running()
    change = {"InstanceId": ident, "InstanceType": {"Value": "t3.large"}}
    modify = world.ec2.modify_instance_attribute
    assert refused(modify, **change) == "IncorrectInstanceState"
    world.ec2.stop_instances(InstanceIds=[ident])
    world.wait_for(ident, "stopped")
    modify(**change)
    assert world.instance(ident)["InstanceType"] == "t3.large"
