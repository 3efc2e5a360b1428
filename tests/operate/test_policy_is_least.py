"""Two whole lives of deployments under the policy: it suffices, and all of it is needed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatchcase as fnmatch
from typing import Any

import pytest
from tests.plugins.aws import CloudAccount
from tests.plugins.standing import TEXT, Standing

from hubdeploy.aws.lock import held
from hubdeploy.config.load import parse
from hubdeploy.config.names import Role
from hubdeploy.doctor import all_checks
from hubdeploy.doctor.check import run
from hubdeploy.doctor.context import DoctorContext
from hubdeploy.operate import cleaning, cloudlogs, cost, costchange, policy, scale, secrets, status
from hubdeploy.operate.logs import command
from hubdeploy.operate.policy.simulation import USED
from hubdeploy.remote.ssm import SsmChannel
from hubdeploy.sandbox.cloud.overlay import recovery
from hubdeploy.sandbox.cloud.rights.enforcement import last_accessed

Make = Callable[[str], Standing]
pytestmark = pytest.mark.timeout(120)

CHANGED = """
instance_types = ["m6i.xlarge", "m5.xlarge"]
disk = "80G"
[leader]
instance_type = "t3.large"
state_disk = "40G"
[storage]
throughput = "bursting"
backups = false
cold_after_days = 0
[access]
operator_cidrs = ["203.0.113.7/32"]
[[hub.profiles]]
name = "large"
title = "Large"
instance_type = "r6i.xlarge"
"""
OTHER = """
name = "other"
region = "eu-central-1"
domain = "lab.example.org"
permissions_boundary = "BOUNDARY"
[tls]
email = "ada@example.org"
[chef]
distribution = "goiardi"
[network]
egress = "public"
[storage]
keep = "files-and-hub"
[workers]
spot_share = 50
"""
OUTSIDE = ("spawn", "hub.image", "chef.packages", "hub.url")
"""Checks that ask others than AWS."""
_MENDS = "up mends what was changed by hand"
_ZONE = (
    "AWS's own policy for Cloud Map has it: the namespace's zone is bound to the VPC and deleted"
)
ONLY_SOMETIMES: dict[str, str] = {
    "autoscaling:ResumeProcesses": _MENDS,
    "ec2:ModifyInstanceAttribute": _MENDS,
    "ec2:ModifyInstanceMetadataOptions": _MENDS,
    "ec2:ModifyNetworkInterfaceAttribute": "EFS does, for the mount target's groups",
    "ec2:ModifySubnetAttribute": _MENDS,
    "ec2:ModifyVpcEndpoint": _MENDS,
    "ec2:ReplaceRoute": _MENDS,
    "ec2:StartInstances": _MENDS + ": a machine that was stopped",
    "ec2:DisassociateAddress": "down, where the leader outlives it or the address was moved",
    "ecr:DescribeImages": "the doctor looks for a notebook image that is in the repository",
    "ecr:PutImageScanningConfiguration": _MENDS,
    "elasticfilesystem:ModifyMountTargetSecurityGroups": _MENDS,
    "iam:DetachRolePolicy": _MENDS,
    "iam:UpdateAssumeRolePolicy": _MENDS,
    "servicequotas:GetAWSDefaultServiceQuota": "a quota that the account never had changed",
    "route53:AssociateVPCWithHostedZone": _ZONE,
    "route53:DeleteHostedZone": _ZONE,
    "ssm:CancelCommand": "Ctrl-C while a command runs",
    "ssm:ResumeSession": "Session Manager's plugin, when a connection broke",
}
"""Granted actions that neither life calls, and when they are needed."""


def limited(made: Standing) -> Standing:
    boundary = made.config.permissions_boundary
    parts = policy.documents(made.names, boundary=boundary)
    return replace(made, operator=made.cloud.restricted(*parts))


def everyday(made: Standing) -> None:
    """What an operator does with a deployment that stands."""
    aws, names = made.aws, made.names
    made.plan()
    estimate = cost.read(made.config, aws=aws)
    costchange.read(made.config, estimate, aws=aws, names=names)
    before = scale.current(aws=aws, names=names)
    scale.scale(scale.wanted(before, max_nodes=12), aws=aws, names=names)
    secrets.store("hub/shared-password", "open sesame", aws=aws, names=names)
    channel = SsmChannel(aws=aws, bucket=names.bucket, every=0.2)
    machines = status.machines(aws=aws, names=names)
    results = channel.run([m.target for m in machines], command("boot", lines=5), deadline=10)
    assert len(results) == len(machines)
    made.cloud.aws.call(
        "logs", "create_log_stream", logGroupName=names.log_group("hub"), logStreamName="i-0ended"
    )
    cloudlogs.read("hub", machines, on=None, lines=5, since="", aws=aws, names=names)
    assert cleaning.secrets_of(aws=aws, names=names)
    chef = next(m for m in machines if m.role == Role.CHEF)
    session = aws.call(
        "ssm",
        "start_session",
        Target=chef.instance_id,
        DocumentName="AWS-StartPortForwardingSession",
        Parameters={"portNumber": ["443"]},
    )
    aws.call("ssm", "terminate_session", SessionId=session["SessionId"])
    ctx = DoctorContext(config=made.config, names=names, aws=aws, channel=channel)
    reports = run([check(ctx) for check in all_checks() if check.name not in OUTSIDE])
    (own,) = [report for report in reports if report.name == "aws.permissions"]
    assert own.findings == []


def back_up(made: Standing) -> None:
    """A night passes; the account lets its backups be deleted."""
    cloud = made.cloud
    (found,) = cloud.aws.pages("efs", "describe_file_systems", "FileSystems")
    recovery.back_up(cloud.cloud, cloud.account, cloud.region, found["FileSystemId"])
    policy = json.dumps({"Version": "2012-10-17", "Statement": []})
    cloud.aws.call(
        "backup", "put_backup_vault_access_policy", BackupVaultName=recovery.VAULT, Policy=policy
    )


def denied(made: Standing) -> list[str]:
    return sorted(
        {
            f"{call.name}: {call.error}"
            for call in made.cloud.calls.find(account=made.cloud.account)
            if re.search("Denied|Unauthorized", call.error or "")
        }
    )


def test_the_policy_suffices_for_changes_and_for_every_way_of_deploying(
    configured: Make, cloud: CloudAccount
) -> None:
    allowed: dict[str, Any] = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
    }
    boundary = cloud.client("iam").create_policy(
        PolicyName="bound", PolicyDocument=json.dumps(allowed)
    )["Policy"]["Arn"]
    first = limited(configured(TEXT))
    with held(first.aws, first.names, purpose="up"):
        first.up()
    everyday(first)
    head = f'tags = {{team = "science"}}\npermissions_boundary = "{boundary}"\n'
    text = TEXT.replace("min_nodes = 2", "min_nodes = 3") + CHANGED
    changed = replace(first, config=parse(head + text))
    assert changed.up().mutations
    assert changed.plan().mutations == []
    changed = replace(first, config=parse(text))
    changed.up()
    back_up(changed)
    changed.down(delete_files=changed.names.deployment)
    assert denied(first) == []

    cloud.client("route53").create_hosted_zone(Name="example.org", CallerReference="x")
    second = limited(configured(OTHER.replace("BOUNDARY", boundary)))
    second.up()
    second.down()
    second.up()
    second.down(delete_files=second.names.deployment)
    assert denied(second) == []

    used = last_accessed(cloud.cloud, cloud.account)
    named = {action for action in policy.actions(first.names) if "*" not in action}
    assert sorted(named - used - ONLY_SOMETIMES.keys()) == []
    assert sorted(used & ONLY_SOMETIMES.keys()) == []

    # what the doctor asks IAM about, by name, where the policy grants a pattern
    for pattern, called in USED.items():
        assert sorted(called) == sorted(a for a in used if fnmatch(a, pattern)), pattern
    assert USED.keys() == {action for action in policy.actions(first.names) if "*" in action}
