"""What stands is told; how far it may grow is changed at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.plugins.aws import CloudAccount
from tests.plugins.standing import Standing

from hubdeploy.aws.groups import workers_groups
from hubdeploy.aws.types import sizes
from hubdeploy.config.limits import Limits, live_changes
from hubdeploy.config.names import Role
from hubdeploy.errors import ConfigError, HubdeployError
from hubdeploy.operate import choose, scale, secrets, status


def test_status_tells_machines_phases_sizes_and_limits(standing: Standing) -> None:
    now = status.read(aws=standing.aws, names=standing.names)
    assert [m.label for m in now.machines] == [
        "leader",
        "chef-server",
        "workstation",
        "worker/1",
        "worker/2",
    ]
    assert {m.phase for m in now.machines} == {"ready"}
    assert now.group is not None
    assert (now.group.minimum, now.group.in_service, now.group.maximum) == (2, 2, 10)
    assert now.url.startswith("https://")
    assert now.limits["max_nodes"] == 10


def test_status_makes_as_many_calls_whatever_the_size(standing: Standing) -> None:
    status.read(aws=standing.aws, names=standing.names)
    assert sum(standing.cloud.calls.counts().values()) <= 5
    assert not standing.cloud.calls.mutations()


def test_of_nothing_status_says_that_nothing_exists(cloud: CloudAccount) -> None:
    from hubdeploy.config.names import Names

    names = Names(deployment="none", region=cloud.region, account=cloud.account)
    assert not status.read(aws=cloud.aws, names=names).exists


def test_scaling_changes_group_and_limits_at_once(standing: Standing) -> None:
    before = scale.current(aws=standing.aws, names=standing.names)
    done = scale.scale(
        scale.wanted(before, max_nodes=20, headroom=5), aws=standing.aws, names=standing.names
    )
    assert (done.before.max_nodes, done.after.max_nodes, done.after.headroom) == (10, 20, 5)
    now = status.read(aws=standing.aws, names=standing.names)
    assert now.group is not None
    assert now.group.maximum == 20
    assert scale.current(aws=standing.aws, names=standing.names) == done.after


def test_scaling_below_what_runs_ends_no_machine(standing: Standing) -> None:
    before = scale.current(aws=standing.aws, names=standing.names)
    done = scale.scale(
        scale.wanted(before, max_nodes=1, min_nodes=0), aws=standing.aws, names=standing.names
    )
    now = status.read(aws=standing.aws, names=standing.names)
    assert done.running == 2
    assert now.group is not None
    assert (now.group.maximum, now.group.desired, now.group.in_service) == (1, 2, 2)
    (group,) = workers_groups(aws=standing.aws, names=standing.names)
    assert group["MaxSize"] == 2
    assert scale.current(aws=standing.aws, names=standing.names).max_nodes == 1


def test_what_only_the_live_limits_know_is_noted_for_the_next_up(standing: Standing) -> None:
    aws, names = standing.aws, standing.names

    def noted() -> set[str]:
        (found,) = aws.call("ssm", "get_parameters", Names=[names.parameters.limits])["Parameters"]
        return set(live_changes(found["Value"]))

    before = scale.current(aws=aws, names=names)
    scale.scale(replace(before, max_nodes=12, headroom=7), aws=aws, names=names)
    assert noted() == {"max_nodes", "headroom"}
    # the operator's file says so too, from now on
    scale.scale(
        replace(before, max_nodes=12, headroom=7), filed={"max_nodes": 12}, aws=aws, names=names
    )
    assert noted() == {"headroom"}
    # the next `up` would read another value there: a rehearsal is smaller than the file
    scale.scale(
        replace(before, max_nodes=12, headroom=7), filed={"max_nodes": 2}, aws=aws, names=names
    )
    assert noted() == {"headroom", "max_nodes"}


def test_scaling_to_what_is_there_changes_nothing(standing: Standing) -> None:
    before = scale.current(aws=standing.aws, names=standing.names)
    scale.scale(before, aws=standing.aws, names=standing.names)
    assert not standing.cloud.calls.mutations()


def test_limits_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="min_nodes"):
        scale.wanted(Limits(max_nodes=4), min_nodes=5)


@pytest.mark.parametrize(
    ("given", "types", "said", "hint"),
    [
        (
            {"min_nodes": 5, "max_nodes": 9},
            ["m6i.xlarge"],
            "workers.min_nodes: 5 x m6i.xlarge have 80G, above limits.max_cluster_memory 64G",
            "4 at most",
        ),
        (
            {"max_nodes": 9},
            ["m6i.xlarge", "m6i.large"],
            "workers.max_nodes: 9 x m6i.large would have 72G, but limits.max_cluster_memory 64G "
            "never lets so many start",
            "8 at most",
        ),
    ],
)
def test_more_machines_than_the_memory_limit_ever_lets_start_are_refused(
    cloud: CloudAccount, given: dict[str, int], types: list[str], said: str, hint: str
) -> None:
    limits = replace(Limits(max_cluster_memory=64 << 30), **given)
    known = sizes(types, aws=cloud.aws)
    with pytest.raises(ConfigError) as caught:
        scale.refuse(limits, known)
    assert caught.value.message == said
    assert caught.value.hint.startswith(hint)
    scale.refuse(replace(limits, min_nodes=1, max_nodes=4), known)
    scale.refuse(replace(limits, max_cluster_memory=0), known)


def test_without_a_deployment_there_is_nothing_to_scale(cloud: CloudAccount) -> None:
    from hubdeploy.config.names import Names

    names = Names(deployment="none", region=cloud.region, account=cloud.account)
    with pytest.raises(HubdeployError, match="no limits yet"):
        scale.current(aws=cloud.aws, names=names)


def test_machines_are_meant_by_role_number_or_id(standing: Standing) -> None:
    there = status.machines(aws=standing.aws, names=standing.names)
    assert len(choose.machines("all", there)) == 5
    assert [m.label for m in choose.machines(Role.WORKER, there)] == ["worker/1", "worker/2"]
    second = choose.single("worker/2", there)
    assert choose.single(second.instance_id, there) == second
    with pytest.raises(ConfigError, match="2 machines"):
        choose.single("worker", there)
    with pytest.raises(ConfigError, match="no running machine is called 'worker/9'") as caught:
        choose.machines("worker/9", there)
    assert "worker/2" in caught.value.hint


def test_a_secret_is_stored_encrypted_and_read_back(standing: Standing) -> None:
    aws, names = standing.aws, standing.names
    assert "hub/oauth-client-secret" not in secrets.present(aws=aws, names=names)
    secrets.store("hub/oauth-client-secret", "s3cret", aws=aws, names=names)
    assert secrets.read("hub/oauth-client-secret", aws=aws, names=names) == "s3cret"
    assert "hub/oauth-client-secret" in secrets.present(aws=aws, names=names)
    stored = aws.call(
        "ssm", "get_parameters", Names=[names.parameters.hub_secret("oauth-client-secret")]
    )["Parameters"][0]
    assert stored["Type"] == "SecureString"
    assert stored["Value"] != "s3cret"
