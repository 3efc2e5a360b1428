"""A changed configuration: what is done in place, what is replaced, what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hubdeploy.aws.inventory import tags_of
from hubdeploy.config.names import TAG_TEMPLATE
from hubdeploy.errors import ConfigError
from hubdeploy.pipeline.change import Action, Change
from hubdeploy.pipeline.runner import PipelineFailed
from hubdeploy.steps.machine import TAG_RELEASE
from tests.plugins.aws import CloudAccount
from tests.steps.rig import Rig


@pytest.fixture(scope="module")
def standing(module_cloud: CloudAccount) -> Rig:
    """A deployment that these tests only make plans for."""
    rig = Rig(module_cloud)
    rig.up()
    return rig


@pytest.fixture
def rig(cloud: CloudAccount) -> Rig:
    made = Rig(cloud)
    made.up()
    return made


def by_resource(changes: list[Change]) -> dict[str, list[Change]]:
    found: dict[str, list[Change]] = {}
    for change in changes:
        found.setdefault(change.resource, []).append(change)
    return found


@pytest.mark.parametrize(
    ("tables", "resource", "disrupts"),
    [
        ({"leader": {"instance_type": "t3.large"}}, "instance.leader", "the hub is away"),
        ({"leader": {"disk": "60G"}}, "instance.leader", "the hub is away"),
        ({"chef": {"instance_type": "t3.xlarge"}}, "instance.chef-server", "no converge"),
        ({"chef": {"server_version": "15.10.99"}}, "instance.chef-server", "no converge"),
        ({"chef": {"workstation_type": "t3.medium"}}, "instance.workstation", ""),
    ],
)
def test_what_only_a_new_instance_can_take_replaces_it_and_says_who_notices(
    standing: Rig, tables: dict[str, Any], resource: str, disrupts: str
) -> None:
    found = by_resource(standing.plan(**tables))
    (change,) = found[resource]
    assert change.action is Action.REPLACE
    assert change.disrupts.startswith(disrupts)
    assert bool(change.disrupts) == bool(disrupts)
    assert change.fields
    replaced = [name for name, made in found.items() if made[0].action is Action.REPLACE]
    assert replaced == [resource]


@pytest.mark.parametrize(
    ("tables", "resources"),
    [
        ({"workers": {"max_nodes": 20}}, {"workers.m6i.xlarge", "parameters.limits"}),
        ({"limits": {"max_concurrent_users": 7}}, {"parameters.limits"}),
        ({"storage": {"throughput": "bursting"}}, {"files"}),
        ({"storage": {"backups": False}}, {"files.backups"}),
        ({"storage": {"cold_after_days": 0}}, {"files"}),
        ({"leader": {"state_disk": "40G"}}, {"volume.leader"}),
        ({"access": {"operator_cidrs": ["203.0.113.7/32"]}}, {"firewall.leader"}),
        ({"permissions_boundary": "arn:aws:iam::aws:policy/X"}, {"iam.leader"}),
        (
            {"tags": {"team": "science"}},
            {"vpc", "bucket", "files", "instance.leader", "workers.m6i.xlarge"},
        ),
        ({"hub": {"title": "Science"}}, {"release", "release.settings"}),
    ],
)
def test_what_can_be_done_in_place_is_done_in_place(
    standing: Rig, tables: dict[str, Any], resources: set[str]
) -> None:
    found = by_resource(standing.plan(**tables))
    assert resources <= found.keys()
    assert not any(c.action is Action.REPLACE for made in found.values() for c in made)
    assert not any(change.disrupts for made in found.values() for change in made)


@pytest.mark.parametrize(
    "tables",
    [
        {"workers": {"disk": "80G"}},
        {"hub": {"image": "quay.io/jupyter/base-notebook:2025-03-14"}},
        {"chef": {"client_version": "18.8.55"}},
        {"storage": {"tls": False}},
    ],
)
def test_new_workers_come_from_a_new_version_and_no_old_one_is_ended(
    standing: Rig, tables: dict[str, Any]
) -> None:
    found = by_resource(standing.plan(**tables))
    version, default = found["template.workers"]
    assert "as these become empty" in version.reason
    assert default.fields[0].old == "1"
    assert "instance.worker" not in found
    assert any(
        f.name == TAG_TEMPLATE for change in found["workers.m6i.xlarge"] for f in change.fields
    )


@pytest.mark.parametrize(
    ("tables", "path"),
    [
        ({"network": {"cidr": "10.99.0.0/16"}}, "network.cidr"),
        ({"network": {"zones": 3}}, "network.zones"),
        ({"network": {"egress": "public"}}, "network.egress"),
        ({"network": {"docker_pool": "10.208.0.0/14"}}, "network.docker_pool"),
        ({"chef": {"distribution": "goiardi"}}, "chef.distribution"),
    ],
)
def test_what_is_fixed_is_refused_by_name(standing: Rig, tables: dict[str, Any], path: str) -> None:
    with pytest.raises(PipelineFailed) as failed:
        standing.plan(**tables)
    error = failed.value.failures["deployment"]
    assert isinstance(error, ConfigError)
    assert error.message.startswith(f"{path} cannot be changed from ")
    assert error.hint


def test_a_volume_that_would_shrink_is_refused(standing: Rig) -> None:
    with pytest.raises(PipelineFailed, match="volumes cannot shrink"):
        standing.plan(leader={"state_disk": "10G"})


def test_a_new_release_reaches_standing_machines_at_once(rig: Rig, cloud: CloudAccount) -> None:
    cloud.machines.shell.ran.clear()
    rig.up(hub={"title": "Science"})
    ran = {instance for instance, script in cloud.machines.shell.ran if "converge" in script}
    assert rig.outputs["instance.leader"] in ran
    assert len(ran) == 2
    found = cloud.aws.call(
        "ec2", "describe_instances", InstanceIds=[rig.outputs["instance.leader"]]
    )
    assert TAG_RELEASE in tags_of(found["Reservations"][0]["Instances"][0])
    assert rig.plan(hub={"title": "Science"}) == []


def test_a_plan_shows_which_setting_of_the_release_changed(rig: Rig) -> None:
    found = by_resource(rig.plan(hub={"title": "Science"}))
    fields = {field.name: (field.old, field.new) for field in found["release"][0].fields}
    assert fields == {"hub.title": ("JupyterHub", "Science")}


def test_a_replaced_leader_keeps_its_address_and_its_volume(rig: Rig, cloud: CloudAccount) -> None:
    before = {name: rig.outputs[name] for name in ("address", "volume", "instance.leader")}
    rig.up(leader={"instance_type": "t3.large"})
    assert rig.outputs["address"] == before["address"]
    assert rig.outputs["volume"] == before["volume"]
    assert rig.outputs["instance.leader"] != before["instance.leader"]
    found = cloud.aws.pages("ec2", "describe_addresses", "Addresses")
    (address,) = [item for item in found if item["AllocationId"] == before["address"]]
    assert address["InstanceId"] == rig.outputs["instance.leader"]
    assert rig.plan(leader={"instance_type": "t3.large"}) == []


def test_a_newer_image_alone_replaces_nothing(rig: Rig, cloud: CloudAccount) -> None:
    ami = cloud.client("ec2").describe_images(Owners=["self", "amazon"])["Images"]
    assert rig.plan() == []
    other = next(item["ImageId"] for item in ami) if ami else "ami-0123456789abcdef0"
    found = by_resource(rig.plan(images={"chef_server": other}))
    assert "instance.leader" not in found


def test_secret_settings_are_in_no_tag(cloud: CloudAccount) -> None:
    rig = Rig(cloud, chef={"distribution": "chef", "licence_id": "free-1234-secret"})
    rig.up()
    tags = json.dumps(
        [
            tags_of(instance)
            for entry in cloud.aws.pages("ec2", "describe_instances", "Reservations")
            for instance in entry["Instances"]
        ]
    )
    assert "free-1234" not in tags
    assert rig.plan() == []


def test_workers_know_the_template_that_they_came_from(rig: Rig, cloud: CloudAccount) -> None:
    (group,) = cloud.aws.pages("autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups")
    (worker,) = group["Instances"]
    found = cloud.aws.call("ec2", "describe_instances", InstanceIds=[worker["InstanceId"]])
    instance = found["Reservations"][0]["Instances"][0]
    assert tags_of(instance)[TAG_TEMPLATE] == tags_of(group)[TAG_TEMPLATE]
    rig.up(workers={"disk": "80G"})
    (group,) = cloud.aws.pages("autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups")
    assert [item["InstanceId"] for item in group["Instances"]] == [worker["InstanceId"]]
    assert tags_of(instance)[TAG_TEMPLATE] != tags_of(group)[TAG_TEMPLATE]


def test_new_tags_reach_every_resource_that_can_carry_them(rig: Rig, cloud: CloudAccount) -> None:
    rig.up(tags={"team": "science"})
    assert rig.plan(tags={"team": "science"}) == []
    names, ssm = rig.names, cloud.client("ssm")
    (repository,) = cloud.client("ecr").describe_repositories()["repositories"]
    (zone,) = cloud.client("servicediscovery").list_namespaces()["Namespaces"]
    (alarm, *_) = cloud.client("cloudwatch").describe_alarms()["MetricAlarms"]
    (log_group, *_) = cloud.client("logs").describe_log_groups()["logGroups"]
    found = {
        "ecr": cloud.client("ecr").list_tags_for_resource(resourceArn=repository["repositoryArn"]),
        "names": cloud.client("servicediscovery").list_tags_for_resource(ResourceARN=zone["Arn"]),
        "alarm": cloud.client("cloudwatch").list_tags_for_resource(ResourceARN=alarm["AlarmArn"]),
        "logs": cloud.client("logs").list_tags_for_resource(
            resourceArn=log_group["arn"].removesuffix(":*")
        ),
        "parameter": {
            "Tags": ssm.list_tags_for_resource(
                ResourceType="Parameter", ResourceId=names.parameters.limits
            )["TagList"]
        },
        "access point": cloud.client("efs").describe_access_points()["AccessPoints"][0],
        "group": cloud.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"][0],
    }
    missing = [kind for kind, item in found.items() if tags_of(item).get("team") != "science"]
    assert missing == []
