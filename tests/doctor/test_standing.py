"""What AWS tells of a deployment that stands: each thing is broken, and the finding seen."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.doctor.conftest import Examine, machine, said, tell
from tests.plugins.standing import Standing

from hubdeploy import __version__
from hubdeploy.config.names import Key, Role
from hubdeploy.pipeline.step import Severity

Make = Callable[[str], Standing]


def test_ec2s_failed_status_checks_and_announced_events_are_seen(
    standing: Standing, examine: Examine
) -> None:
    leader, worker = machine(standing, "leader"), machine(standing, "worker/1")
    standing.cloud.settings.impaired.add(leader.instance_id)
    standing.cloud.settings.announced[worker.instance_id] = "instance-retirement"
    report = examine(standing, "machines.ec2")
    assert "leader: EC2's instance check fails" in said(report)
    assert "leader: EC2's system check fails" in said(report)
    assert "worker/1: AWS announces instance-retirement" in said(report)
    assert report.severity is Severity.ERROR


def test_a_machine_whose_agent_is_offline_is_named(standing: Standing, examine: Examine) -> None:
    standing.cloud.plan.agent = 3600.0
    found = said(examine(standing, "machines.agent"))
    assert "leader does not answer Run Command" in found
    assert "worker/2 does not answer Run Command" in found


def test_fewer_workers_than_there_should_be_are_a_warning(
    standing: Standing, examine: Examine
) -> None:
    name = standing.names.parameters.limits
    limits = json.loads(standing.aws.call("ssm", "get_parameter", Name=name)["Parameter"]["Value"])
    standing.aws.call(
        "ssm",
        "put_parameter",
        Name=name,
        Value=json.dumps({**limits, "min_nodes": 5}),
        Type="String",
        Overwrite=True,
    )
    report = examine(standing, "workers.group")
    assert said(report) == "2 workers are in service, at least 5 should be"


def test_a_group_that_is_gone_is_an_error(standing: Standing, examine: Examine) -> None:
    group = standing.names.workers_group("m6i.xlarge")
    standing.aws.call(
        "autoscaling", "delete_auto_scaling_group", AutoScalingGroupName=group, ForceDelete=True
    )
    standing.cloud.wait(
        lambda: (
            not standing.aws.call("autoscaling", "describe_auto_scaling_groups")[
                "AutoScalingGroups"
            ]
        )
    )
    assert "there is no workers' group" in said(examine(standing, "workers.group"))


def older(standing: Standing, hours: float) -> None:
    """All machines were launched so long ago."""
    ec2 = standing.cloud.backend("ec2")
    for instance in ec2.all_instances():
        instance.launch_time = (datetime.now(UTC) - timedelta(hours=hours)).strftime(
            "%Y-%m-%dT%H:%M:%S.000Z"
        )


def test_backups_that_are_missing_or_old_are_errors_once_there_should_be_some(
    standing: Standing, examine: Examine
) -> None:
    assert examine(standing, "backups").findings == [], "the first one is due in the night"
    older(standing, 48)
    found = said(examine(standing, "backups"))
    assert "there is no backup of the hub's database" in found
    assert "there is no backup of the Chef server" in found
    bucket = standing.names.bucket
    for prefix in (Key.HUB_BACKUP, Key.CHEF_BACKUP):
        standing.aws.call("s3", "put_object", Bucket=bucket, Key=f"{prefix}/one", Body=b"x")
    assert examine(standing, "backups").findings == []
    kept = standing.cloud.cloud.backend("s3", standing.cloud.account, "eu-central-1")
    key = kept.buckets[bucket].keys[f"{Key.HUB_BACKUP}/one"]
    key.last_modified = datetime(2026, 1, 2, 3, 4)
    report = examine(standing, "backups")
    assert said(report) == "the newest backup of the hub's database is of 2026-01-02 03:04"


def put(standing: Standing, name: str, value: dict[str, Any]) -> None:
    standing.aws.call(
        "ssm",
        "put_parameter",
        Name=name,
        Value=json.dumps(value),
        Type="String",
        Overwrite=True,
    )


def release(standing: Standing) -> dict[str, Any]:
    name = standing.names.parameters.release
    found: dict[str, Any] = json.loads(
        standing.aws.call("ssm", "get_parameter", Name=name)["Parameter"]["Value"]
    )
    return found


def test_cookbooks_that_the_workstation_has_not_published_are_seen(
    standing: Standing, examine: Examine
) -> None:
    # the simulated workstation publishes what is new within moments: let it be off
    station = machine(standing, "workstation")
    standing.aws.call("ec2", "stop_instances", InstanceIds=[station.instance_id])
    standing.cloud.wait(lambda: machine(standing, "workstation").state == "stopped")
    old = {"cookbooks": "old", "settings": "old"}
    put(standing, standing.names.parameters.workstation_state, old)
    found = said(examine(standing, "versions"))
    assert "the workstation has not published the newest cookbooks" in found
    assert "the workstation has not published the newest settings" in found


def test_another_version_of_the_command_than_of_the_machines_is_seen(
    standing: Standing, examine: Examine
) -> None:
    now = release(standing)
    put(standing, standing.names.parameters.release, {**now, "version": "0.0.1"})
    report = examine(standing, "versions")
    assert f"this is hubdeploy {__version__}, the machines are to run 0.0.1" in said(report)
    standing.aws.call("ssm", "delete_parameter", Name=standing.names.parameters.release)
    assert "nothing is published" in said(examine(standing, "versions"))


def test_each_machine_that_is_behind_the_release_is_named_with_what_is_old(
    standing: Standing, examine: Examine
) -> None:
    now = release(standing)
    current = {
        "wheel": now["wheel"]["sha256"][:12],
        "cookbooks": now["cookbooks"]["sha256"],
        "settings": now["settings"]["sha256"],
    }
    facts = {
        Role.LEADER: {"version": __version__, "release": {**current, "cookbooks": "0ld"}},
        Role.CHEF: {"version": "0.0.1", "release": {"wheel": "0ld"}},
    }
    healthy = {"version": __version__, "release": current}
    tell(standing, lambda role: facts.get(Role(role), healthy))
    report = examine(standing, "versions")
    assert report.severity is Severity.WARNING
    assert [f.message for f in report.findings] == [
        f"leader runs hubdeploy {__version__}, and not the newest cookbooks; "
        f"the release is {__version__}",
        f"chef-server runs hubdeploy 0.0.1, and not the newest wheel; the release is {__version__}",
    ]


@pytest.mark.parametrize("state", ["creating", "updating", "error"])
def test_a_file_system_that_is_not_available_is_an_error(
    standing: Standing, examine: Examine, state: str
) -> None:
    (system,) = standing.cloud.backend("efs").file_systems_by_id.values()
    system.life_cycle_state = state
    assert said(examine(standing, "efs")) == f"{system.file_system_id} is {state}"


def test_a_mount_target_that_is_still_being_made_is_an_error(
    standing: Standing, examine: Examine
) -> None:
    (system,) = standing.aws.pages("efs", "describe_file_systems", "FileSystems")
    name = system["FileSystemId"]
    first = standing.aws.call("efs", "describe_mount_targets", FileSystemId=name)["MountTargets"][0]
    standing.aws.call("efs", "delete_mount_target", MountTargetId=first["MountTargetId"])
    standing.cloud.settings.efs_delay = 600.0
    made = standing.aws.call(
        "efs", "create_mount_target", FileSystemId=name, SubnetId=first["SubnetId"]
    )
    assert f"mount target {made['MountTargetId']} is creating" in said(examine(standing, "efs"))


def test_no_file_system_is_an_error(configured: Make, examine: Examine) -> None:
    bare = configured('name = "demo"\nregion = "eu-central-1"\n')
    assert said(examine(bare, "efs")) == "there is no file system"


def test_what_hangs_on_nothing_or_is_there_twice_is_left_of_a_failure(
    standing: Standing, examine: Examine
) -> None:
    assert examine(standing, "leftovers").findings == []
    names = standing.names

    def tags(resource: str) -> list[dict[str, str]]:
        return [
            {"Key": "hubdeploy:deployment", "Value": names.deployment},
            {"Key": "hubdeploy:resource", "Value": resource},
        ]

    vpc = standing.aws.call(
        "ec2",
        "create_vpc",
        CidrBlock="10.99.0.0/16",
        TagSpecifications=[{"ResourceType": "vpc", "Tags": tags("vpc")}],
    )["Vpc"]["VpcId"]
    volume = standing.aws.call(
        "ec2",
        "create_volume",
        AvailabilityZone="eu-central-1a",
        Size=1,
        TagSpecifications=[{"ResourceType": "volume", "Tags": tags("instance.worker")}],
    )["VolumeId"]
    report = examine(standing, "leftovers")
    assert report.severity is Severity.WARNING
    assert f"{vpc} is one of 2 called vpc" in said(report)
    assert f"{volume} hangs on no machine" in said(report)


def test_what_an_up_that_failed_has_left_is_listed_before_the_next(
    configured: Make, examine: Examine
) -> None:
    made = configured('name = "demo"\nregion = "eu-central-1"\n')
    assert examine(made, "leftovers").findings == []
    made.cloud.faults.inject("ec2", "CreateSubnet", "UnauthorizedOperation")
    with pytest.raises(Exception, match="create_subnet"):
        made.up()
    report = examine(made, "leftovers")
    assert "left of an earlier run: " in said(report)
    assert "VPC vpc-" in said(report)
    assert "`hubdeploy up` goes on from there" in report.findings[0].hint
