"""What somebody changed or deleted by hand, ``plan`` finds and ``up`` puts right."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hubdeploy.config.limits import Limits, changed_live
from hubdeploy.pipeline import runner
from hubdeploy.pipeline.change import Action
from tests.plugins.aws import CloudAccount
from tests.steps import account
from tests.steps.rig import Rig
from tests.steps.spoiling import ALL_AT_ONCE, ONE_AFTER_THE_OTHER, Spoil


@pytest.fixture(scope="module")
def deployment(module_cloud: CloudAccount) -> Rig:
    """One deployment for all tests here: each leaves it as it found it, which is what it tests."""
    rig = Rig(module_cloud)
    rig.up()
    return rig


def test_all_that_was_changed_by_hand_is_found_and_put_right_in_one_run(deployment: Rig) -> None:
    for spoil, _ in ALL_AT_ONCE:
        spoil(deployment)
    found = {change.resource for change in deployment.plan()}
    assert {resource for _, resource in ALL_AT_ONCE} - found == set()
    deployment.up()
    assert deployment.plan() == []


@pytest.mark.parametrize(("spoil", "resource"), ONE_AFTER_THE_OTHER)
def test_what_somebody_deleted_is_made_again_once(
    deployment: Rig, spoil: Spoil, resource: str
) -> None:
    before = account.counts(account.read(deployment.cloud))
    spoil(deployment)
    deployment.cloud.wait(
        lambda: resource in {change.resource for change in deployment.plan()},
        what=f"the loss of {resource} to be seen",
    )
    deployment.up()
    assert deployment.plan() == []
    after = account.counts(account.read(deployment.cloud))
    # parameters of machines that are gone stay until the fleet or `down` removes them
    assert {**after, "Parameters": 0} == {**before, "Parameters": 0}


def test_there_is_no_step_whose_part_is_not_spoilt_here(deployment: Rig) -> None:
    elsewhere = Rig(deployment.cloud.elsewhere("eu-west-1"))
    fresh = runner.plan(elsewhere.steps(planning=True))
    spoilt = {resource for _, resource in (*ALL_AT_ONCE, *ONE_AFTER_THE_OTHER)}
    left_out = {
        step
        for step, changes in fresh.changes.items()
        if changes and not spoilt & {change.resource for change in changes}
    }
    # whose resources are those of the steps that they wait for
    assert left_out <= {step for step in fresh.changes if step.startswith("wait.")}


def test_a_limit_changed_on_the_fleets_page_stays_until_the_file_says_something_new(
    deployment: Rig,
) -> None:
    name = deployment.names.parameters.limits
    ssm, groups = (deployment.cloud.client(kind) for kind in ("ssm", "autoscaling"))

    def live() -> tuple[int, set[int]]:
        text = ssm.get_parameter(Name=name)["Parameter"]["Value"]
        found = groups.describe_auto_scaling_groups()["AutoScalingGroups"]
        return Limits.from_json(text).max_nodes, {group["MaxSize"] for group in found}

    before = Limits.from_json(ssm.get_parameter(Name=name)["Parameter"]["Value"])
    text = changed_live(
        before.to_json(),
        before,
        replace(before, max_nodes=17),
        by="ada on the page",
        at="2026-01-01T10:00:00+00:00",
    )
    ssm.put_parameter(Name=name, Value=text, Overwrite=True)
    for group in groups.describe_auto_scaling_groups()["AutoScalingGroups"]:
        # as the fleet does, so that the limit can be reached
        groups.update_auto_scaling_group(
            AutoScalingGroupName=group["AutoScalingGroupName"], MaxSize=17
        )
    assert deployment.plan() == []
    made = runner.plan(deployment.steps(planning=True)).changes.values()
    (kept,) = [c for changes in made for c in changes if c.action is Action.KEEP]
    assert "max_nodes is 17, not 10: ada on the page, 2026-01-01T10:00" in kept.title
    deployment.up()
    assert live() == (17, {17})

    edited = {"max_nodes": 12}
    planned = {c.resource: c.fields for c in deployment.plan(workers=edited)}
    (field,) = planned["parameters.limits"]
    assert (field.name, field.new) == ("max_nodes", "12")
    assert field.old == "17 (ada on the page, 2026-01-01T10:00:00+00:00)"
    deployment.up(workers=edited)
    assert live() == (12, {12})
    deployment.up()
    assert deployment.plan() == []
    assert live() == (10, {10})
