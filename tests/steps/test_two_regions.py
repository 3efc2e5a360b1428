"""One name in two regions: two deployments, which share nothing that either could take away."""

from __future__ import annotations

import pytest

from hubdeploy.config.names import Names, Role
from hubdeploy.steps import leftovers
from tests.plugins.aws import CloudAccount
from tests.steps import account
from tests.steps.rig import Rig, config, context

OTHER = "us-east-1"
LONGEST = ("ap-southeast-1", "us-gov-east-1", "eusc-de-east-1")


def test_down_in_one_region_leaves_the_other_whole(cloud: CloudAccount) -> None:
    there = cloud.elsewhere(OTHER)
    here, other = Rig(cloud), Rig(there)
    here.up()
    state = account.counts(account.read(cloud))
    other.up()
    assert here.plan() == [], "the second leaves the first as it was"
    assert other.plan() == []
    machines = {
        item["Arn"] for item in cloud.client("iam").list_instance_profiles()["InstanceProfiles"]
    }
    assert len(machines) == 2 * len(Role)

    other.down(delete_files="demo")
    assert leftovers(context(there.aws, there.account, config(region=OTHER))) == []
    assert account.counts(account.read(cloud)) == state
    assert here.plan() == []
    here.down(delete_files="demo")
    assert leftovers(context(cloud.aws, cloud.account, config())) == []


@pytest.mark.parametrize("region", LONGEST)
def test_the_longest_names_are_within_awss_limits(region: str) -> None:
    names = Names(deployment="a" * 24, region=region, account="123456789012")
    assert max(len(names.machine_role(role)) for role in Role) <= 64
    assert len(names.bucket) <= 63
    assert len(names.chef_host) < 64


def test_a_deployment_leaves_the_alarms_of_one_whose_name_begins_like_its_own(
    cloud: CloudAccount,
) -> None:
    aws, alarm = cloud.client("cloudwatch"), {"MetricName": "x", "Namespace": "hubdeploy"}
    theirs = Names(deployment="demo-alarm-x", region=cloud.region, account=cloud.account)
    aws.put_metric_alarm(
        AlarmName=theirs.alarm("leader-disk"),
        ComparisonOperator="GreaterThanThreshold",
        EvaluationPeriods=1,
        Period=60,
        Statistic="Maximum",
        Threshold=1.0,
        **alarm,
    )
    Rig(cloud).down()
    assert leftovers(context(cloud.aws, cloud.account, config())) == []
    assert len(aws.describe_alarms()["MetricAlarms"]) == 1
