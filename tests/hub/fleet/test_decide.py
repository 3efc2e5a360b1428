"""Each rule of growing, shrinking and refusing, one observation at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from hubdeploy.config.limits import Limits
from hubdeploy.hub.fleet.decide import decide, learn
from hubdeploy.hub.fleet.model import (
    Action,
    Activate,
    Alarm,
    Cordon,
    Hold,
    Life,
    Memory,
    Observation,
    Pending,
    Policy,
    RefuseNewServers,
    SetDesired,
    SetMaxSize,
    TellUsers,
    Terminate,
    Why,
)
from tests.hub.fleet.builders import CORE, GIB, NOW, group, pending, seen, worker

LIMITS = Limits(min_nodes=0, max_nodes=10, headroom=2, idle_after=600)
NO_HEADROOM = Limits(min_nodes=0, max_nodes=10, headroom=0, idle_after=600)
POLICY = Policy()
A = TypeVar("A", bound=Action)


def of(kind: type[A], actions: list[Action]) -> list[A]:
    return [action for action in actions if isinstance(action, kind)]


def desired(actions: list[Action]) -> int | None:
    changes = of(SetDesired, actions)
    assert len(changes) <= 1
    return changes[0].desired if changes else None


def test_nothing_is_done_while_all_is_as_it_should_be() -> None:
    assert decide(seen(worker(used=3)), LIMITS, POLICY) == []


def test_waiting_servers_and_headroom_together_start_as_many_machines_as_hold_them() -> None:
    # 20 servers of 2 GiB and 2 free places, 8 places a machine
    actions = decide(seen(worker(used=8), pending=pending(20)), LIMITS, POLICY)
    assert desired(actions) == 1 + 3
    assert "20 servers have no place and 2 free places are missing" in actions[-1].reason


def test_a_burst_is_let_come_in_and_then_leads_to_one_change() -> None:
    first = seen(worker(used=8), pending=pending(5), short_since=None, last_arrival=NOW)
    held = decide(first, LIMITS, POLICY)
    assert desired(held) is None
    memory = learn(Memory(), first, held)
    assert memory.short_since == NOW
    more = seen(
        worker(used=8),
        pending=pending(40),
        now=NOW + 6,
        short_since=memory.short_since,
        last_arrival=NOW + 5,
    )
    assert of(Hold, decide(more, LIMITS, POLICY)), "still coming in"
    quiet = seen(
        worker(used=8),
        pending=pending(40),
        now=NOW + 11,
        short_since=memory.short_since,
        last_arrival=NOW + 5,
    )
    assert desired(decide(quiet, LIMITS, POLICY)) == 1 + 6


def test_a_burst_that_does_not_end_is_answered_after_three_times_the_settling_time() -> None:
    observation = seen(worker(used=8), pending=pending(9), short_since=NOW - 15, last_arrival=NOW)
    assert desired(decide(observation, LIMITS, POLICY)) == 3


def test_machines_on_their_way_are_counted() -> None:
    booting = worker("i-2", Life.BOOTING, launched=NOW - 30, memory=0, cpu=0)
    observation = seen(worker(used=8), booting, pending=pending(6))
    assert decide(observation, LIMITS, POLICY) == []
    asked_for = seen(worker(used=8), desired=2, pending=pending(6))
    assert decide(asked_for, LIMITS, POLICY) == []


def test_a_waiting_server_that_fits_where_there_is_room_starts_nothing() -> None:
    assert decide(seen(worker(used=4), pending=pending(2)), LIMITS, POLICY) == []


def test_the_limit_of_nodes_holds_and_is_said() -> None:
    limits = Limits(max_nodes=2, headroom=0)
    actions = decide(seen(worker(used=8), pending=pending(40)), limits, POLICY)
    assert desired(actions) == 2
    assert [a.code for a in of(Alarm, actions)] == ["at-limit"]
    assert [a.limit for a in of(RefuseNewServers, actions)] == ["max_nodes"]


def test_the_limit_of_memory_holds_and_is_said() -> None:
    limits = Limits(max_nodes=10, headroom=0, max_cluster_memory=40 * GIB)
    actions = decide(seen(worker(used=8), pending=pending(40)), limits, POLICY)
    assert desired(actions) == 2
    assert of(RefuseNewServers, actions)[0].reason == (
        "the fleet is as big as max_cluster_memory = 40 GiB lets it be"
    )


def test_nobody_beyond_the_limit_of_users_gets_a_machine() -> None:
    limits = Limits(max_nodes=10, headroom=5, max_concurrent_users=9)
    actions = decide(seen(worker(used=8), pending=pending(30)), limits, POLICY)
    assert desired(actions) == 2, "one more user, and no headroom for people who may not come"
    assert [a.limit for a in of(RefuseNewServers, actions)] == ["max_concurrent_users"]


def test_a_full_disk_refuses_new_servers_and_ends_none() -> None:
    limits = Limits(max_nodes=10, headroom=0, max_disk_utilization=100 * GIB)
    actions = decide(seen(worker(used=1), disk_used=120 * GIB), limits, POLICY)
    assert [a.reason for a in actions] == ["the file system holds 120 GiB, the limit is 100 GiB"]
    assert decide(seen(worker(used=1), disk_used=None), limits, POLICY) == []


def test_a_live_limit_above_the_groups_own_maximum_raises_that() -> None:
    observation = seen(worker(used=8), pending=pending(8), groups=(group(1, max_size=1),))
    actions = decide(observation, NO_HEADROOM, POLICY)
    assert [a.max_size for a in of(SetMaxSize, actions)] == [2]
    assert desired(actions) == 2


def test_a_server_too_big_for_any_machine_is_said_and_starts_none() -> None:
    actions = decide(seen(worker(used=1), pending=pending(1, memory=64)), NO_HEADROOM, POLICY)
    assert [a.code for a in of(Alarm, actions)] == ["too-big"]
    assert "waits-0's server (64 GiB)" in actions[0].reason
    assert desired(actions) is None


def test_the_first_type_that_it_fits_on_is_chosen_and_a_wanted_type_is_heeded() -> None:
    groups = (
        group(0, name="small", instance_type="m6i.large", memory=8 * GIB, cpu=2 * CORE),
        group(0, name="large", instance_type="m6i.4xlarge", memory=64 * GIB, cpu=16 * CORE),
        group(0, name="gpu", instance_type="g5.xlarge", memory=16 * GIB, cpu=4 * CORE),
    )
    plain = seen(pending=pending(4), groups=groups)
    assert [(a.group, a.desired) for a in of(SetDesired, decide(plain, NO_HEADROOM, POLICY))] == [
        ("small", 1)
    ]
    big = seen(pending=pending(1, memory=32), groups=groups)
    assert of(SetDesired, decide(big, NO_HEADROOM, POLICY))[0].group == "large"
    wants = (Pending(user="ann", memory=GIB, instance_type="g5.xlarge", since=NOW - 60),)
    gpu = seen(pending=wants, groups=groups)
    assert of(SetDesired, decide(gpu, NO_HEADROOM, POLICY))[0].group == "gpu"
    nobody = (Pending(user="ann", memory=GIB, instance_type="p5.48xlarge", since=NOW - 60),)
    none = decide(seen(pending=nobody, groups=groups), NO_HEADROOM, POLICY)
    assert [a.code for a in of(Alarm, none)] == ["too-big"]


def test_min_nodes_are_kept_without_any_demand() -> None:
    limits = Limits(min_nodes=3, max_nodes=10, headroom=0)
    assert desired(decide(seen(worker()), limits, POLICY)) == 3
    assert desired(decide(seen(groups=(group(0),)), limits, POLICY)) == 3


def test_a_worker_empty_for_long_is_cordoned_when_enough_places_remain() -> None:
    idle = worker("i-old", empty_since=NOW - 601, launched=NOW - 9000)
    younger = worker("i-new", empty_since=NOW - 601, launched=NOW - 5000)
    actions = decide(seen(younger, idle, worker("i-used", used=5)), LIMITS, POLICY)
    assert [(a.instance, a.why) for a in of(Cordon, actions)] == [
        ("i-old", Why.SURPLUS),
        ("i-new", Why.SURPLUS),
    ]
    assert actions[0].reason == "empty for 10 minutes, 11 free places remain without it"


def test_a_worker_is_kept_while_it_is_the_headroom() -> None:
    idle = worker("i-1", empty_since=NOW - 9999)
    assert decide(seen(idle, worker("i-2", used=6)), LIMITS, POLICY) == []
    enough = decide(seen(idle, worker("i-2", used=5)), LIMITS, POLICY)
    assert [a.instance for a in of(Cordon, enough)] == ["i-1"]


def test_a_worker_empty_for_a_short_time_stays() -> None:
    idle = worker("i-1", empty_since=NOW - 599)
    assert decide(seen(idle, worker("i-2")), LIMITS, POLICY) == []


def test_scale_in_stops_at_min_nodes() -> None:
    limits = Limits(min_nodes=1, max_nodes=10, headroom=0, idle_after=600)
    workers = [worker(f"i-{n}", empty_since=NOW - 700) for n in range(3)]
    assert len(of(Cordon, decide(seen(*workers), limits, POLICY))) == 2


def test_no_worker_is_cordoned_that_a_waiting_server_is_about_to_get() -> None:
    idle = worker("i-1", empty_since=NOW - 700)
    assert decide(seen(idle, pending=pending(1)), NO_HEADROOM, POLICY) == []


def test_a_cordoned_worker_is_taken_back_before_a_machine_is_started() -> None:
    cordoned = worker("i-1", Life.CORDONED, why=Why.SURPLUS, marked_at=NOW - 60)
    actions = decide(seen(cordoned, worker("i-2", used=8), pending=pending(3)), LIMITS, POLICY)
    assert [type(a) for a in actions] == [Activate]
    assert actions[0].reason == "needed after all: servers wait"


def test_a_drained_worker_is_taken_back_instead_of_ended() -> None:
    drained = worker("i-1", Life.DRAINING, why=Why.SURPLUS, marked_at=NOW - 60)
    actions = decide(seen(drained, worker("i-2", used=8), pending=pending(3)), LIMITS, POLICY)
    assert [type(a) for a in actions] == [Activate]


def test_what_was_asked_for_and_is_not_needed_any_more_is_taken_back() -> None:
    actions = decide(seen(worker(used=1), desired=4), LIMITS, POLICY)
    assert desired(actions) == 1


def test_a_lowered_limit_lets_the_least_used_workers_run_empty() -> None:
    limits = Limits(max_nodes=1, headroom=0)
    busy, quiet = worker("i-1", used=5), worker("i-2", used=1)
    actions = decide(seen(busy, quiet), limits, POLICY)
    assert [(a.instance, a.why) for a in of(Cordon, actions)] == [("i-2", Why.LIMIT)]


def test_after_failures_in_a_row_scaling_out_pauses_with_an_alarm() -> None:
    paused = seen(worker(used=8), pending=pending(9), failures=3, last_failure=NOW - 100)
    actions = decide(paused, LIMITS, POLICY)
    assert desired(actions) is None
    assert [a.code for a in of(Alarm, actions)] == ["launches-fail"]
    floor = decide(
        seen(groups=(group(0),), failures=3, last_failure=NOW - 100),
        Limits(min_nodes=2, max_nodes=4, headroom=0),
        POLICY,
    )
    assert [a.code for a in of(Alarm, floor)] == ["launches-fail"]
    assert desired(floor) is None


def test_after_the_pause_one_machine_is_tried() -> None:
    trial = seen(worker(used=8), pending=pending(90), failures=3, last_failure=NOW - 1801)
    assert desired(decide(trial, LIMITS, POLICY)) == 2
    on_its_way = worker("i-2", Life.BOOTING, launched=NOW - 10)
    waits = seen(
        worker(used=8), on_its_way, pending=pending(90), failures=3, last_failure=NOW - 1801
    )
    assert desired(decide(waits, LIMITS, POLICY)) is None


def test_a_group_that_cannot_start_machines_raises_an_alarm() -> None:
    broken = group(2, launch_error="InsufficientInstanceCapacity: no m6i.xlarge in eu-west-1a")
    actions = decide(
        seen(worker(used=8), groups=(broken,), pending=pending(3)), NO_HEADROOM, POLICY
    )
    assert [a.code for a in of(Alarm, actions)] == ["launch-error"]
    assert "InsufficientInstanceCapacity" in actions[0].reason


def test_a_spot_notice_cordons_tells_and_replaces_at_once() -> None:
    noticed = worker("i-1", used=8, spot_notice=True)
    actions = decide(seen(noticed, worker("i-2", used=6)), LIMITS, POLICY)
    assert [(a.instance, a.why) for a in of(Cordon, actions)] == [("i-1", Why.SPOT)]
    assert [a.users for a in of(TellUsers, actions)] == [noticed.users]
    assert desired(actions) == 2 + 1
    assert not of(Terminate, actions)


def test_who_comes_to_a_noticed_machine_just_before_its_cordon_is_told_too() -> None:
    known = worker("i-1", Life.CORDONED, used=2, why=Why.SPOT, marked_at=NOW, spot_notice=True)
    first, late = known.users
    again = replace(known, told=(first,), spot_until=NOW + 90)
    actions = decide(seen(again, worker("i-2", used=2)), LIMITS, POLICY)
    assert [(a.users, a.until) for a in of(TellUsers, actions)] == [((late,), NOW + 90)]
    memory = learn(Memory(told={"i-1": (first,), "i-gone": ("x",)}), seen(again), actions)
    assert memory.told == {"i-1": (first, late)}
    all_told = replace(known, told=known.users)
    assert not of(TellUsers, decide(seen(all_told, worker("i-2", used=2)), LIMITS, POLICY))


def test_unknown_nodes_are_used_but_never_ended() -> None:
    stranger = worker("", node="n1", group="", in_group=False, empty_since=NOW - 9999)
    assert decide(seen(stranger, worker("i-2")), LIMITS, POLICY) == []


def test_an_observation_of_nothing_leads_to_nothing() -> None:
    empty = Observation(now=NOW, workers=())
    assert decide(empty, LIMITS, POLICY) == []
