"""Which type the next machines are of: the operator's order, and what stands in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubdeploy.config.limits import Limits
from hubdeploy.hub.fleet.capacity import Supply
from hubdeploy.hub.fleet.choice import LACKING, plan
from hubdeploy.hub.fleet.decide import decide, learn
from hubdeploy.hub.fleet.model import (
    Action,
    Alarm,
    Drain,
    Group,
    Life,
    Memory,
    Observation,
    Pending,
    Policy,
    RefuseNewServers,
    SetAside,
    SetDesired,
    Terminate,
)
from tests.hub.fleet.builders import CORE, GIB, NOW, group, seen, worker

LIMITS = Limits(min_nodes=0, max_nodes=10, headroom=0, idle_after=600)
POLICY = Policy()
NO_CAPACITY = (
    "Could not launch On-Demand Instances. InsufficientInstanceCapacity - We currently do not have "
    "sufficient m6i.xlarge capacity in the Availability Zone you requested."
)


def of_type(kind: str, *, desired: int = 0, memory: int = 16, **more: Any) -> Group:
    return group(desired, name=f"workers-{kind}", instance_type=kind, memory=memory * GIB, **more)


FIRST = of_type("m6i.xlarge")
SECOND = of_type("m5.xlarge")
LARGE = of_type("r6i.2xlarge", memory=64)
GPU = of_type("g5.xlarge", for_profiles=True)


def asks(kind: str = "", *, memory: int = 2, user: str = "ada", since: float = NOW) -> Pending:
    return Pending(
        user=user, memory=memory * GIB, cpu=CORE // 2, instance_type=kind, since=since - 60
    )


def asked(*groups: Group, pending: tuple[Pending, ...], **more: Any) -> Observation:
    return seen(groups=groups, pending=pending, **more)


def started(actions: list[Action]) -> dict[str, int]:
    """Machines more (or fewer) by type."""
    changes = [action for action in actions if isinstance(action, SetDesired)]
    found: dict[str, int] = {}
    for change in changes:
        kind = change.group.removeprefix("workers-")
        found[kind] = found.get(kind, 0) + change.desired - change.before
    return {kind: count for kind, count in found.items() if count}


def codes(actions: list[Action]) -> list[str]:
    return [action.code for action in actions if isinstance(action, Alarm)]


def test_the_first_type_is_taken_whatever_else_there_is() -> None:
    actions = decide(asked(FIRST, SECOND, LARGE, pending=(asks(),)), LIMITS, POLICY)
    assert started(actions) == {"m6i.xlarge": 1}


def test_what_does_not_fit_on_the_first_type_gets_the_next_that_holds_it() -> None:
    waiting = (asks(memory=40), asks(user="bob"))
    actions = decide(asked(FIRST, SECOND, LARGE, pending=waiting), LIMITS, POLICY)
    # the small server finds room beside the large one
    assert started(actions) == {"r6i.2xlarge": 1}


def test_a_limit_that_leaves_no_room_for_the_first_type_leads_to_a_smaller_one() -> None:
    small = of_type("m6i.large", memory=8)
    limits = replace(LIMITS, max_cluster_memory=8 * GIB)
    actions = decide(asked(FIRST, small, pending=(asks(),)), limits, POLICY)
    assert started(actions) == {"m6i.large": 1}


def test_a_profile_of_a_type_starts_that_type_and_nobody_else_is_put_there() -> None:
    both = (asks("g5.xlarge"), asks(user="bob"))
    actions = decide(asked(FIRST, GPU, pending=both), LIMITS, POLICY)
    assert started(actions) == {"g5.xlarge": 1, "m6i.xlarge": 1}
    free = worker("i-g", instance_type="g5.xlarge", group="workers-g5.xlarge")
    there = replace(GPU, desired=1)
    only_gpu = seen(free, groups=(FIRST, there), pending=(asks(user="bob"),))
    assert started(decide(only_gpu, LIMITS, POLICY)) == {"m6i.xlarge": 1}
    wanted = seen(free, groups=(FIRST, there), pending=(asks("g5.xlarge"),))
    assert started(decide(wanted, LIMITS, POLICY)) == {}


def test_headroom_and_the_least_number_are_not_kept_on_profiles_machines() -> None:
    limits = replace(LIMITS, headroom=2, min_nodes=1)
    free = worker("i-g", instance_type="g5.xlarge", group="workers-g5.xlarge")
    observation = seen(free, groups=(FIRST, replace(GPU, desired=1)))
    assert started(decide(observation, limits, POLICY)) == {"m6i.xlarge": 1}


def test_a_type_that_no_group_has_is_said_to_be_too_much() -> None:
    actions = decide(asked(FIRST, pending=(asks("p5.48xlarge"),)), LIMITS, POLICY)
    assert started(actions) == {}
    assert codes(actions) == ["too-big"]


def test_a_type_that_aws_cannot_give_is_set_aside_and_the_next_asked_at_once() -> None:
    failed = replace(FIRST, desired=2, launch_error=NO_CAPACITY, failed_at=NOW - 5)
    waiting = tuple(asks(user=f"u{n}") for n in range(10))
    observation = asked(failed, SECOND, pending=waiting)
    actions = decide(observation, LIMITS, POLICY)
    (aside,) = [action for action in actions if isinstance(action, SetAside)]
    assert (aside.group, aside.until) == (FIRST.name, NOW + POLICY.set_aside)
    assert "sufficient m6i.xlarge capacity" in aside.reason
    assert started(actions) == {"m6i.xlarge": -2, "m5.xlarge": 2}
    assert "launch-error" not in codes(actions)

    memory = learn(Memory(), observation, actions)
    assert memory.aside_until == {FIRST.name: NOW + POLICY.set_aside}
    later = replace(failed, desired=0, aside=memory.aside_why[FIRST.name], aside_until=aside.until)
    again = decide(asked(later, SECOND, pending=waiting), LIMITS, POLICY)
    assert started(again) == {"m5.xlarge": 2}
    assert "type-set-aside" in codes(again)
    # its time is over: asked again, and what failed before is no news
    over = replace(later, aside="", desired=2)
    third = decide(asked(over, SECOND, pending=waiting, now=aside.until + 1), LIMITS, POLICY)
    assert not [action for action in third if isinstance(action, SetAside)]
    assert started(third) == {}


def test_the_only_type_is_never_set_aside() -> None:
    failed = replace(FIRST, desired=1, launch_error=NO_CAPACITY, failed_at=NOW - 5)
    for groups in ((failed,), (failed, GPU), (failed, replace(SECOND, retired=True))):
        actions = decide(asked(*groups, pending=(asks(),)), LIMITS, POLICY)
        assert started(actions) == {}
        assert codes(actions) == ["launch-error"]


def test_a_failure_that_the_next_type_would_meet_too_sets_nothing_aside() -> None:
    words = "The image id '[ami-0]' does not exist. Launching EC2 instance failed."
    failed = replace(FIRST, desired=1, launch_error=words, failed_at=NOW - 5)
    actions = decide(asked(failed, SECOND, pending=(asks(),)), LIMITS, POLICY)
    assert started(actions) == {}
    assert codes(actions) == ["launch-error"]


@pytest.mark.parametrize(
    "words",
    [
        NO_CAPACITY,
        "We currently do not have sufficient p3.2xlarge capacity in zones with support for gp3",
        "You have requested more vCPU capacity than your current vCPU limit of 32 allows",
        "There is no Spot capacity available that matches your request. UnfulfillableCapacity",
        "Your requested instance type (m7g.large) is not supported in your requested Zone",
        "MaxSpotInstanceCountExceeded - Max spot instance count exceeded",
    ],
)
def test_the_words_for_not_of_this_type_are_known(words: str) -> None:
    assert LACKING.search(words)


def test_who_may_have_only_a_type_that_is_set_aside_waits_and_is_not_refused() -> None:
    away = replace(FIRST, aside="no capacity", aside_until=NOW + 60)
    found = plan([asks(memory=10)], [away, of_type("t3.small", memory=2)], Supply(), LIMITS)
    assert (found.counts, len(found.waiting), found.blocked) == ({}, 1, [])


def test_a_retired_type_starts_nothing_and_its_machines_end_as_they_empty() -> None:
    retired = of_type("m5.xlarge", desired=3, retired=True)
    old = [
        worker(f"i-{n}", used=n, instance_type="m5.xlarge", group=retired.name, outdated=True)
        for n in (0, 1)
    ]
    actions = decide(seen(*old, groups=(FIRST, retired), pending=(asks(),)), LIMITS, POLICY)
    # the third was never launched, and is asked for no more
    assert started(actions)["m5.xlarge"] == -1
    assert not [a for a in actions if isinstance(a, (Terminate, Drain)) and a.instance == "i-1"]


def test_a_booting_machine_of_the_stand_in_is_counted() -> None:
    booting = worker(
        "i-2", Life.BOOTING, instance_type="m5.xlarge", group=SECOND.name, launched=NOW - 9
    )
    there = replace(SECOND, desired=1)
    assert decide(seen(booting, groups=(FIRST, there), pending=(asks(),)), LIMITS, POLICY) == []


def test_when_the_limit_binds_those_who_wait_longest_come_first() -> None:
    limits = replace(LIMITS, max_nodes=1)
    early = asks(user="early", since=NOW - 600)
    late = asks("g5.xlarge", user="late")
    actions = decide(asked(FIRST, GPU, pending=(early, late)), limits, POLICY)
    assert started(actions) == {"m6i.xlarge": 1}
    assert [a.limit for a in actions if isinstance(a, RefuseNewServers)] == ["max_nodes"]


# --- any requests, any groups ---------------------------------------------------------------------

kinds = ("a.large", "b.large", "c.large")


@st.composite
def offers(draw: st.DrawFn) -> list[Group]:
    return [
        of_type(
            kind,
            memory=draw(st.sampled_from([4, 8, 16, 64])),
            cpu=draw(st.sampled_from([1, 4])) * CORE,
            for_profiles=draw(st.integers(0, 3)) == 0,
            retired=draw(st.integers(0, 4)) == 0,
            aside=draw(st.sampled_from(["", "", "none left"])),
        )
        for kind in kinds[: draw(st.integers(1, 3))]
    ]


requests = st.lists(
    st.builds(
        lambda number, kind, memory, since: asks(
            kind, memory=memory, user=f"u{number}" if number else "", since=NOW - since
        ),
        st.integers(0, 9),
        st.sampled_from(["", "", *kinds]),
        st.sampled_from([1, 2, 7, 30]),
        st.integers(0, 99),
    ),
    max_size=25,
)


@settings(max_examples=300, deadline=None)
@given(requests, offers(), st.integers(0, 6), st.sampled_from([0, 20, 100]))
def test_a_plan_keeps_limits_kinds_and_forgets_nobody(
    wanted: list[Pending], groups: list[Group], most: int, memory: int
) -> None:
    limits = replace(LIMITS, max_nodes=most, max_cluster_memory=memory * GIB)
    found = plan(wanted, groups, Supply(), limits)
    by_name = {each.name: each for each in groups}
    assert sum(found.counts.values()) <= most
    total = sum(by_name[name].memory * count for name, count in found.counts.items())
    assert not memory or total <= memory * GIB
    assert all(by_name[name].starts for name in found.counts)

    left = [*found.hopeless, *found.waiting, *found.blocked]
    placed = list(wanted)
    for request in left:
        placed.remove(request)
    assert sum(r.memory for r in placed) <= total
    assert bool(found.blocked) == bool(found.limit)
    # a machine is started only for somebody who may be there
    for name in found.counts:
        kind = by_name[name].instance_type
        mine = [r for r in placed if r.instance_type == kind]
        assert mine or not by_name[name].for_profiles
    for request in found.hopeless:
        assert not any(
            not each.retired
            and each.memory >= request.memory
            and each.cpu >= request.cpu
            and (each.instance_type == request.instance_type or not request.instance_type)
            and not (each.for_profiles and not request.instance_type)
            for each in groups
        )
