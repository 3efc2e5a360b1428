"""A call that AWS carried out, but whose answer never came: nothing is made twice, and the next run
goes on."""

from __future__ import annotations

from hubdeploy.pipeline.runner import PipelineFailed
from tests.plugins.aws import CloudAccount
from tests.steps import account
from tests.steps.rig import Rig

LOST_IN_UP = (
    ("autoscaling", "CreateAutoScalingGroup"),
    ("autoscaling", "SuspendProcesses"),
    ("cloudwatch", "PutMetricAlarm"),
    ("ec2", "AllocateAddress"),
    ("ec2", "AssociateAddress"),
    ("ec2", "AssociateRouteTable"),
    ("ec2", "AttachInternetGateway"),
    ("ec2", "AuthorizeSecurityGroupEgress"),
    ("ec2", "AuthorizeSecurityGroupIngress"),
    ("ec2", "CreateInternetGateway"),
    ("ec2", "CreateLaunchTemplate"),
    ("ec2", "CreateNatGateway"),
    ("ec2", "CreateRoute"),
    ("ec2", "CreateRouteTable"),
    ("ec2", "CreateSecurityGroup"),
    ("ec2", "CreateSubnet"),
    ("ec2", "CreateVolume"),
    ("ec2", "CreateVpc"),
    ("ec2", "CreateVpcEndpoint"),
    ("ec2", "ImportKeyPair"),
    ("ec2", "ModifyVpcAttribute"),
    ("ec2", "RevokeSecurityGroupEgress"),
    ("ec2", "RunInstances"),
    ("ecr", "CreateRepository"),
    ("efs", "CreateAccessPoint"),
    ("efs", "CreateFileSystem"),
    ("efs", "CreateMountTarget"),
    ("efs", "PutBackupPolicy"),
    ("iam", "AddRoleToInstanceProfile"),
    ("iam", "CreateInstanceProfile"),
    ("iam", "CreateRole"),
    ("iam", "PutRolePolicy"),
    ("logs", "CreateLogGroup"),
    ("s3", "CreateBucket"),
    ("s3", "PutBucketPolicy"),
    ("s3", "PutObject"),
    ("servicediscovery", "CreatePrivateDnsNamespace"),
    ("servicediscovery", "CreateService"),
    ("ssm", "PutParameter"),
)
LOST_IN_DOWN = (
    ("autoscaling", "DeleteAutoScalingGroup"),
    ("cloudwatch", "DeleteAlarms"),
    ("ec2", "DeleteInternetGateway"),
    ("ec2", "DeleteNatGateway"),
    ("ec2", "DeleteSecurityGroup"),
    ("ec2", "DeleteSubnet"),
    ("ec2", "DeleteVolume"),
    ("ec2", "DeleteVpc"),
    ("ec2", "DeleteVpcEndpoints"),
    ("ec2", "DetachInternetGateway"),
    ("ec2", "DisassociateRouteTable"),
    ("ec2", "ReleaseAddress"),
    ("ec2", "RevokeSecurityGroupEgress"),
    ("ec2", "RevokeSecurityGroupIngress"),
    ("ec2", "TerminateInstances"),
    ("ecr", "DeleteRepository"),
    ("efs", "DeleteAccessPoint"),
    ("efs", "DeleteMountTarget"),
    ("iam", "DeleteInstanceProfile"),
    ("iam", "DeleteRole"),
    ("iam", "DeleteRolePolicy"),
    ("logs", "DeleteLogGroup"),
    ("s3", "DeleteBucket"),
    ("servicediscovery", "DeleteNamespace"),
    ("servicediscovery", "DeleteService"),
    ("ssm", "DeleteParameters"),
)


def until_done(rig: Rig, direction: str, *, most: int) -> None:
    """Run again as the hint says, until a run ends well."""
    for _ in range(most):
        try:
            rig.up() if direction == "up" else rig.down()
        except PipelineFailed as failed:
            for error in failed.failures.values():
                assert "goes on from where things are" in error.hint, error
        else:
            return
    raise AssertionError(f"no {direction} of {most} ended well")


def test_whatever_answer_is_lost_the_end_is_that_of_an_undisturbed_run(
    cloud: CloudAccount,
) -> None:
    undisturbed = Rig(cloud.elsewhere("eu-central-1"))
    undisturbed.up()
    whole = account.counts(account.read(cloud))
    undisturbed.down(delete_files="demo")
    nothing = account.counts(account.read(cloud))

    rig = Rig(cloud)
    for service, operation in LOST_IN_UP:
        cloud.faults.drop(service, operation)
    until_done(rig, "up", most=len(LOST_IN_UP))
    assert set(LOST_IN_UP) == {call for call, count in cloud.faults.raised.items() if count == 1}
    assert rig.plan() == []
    assert account.counts(account.read(cloud)) == whole

    cloud.faults.clear()
    for service, operation in LOST_IN_DOWN:
        cloud.faults.drop(service, operation)
    until_done(rig, "down", most=len(LOST_IN_DOWN))
    assert set(LOST_IN_DOWN) == {call for call, count in cloud.faults.raised.items() if count == 1}
    rig.down(delete_files="demo")
    assert account.counts(account.read(cloud)) == nothing
