"""The whole pipeline against the strict embedded AWS, with machines that boot by themselves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from hubdeploy.aws.inventory import tags_of
from hubdeploy.config.names import TAG_KEEP
from hubdeploy.errors import ConfigError, HubdeployError
from hubdeploy.pipeline.change import Action
from hubdeploy.pipeline.runner import PipelineFailed
from hubdeploy.steps import leftovers
from tests.plugins.aws import CloudAccount
from tests.steps import account
from tests.steps.rig import Rig, config, context

MOST_READS = 70


@pytest.fixture
def rig(cloud: CloudAccount) -> Rig:
    return Rig(cloud)


def test_up_brings_all_machines_to_ready_and_says_where_the_hub_is(
    rig: Rig, cloud: CloudAccount
) -> None:
    outcome = rig.up()
    assert outcome.count(Action.CREATE) > 40
    found = cloud.aws.pages(
        "ssm",
        "get_parameters_by_path",
        "Parameters",
        Path=rig.names.parameters.phases,
        Recursive=True,
    )
    assert len(found) == 4
    assert all('"ready"' in item["Value"] for item in found)


SEVERAL_TYPES = {
    "workers": {"instance_types": ["m6i.xlarge", "m5.xlarge", "m5a.xlarge"], "spot_share": 50},
    "hub": {
        "profiles": [
            {"name": "large", "title": "Large", "instance_type": "r6i.xlarge"},
            {"name": "larger", "title": "Larger", "instance_type": "r6i.2xlarge"},
        ]
    },
}
"""Five groups of workers."""


@pytest.mark.parametrize(("tables", "groups"), [({}, 1), (SEVERAL_TYPES, 5)])
def test_a_second_up_only_reads_and_not_often(
    cloud: CloudAccount, tables: dict[str, Any], groups: int
) -> None:
    rig = Rig(cloud, **tables)
    rig.up()
    found = cloud.aws.pages("autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups")
    assert len(found) == groups
    cloud.calls.clear()
    assert rig.up().mutations == []
    assert cloud.calls.mutations(account=cloud.account) == []
    assert len(cloud.calls.reads(account=cloud.account)) <= MOST_READS


def test_the_number_of_reads_does_not_grow_with_the_workers(rig: Rig, cloud: CloudAccount) -> None:
    rig.up(workers={"min_nodes": 1, "max_nodes": 30})
    cloud.calls.clear()
    rig.up(workers={"min_nodes": 1, "max_nodes": 30})
    few = len(cloud.calls.reads(account=cloud.account))
    rig.up(workers={"min_nodes": 12, "max_nodes": 30})
    cloud.calls.clear()
    assert rig.up(workers={"min_nodes": 12, "max_nodes": 30}).mutations == []
    assert len(cloud.calls.reads(account=cloud.account)) == few


def test_a_plan_changes_nothing_and_lists_what_up_then_does(rig: Rig, cloud: CloudAccount) -> None:
    before = account.read(cloud)
    planned = [(change.action, change.resource) for change in rig.plan()]
    assert account.differences(account.read(cloud), before) == []
    done = [(change.action, change.resource) for change in rig.up().mutations]
    assert sorted(done) == sorted(planned)
    assert rig.plan() == []


@pytest.mark.parametrize("egress", ["nat", "public"])
def test_down_leaves_nothing_but_the_file_system(cloud: CloudAccount, egress: str) -> None:
    rig = Rig(cloud, network={"egress": egress})
    before = account.read(cloud)
    rig.up()
    rig.down()
    after = account.read(cloud)
    (kept,) = after.pop("FileSystems")
    assert account.differences(after, before) == []
    assert TAG_KEEP in kept
    assert rig.plan_down() == []
    assert rig.down().mutations == []


def test_down_keeps_the_files_and_the_next_up_takes_them_up_again(
    rig: Rig, cloud: CloudAccount
) -> None:
    rig.up()
    file_system = rig.outputs["file_system"]
    outcome = rig.down()
    (kept,) = [c for made in outcome.changes.values() for c in made if c.action is Action.KEEP]
    assert file_system in kept.title
    assert "hubdeploy up" in kept.reason
    (found,) = cloud.aws.pages("efs", "describe_file_systems", "FileSystems")
    assert tags_of(found)[TAG_KEEP][:10] == datetime.now(UTC).date().isoformat()
    rig.up()
    assert rig.outputs["file_system"] == file_system
    (found,) = cloud.aws.pages("efs", "describe_file_systems", "FileSystems")
    assert TAG_KEEP not in tags_of(found)


def test_down_keeps_what_the_hub_knows_where_the_configuration_says_so(cloud: CloudAccount) -> None:
    rig = Rig(cloud, storage={"keep": "files-and-hub"})
    before = account.read(cloud)
    rig.up()
    volume, secret = rig.outputs["volume"], rig.names.parameters.hub_secret("shared-password")
    aws = cloud.aws
    aws.call("ssm", "put_parameter", Name=secret, Value="chalk and cheese", Type="SecureString")
    outcome = rig.down()
    kept = {
        c.resource for made in outcome.changes.values() for c in made if c.action is Action.KEEP
    }
    assert kept == {"files", "volume.leader", "parameters.secrets"}
    ctx = context(aws, cloud.account, config(storage={"keep": "files-and-hub"}))
    assert leftovers(ctx) == []
    assert rig.down().mutations == []

    rig.up()
    assert rig.outputs["volume"] == volume
    (found,) = aws.pages("ec2", "describe_volumes", "Volumes", VolumeIds=[volume])
    assert TAG_KEEP not in tags_of(found)
    value = aws.call("ssm", "get_parameter", Name=secret, WithDecryption=True)["Parameter"]["Value"]
    assert value == "chalk and cheese"

    rig.down(delete_files="demo")
    assert account.differences(account.read(cloud), before) == []


def test_what_the_hub_knows_goes_once_the_configuration_keeps_it_no_more(
    cloud: CloudAccount,
) -> None:
    before = account.read(cloud)
    Rig(cloud, storage={"keep": "files-and-hub"}).up()
    Rig(cloud, storage={"keep": "files-and-hub"}).down()
    Rig(cloud).down()
    after = account.read(cloud)
    after.pop("FileSystems")
    assert account.differences(after, before) == []


def test_down_deletes_the_files_only_when_their_name_is_given(
    rig: Rig, cloud: CloudAccount
) -> None:
    before = account.read(cloud)
    rig.up()
    rig.down(delete_files="another")
    assert len(cloud.aws.pages("efs", "describe_file_systems", "FileSystems")) == 1
    rig.down(delete_files="demo")
    assert account.differences(account.read(cloud), before) == []


def test_a_file_system_of_ones_own_is_attached(rig: Rig, cloud: CloudAccount) -> None:
    own = cloud.client("efs").create_file_system(CreationToken="mine", Encrypted=True)
    rig.up(storage={"file_system": own["FileSystemId"]})
    assert rig.outputs["file_system"] == own["FileSystemId"]
    assert len(cloud.aws.pages("efs", "describe_file_systems", "FileSystems")) == 1


def test_two_deployments_in_an_account_leave_each_other_alone(cloud: CloudAccount) -> None:
    one, other = Rig(cloud), Rig(cloud, name="other", network={"cidr": "10.44.0.0/16"})
    one.up()
    state = account.counts(account.read(cloud))
    other.up()
    other.down(delete_files="other")
    assert account.counts(account.read(cloud)) == state
    assert one.plan() == []


def test_down_names_what_is_left_and_what_blocks(rig: Rig, cloud: CloudAccount) -> None:
    rig.up(waits={"delete": 1, "chef_server": 20, "workstation": 20, "leader": 20, "hub": 20})
    ec2 = cloud.client("ec2")
    interface = ec2.create_network_interface(
        SubnetId=rig.outputs["subnets.machines"][0], Description="somebody's own"
    )["NetworkInterface"]["NetworkInterfaceId"]
    rig.tables["waits"] = {"delete": 8}
    with pytest.raises(PipelineFailed) as failed:
        rig.down()
    assert interface in str(failed.value.failures["network.subnets"])
    assert "somebody's own" in failed.value.failures["network.subnets"].message
    ctx = context(cloud.aws, cloud.account, config())
    assert any(name.startswith("subnet ") for name in leftovers(ctx))
    ec2.delete_network_interface(NetworkInterfaceId=interface)
    rig.down()
    assert leftovers(ctx) == []


def test_down_names_who_keeps_the_way_out(rig: Rig, cloud: CloudAccount) -> None:
    rig.up()
    ec2 = cloud.client("ec2")
    interface = ec2.create_network_interface(SubnetId=rig.outputs["subnets.public"][0])
    name = interface["NetworkInterface"]["NetworkInterfaceId"]
    address = ec2.allocate_address(Domain="vpc")
    ec2.associate_address(AllocationId=address["AllocationId"], NetworkInterfaceId=name)
    rig.tables["waits"] = {"delete": 8}
    with pytest.raises(PipelineFailed) as failed:
        rig.down()
    told = failed.value.failures["network.gateway"].message
    assert f"blocked by {name} ({address['PublicIp']})" in told


def test_what_cannot_be_changed_is_refused_before_anything_is_done(
    rig: Rig, cloud: CloudAccount
) -> None:
    rig.up()
    cloud.calls.clear()
    with pytest.raises(PipelineFailed) as failed:
        rig.up(network={"egress": "public"})
    assert isinstance(failed.value.failures["deployment"], ConfigError)
    assert "network.egress cannot be changed from nat to public" in str(failed.value)
    assert cloud.calls.mutations(account=cloud.account) == []


def test_a_failed_machine_ends_the_wait_at_once_and_is_replaced_by_the_next_up(
    rig: Rig, cloud: CloudAccount
) -> None:
    cloud.plan.fail_in = {"leader": "converging"}
    with pytest.raises(PipelineFailed) as failed:
        rig.up()
    failure = failed.value.failures["wait.leader"]
    assert "told to fail while converging" in failure.message
    assert "hubdeploy logs leader" in failure.hint
    assert getattr(failure, "log", "")
    first = rig.outputs["instance.leader"]
    cloud.plan.fail_in = {}
    changes = rig.plan()
    (replaced,) = [c for c in changes if c.action is Action.REPLACE]
    assert "set-up failed" in replaced.reason
    rig.up()
    assert rig.outputs["instance.leader"] != first
    assert rig.plan() == []


def test_workers_that_cannot_be_launched_are_reported_in_awss_words(
    rig: Rig, cloud: CloudAccount
) -> None:
    cloud.settings.capacity_errors = {"m6i.xlarge": "InsufficientInstanceCapacity"}
    with pytest.raises(PipelineFailed) as failed:
        rig.up()
    assert "workers cannot be launched" in failed.value.failures["wait.workers"].message
    assert "instance types" in failed.value.failures["wait.workers"].hint
    cloud.settings.capacity_errors = {}
    rig.up()


def test_a_zone_without_room_is_passed_over(rig: Rig, cloud: CloudAccount) -> None:
    cloud.settings.capacity_errors = {"eu-central-1a": "InsufficientInstanceCapacity"}
    with pytest.raises(PipelineFailed) as failed:
        rig.up(workers={"min_nodes": 0})
    # the leader is bound to its volume's zone; the others are not
    assert set(failed.value.failures) == {"machine.leader"}
    zones = {
        item["Placement"]["AvailabilityZone"]
        for entry in cloud.aws.pages("ec2", "describe_instances", "Reservations")
        for item in entry["Instances"]
    }
    assert zones == {"eu-central-1b"}


def test_new_profiles_and_new_things_that_aws_does_not_know_yet_are_waited_for(
    rig: Rig, cloud: CloudAccount
) -> None:
    cloud.settings.profile_delay = 0.3
    cloud.settings.missing_reads = 1
    rig.up()
    cloud.settings.missing_reads = 0
    assert rig.plan() == []


@pytest.mark.parametrize(
    ("service", "operation", "code"),
    [("ec2", "CreateSubnet", "RequestLimitExceeded"), ("iam", "PutRolePolicy", "Throttling")],
)
def test_throttling_is_borne(
    rig: Rig, cloud: CloudAccount, service: str, operation: str, code: str
) -> None:
    cloud.faults.inject(service, operation, code, times=2)
    rig.up()
    assert rig.plan() == []


def test_a_failed_step_lets_the_others_finish_and_the_next_up_goes_on(
    rig: Rig, cloud: CloudAccount
) -> None:
    cloud.faults.inject("ec2", "AllocateAddress", "AddressLimitExceeded")
    with pytest.raises(PipelineFailed) as failed:
        rig.up()
    assert "Service Quotas" in failed.value.failures["leader.address"].hint
    assert "machine.leader" in failed.value.blocked
    assert len(cloud.aws.pages("efs", "describe_file_systems", "FileSystems")) == 1
    cloud.faults.clear()
    rig.up()
    assert rig.plan() == []


def test_expired_credentials_are_one_line_with_a_hint(rig: Rig, cloud: CloudAccount) -> None:
    cloud.cloud.keys.expire(cloud.account)
    with pytest.raises(HubdeployError) as failed:
        rig.plan()
    assert "expired" in failed.value.hint
    assert "\n" not in failed.value.message
