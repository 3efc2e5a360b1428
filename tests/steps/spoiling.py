"""What somebody may change or delete by hand in the account of a deployment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hubdeploy.aws.inventory import tags_of
from hubdeploy.config.names import TAG_RESOURCE, Role
from hubdeploy.errors import AwsError
from tests.plugins.aws import CloudAccount
from tests.steps.rig import Rig

Spoil = Callable[[Rig], Any]


def item(cloud: CloudAccount, operation: str, key: str, resource: str) -> dict[str, Any]:
    """A resource of the deployment by its logical name."""
    found = cloud.aws.pages("ec2", operation, key)
    return next(entry for entry in found if tags_of(entry).get(TAG_RESOURCE) == resource)


def group(cloud: CloudAccount, name: str) -> dict[str, Any]:
    return item(cloud, "describe_security_groups", "SecurityGroups", f"firewall.{name}")


def open_a_port(rig: Rig) -> None:
    rig.cloud.client("ec2").authorize_security_group_ingress(
        GroupId=group(rig.cloud, "worker")["GroupId"],
        IpPermissions=[
            {
                "IpProtocol": "tcp",
                "FromPort": 22,
                "ToPort": 22,
                "IpRanges": [{"CidrIp": "0.0.0.0/0"}],
            }
        ],
    )


def close_a_port(rig: Rig) -> None:
    leader = group(rig.cloud, "leader")
    (rule,) = [r for r in leader["IpPermissions"] if r.get("FromPort") == 443]
    rig.cloud.client("ec2").revoke_security_group_ingress(
        GroupId=leader["GroupId"],
        IpPermissions=[
            {k: rule[k] for k in ("IpProtocol", "FromPort", "ToPort", "IpRanges") if k in rule}
        ],
    )


def stop_dns(rig: Rig) -> None:
    rig.cloud.client("ec2").modify_vpc_attribute(
        VpcId=rig.outputs["vpc"], EnableDnsHostnames={"Value": False}
    )


def take_a_tag(rig: Rig) -> None:
    rig.cloud.client("ec2").create_tags(
        Resources=[rig.outputs["volume"]], Tags=[{"Key": "Name", "Value": "mine"}]
    )


def give_public_addresses(rig: Rig) -> None:
    subnet = item(rig.cloud, "describe_subnets", "Subnets", "subnet.private.a")
    rig.cloud.client("ec2").modify_subnet_attribute(
        SubnetId=subnet["SubnetId"], MapPublicIpOnLaunch={"Value": True}
    )


def take_the_gateways_tag(rig: Rig) -> None:
    gateway = item(rig.cloud, "describe_internet_gateways", "InternetGateways", "gateway")
    rig.cloud.client("ec2").delete_tags(
        Resources=[gateway["InternetGatewayId"]], Tags=[{"Key": "Name"}]
    )


def drop_the_key(rig: Rig) -> None:
    rig.cloud.client("ec2").delete_key_pair(KeyName=rig.names.prefix)


def drop_the_default_route(rig: Rig) -> None:
    table = item(rig.cloud, "describe_route_tables", "RouteTables", "routes.private")
    rig.cloud.client("ec2").delete_route(
        RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0"
    )


def drop_an_association(rig: Rig) -> None:
    table = item(rig.cloud, "describe_route_tables", "RouteTables", "routes.public")
    association = table["Associations"][0]["RouteTableAssociationId"]
    rig.cloud.client("ec2").disassociate_route_table(AssociationId=association)


def drop_the_endpoint(rig: Rig) -> None:
    endpoint = item(rig.cloud, "describe_vpc_endpoints", "VpcEndpoints", "endpoint.s3")
    rig.cloud.client("ec2").delete_vpc_endpoints(VpcEndpointIds=[endpoint["VpcEndpointId"]])


def suspend_versions(rig: Rig) -> None:
    rig.cloud.client("s3").put_bucket_versioning(
        Bucket=rig.names.bucket, VersioningConfiguration={"Status": "Suspended"}
    )


def drop_the_bucket_policy(rig: Rig) -> None:
    rig.cloud.client("s3").delete_bucket_policy(Bucket=rig.names.bucket)


def open_the_bucket(rig: Rig) -> None:
    rig.cloud.client("s3").delete_public_access_block(Bucket=rig.names.bucket)


def keep_everything(rig: Rig) -> None:
    rig.cloud.client("s3").delete_bucket_lifecycle(Bucket=rig.names.bucket)


def drop_the_wheel(rig: Rig) -> None:
    key = rig.outputs["artifacts"]["wheel"]["key"]
    rig.cloud.client("s3").delete_object(Bucket=rig.names.bucket, Key=key)


def widen_a_role(rig: Rig) -> None:
    rig.cloud.client("iam").put_role_policy(
        RoleName=rig.names.machine_role(Role.WORKER),
        PolicyName="hubdeploy",
        PolicyDocument='{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", '
        '"Action": "s3:*", "Resource": "*"}]}',
    )


def attach_a_policy(rig: Rig) -> None:
    iam = rig.cloud.client("iam")
    made = iam.create_policy(
        PolicyName="more",
        PolicyDocument='{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", '
        '"Action": "*", "Resource": "*"}]}',
    )
    iam.attach_role_policy(
        RoleName=rig.names.machine_role(Role.LEADER), PolicyArn=made["Policy"]["Arn"]
    )


def empty_a_profile(rig: Rig) -> None:
    name = rig.names.machine_role(Role.CHEF)
    rig.cloud.client("iam").remove_role_from_instance_profile(
        InstanceProfileName=name, RoleName=name
    )


def end_backups(rig: Rig) -> None:
    rig.cloud.client("efs").put_backup_policy(
        FileSystemId=rig.outputs["file_system"], BackupPolicy={"Status": "DISABLED"}
    )


def drop_a_mount_target(rig: Rig) -> None:
    efs = rig.cloud.client("efs")
    found = efs.describe_mount_targets(FileSystemId=rig.outputs["file_system"])["MountTargets"]
    efs.delete_mount_target(MountTargetId=found[0]["MountTargetId"])


def drop_the_access_point(rig: Rig) -> None:
    rig.cloud.client("efs").delete_access_point(AccessPointId=rig.outputs["access_point"])


def drop_the_release(rig: Rig) -> None:
    rig.cloud.client("ssm").delete_parameter(Name=rig.names.parameters.release)


def raise_the_limits(rig: Rig) -> None:
    rig.cloud.client("ssm").put_parameter(
        Name=rig.names.parameters.limits, Value='{"max_nodes": 500}', Overwrite=True
    )


def drop_the_repository(rig: Rig) -> None:
    rig.cloud.client("ecr").delete_repository(repositoryName=rig.names.repository)


def drop_a_log_group(rig: Rig) -> None:
    rig.cloud.client("logs").delete_log_group(logGroupName=rig.names.log_group("hub"))


def keep_logs_for_ever(rig: Rig) -> None:
    rig.cloud.client("logs").delete_retention_policy(logGroupName=rig.names.log_group("nginx"))


def drop_an_alarm(rig: Rig) -> None:
    rig.cloud.client("cloudwatch").delete_alarms(AlarmNames=["hubdeploy-demo-alarm-leader-disk"])


def detach_the_address(rig: Rig) -> None:
    found = item(rig.cloud, "describe_addresses", "Addresses", "address.leader")
    rig.cloud.client("ec2").disassociate_address(AssociationId=found["AssociationId"])


def lose_the_address(rig: Rig) -> None:
    detach_the_address(rig)
    found = item(rig.cloud, "describe_addresses", "Addresses", "address.leader")
    rig.cloud.client("ec2").release_address(AllocationId=found["AllocationId"])


def end_an_instance(role: Role) -> Spoil:
    def spoil(rig: Rig) -> None:
        rig.cloud.client("ec2").terminate_instances(InstanceIds=[rig.outputs[f"instance.{role}"]])

    return spoil


def stop_the_leader(rig: Rig) -> None:
    instance = rig.outputs["instance.leader"]
    rig.cloud.client("ec2").stop_instances(InstanceIds=[instance])

    def stopped() -> bool:
        found = rig.cloud.aws.call("ec2", "describe_instances", InstanceIds=[instance])
        return bool(found["Reservations"][0]["Instances"][0]["State"]["Name"] == "stopped")

    rig.cloud.wait(stopped, what="the leader to be stopped")


def loosen_metadata(rig: Rig) -> None:
    rig.cloud.client("ec2").modify_instance_metadata_options(
        InstanceId=rig.outputs["instance.leader"], HttpTokens="optional"
    )


def change_the_group(rig: Rig) -> None:
    rig.cloud.client("autoscaling").update_auto_scaling_group(
        AutoScalingGroupName=rig.names.workers_group("m6i.xlarge"),
        MaxSize=3,
        NewInstancesProtectedFromScaleIn=False,
    )


def resume_rebalancing(rig: Rig) -> None:
    rig.cloud.client("autoscaling").resume_processes(
        AutoScalingGroupName=rig.names.workers_group("m6i.xlarge"),
        ScalingProcesses=["AZRebalance"],
    )


def new_template_version(rig: Rig) -> None:
    ec2, template = rig.cloud.client("ec2"), rig.outputs["template"]
    ec2.create_launch_template_version(
        LaunchTemplateId=template, SourceVersion="1", LaunchTemplateData={"UserData": "eA=="}
    )
    ec2.modify_launch_template(LaunchTemplateId=template, DefaultVersion="2")


def drop_a_name(rig: Rig) -> None:
    discovery, service = rig.cloud.client("servicediscovery"), rig.outputs["services"]["chef"]
    for entry in discovery.list_instances(ServiceId=service)["Instances"]:
        discovery.deregister_instance(ServiceId=service, InstanceId=entry["Id"])
    discovery.delete_service(Id=service)


def end_the_nat_gateway(rig: Rig) -> None:
    rig.cloud.client("ec2").delete_nat_gateway(NatGatewayId=rig.outputs["nat"])


def end_the_nat_gateway_with_its_address(rig: Rig) -> None:
    end_the_nat_gateway(rig)
    found = item(rig.cloud, "describe_addresses", "Addresses", "address.nat")

    def released() -> bool:
        try:
            rig.cloud.aws.call("ec2", "release_address", AllocationId=found["AllocationId"])
        except AwsError:
            return False
        return True

    rig.cloud.wait(released, what="the gateway to let go of its address")


def drop_the_volume(rig: Rig) -> None:
    rig.cloud.client("ec2").delete_volume(VolumeId=rig.outputs["volume"])


def drop_the_group(rig: Rig) -> None:
    rig.cloud.client("autoscaling").delete_auto_scaling_group(
        AutoScalingGroupName=rig.names.workers_group("m6i.xlarge"), ForceDelete=True
    )


def empty_and_drop_the_bucket(rig: Rig) -> None:
    s3, name = rig.cloud.client("s3"), rig.names.bucket
    found = s3.list_object_versions(Bucket=name)
    entries = [*found.get("Versions", []), *found.get("DeleteMarkers", [])]
    objects = [{"Key": e["Key"], "VersionId": e["VersionId"]} for e in entries]
    s3.delete_objects(Bucket=name, Delete={"Objects": objects})
    s3.delete_bucket(Bucket=name)


ONE_AFTER_THE_OTHER: tuple[tuple[Spoil, str], ...] = (
    (empty_and_drop_the_bucket, "bucket"),
    (drop_the_group, "workers.m6i.xlarge"),
    (end_the_nat_gateway, "nat"),
    (end_the_nat_gateway_with_its_address, "address.nat"),
    (drop_the_volume, "volume.leader"),
    (lose_the_address, "address.leader"),
    (end_an_instance(Role.CHEF), "instance.chef-server"),
    (end_an_instance(Role.WORKSTATION), "instance.workstation"),
    (end_an_instance(Role.LEADER), "instance.leader"),
)
ALL_AT_ONCE: tuple[tuple[Spoil, str], ...] = (
    (open_a_port, "firewall.worker"),
    (close_a_port, "firewall.leader"),
    (stop_dns, "vpc"),
    (take_a_tag, "volume.leader"),
    (give_public_addresses, "subnet.private.a"),
    (take_the_gateways_tag, "gateway"),
    (drop_the_key, "key"),
    (drop_the_default_route, "routes.private"),
    (drop_an_association, "routes.public"),
    (drop_the_endpoint, "endpoint.s3"),
    (suspend_versions, "bucket"),
    (drop_the_bucket_policy, "bucket"),
    (open_the_bucket, "bucket"),
    (keep_everything, "bucket"),
    (drop_the_wheel, "artifacts.wheel"),
    (widen_a_role, "iam.worker"),
    (attach_a_policy, "iam.leader"),
    (empty_a_profile, "iam.chef-server"),
    (end_backups, "files.backups"),
    (drop_a_mount_target, "files.target.1"),
    (drop_the_access_point, "files.homes"),
    (drop_the_release, "release"),
    (raise_the_limits, "parameters.limits"),
    (drop_the_repository, "registry"),
    (drop_a_log_group, "logs.hub"),
    (keep_logs_for_ever, "logs.nginx"),
    (drop_an_alarm, "alarm.leader-disk"),
    (detach_the_address, "address.leader"),
    (stop_the_leader, "instance.leader"),
    (loosen_metadata, "instance.leader"),
    (change_the_group, "workers.m6i.xlarge"),
    (resume_rebalancing, "workers.m6i.xlarge"),
    (new_template_version, "template.workers"),
    (drop_a_name, "discovery.chef"),
)
