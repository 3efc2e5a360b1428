"""The way of one worker to its end, and what keeps it from it."""

from __future__ import annotations

from hubdeploy.config.limits import Limits
from hubdeploy.hub.fleet.decide import decide, learn
from hubdeploy.hub.fleet.model import (
    Activate,
    Alarm,
    Cordon,
    Drain,
    ForgetChefNode,
    ForgetSwarmNode,
    Life,
    Memory,
    Policy,
    SetDesired,
    Terminate,
    Unprotect,
    Why,
)
from tests.hub.fleet.builders import GIB, NOW, group, pending, seen, worker

LIMITS = Limits(min_nodes=0, max_nodes=10, headroom=0, join_deadline=900)
POLICY = Policy()
BUSY = worker("i-busy", used=2)


def test_a_machine_that_says_it_is_ready_is_let_take_servers() -> None:
    joined = worker("i-1", Life.JOINING, ready=True, launched=NOW - 140)
    (action,) = decide(seen(joined), LIMITS, POLICY)
    assert action == Activate(
        reason="joined and ready 140 s after its launch",
        instance="i-1",
        node="node-i-1",
        joined=True,
    )
    assert decide(seen(worker("i-1", Life.JOINING, launched=NOW - 140)), LIMITS, POLICY) == []


def test_a_cordoned_worker_is_looked_at_again_before_it_is_drained() -> None:
    fresh = worker("i-1", Life.CORDONED, why=Why.SURPLUS, marked_at=NOW - 5)
    assert decide(seen(fresh, BUSY), LIMITS, POLICY) == []
    settled = worker("i-1", Life.CORDONED, why=Why.SURPLUS, marked_at=NOW - 10)
    (action,) = decide(seen(settled, BUSY), LIMITS, POLICY)
    assert isinstance(action, Drain)


def test_a_server_that_came_just_before_the_cordon_keeps_the_worker() -> None:
    for life in (Life.CORDONED, Life.DRAINING):
        used = worker("i-1", life, why=Why.SURPLUS, marked_at=NOW - 60, used=1)
        (action,) = decide(seen(used, BUSY), LIMITS, POLICY)
        assert isinstance(action, Activate), life


def test_a_drained_empty_worker_is_unprotected_and_ended_with_decrement() -> None:
    drained = worker("i-1", Life.DRAINING, why=Why.SURPLUS, marked_at=NOW - 60)
    actions = decide(seen(drained, BUSY), LIMITS, POLICY)
    assert [type(action) for action in actions] == [Unprotect, Terminate]
    assert isinstance(actions[1], Terminate)
    assert actions[1].decrement
    assert not actions[1].failed


def test_a_group_at_its_own_minimum_is_not_asked_to_shrink() -> None:
    drained = worker("i-1", Life.DRAINING, why=Why.OPERATOR, marked_at=NOW - 60)
    actions = decide(seen(drained, BUSY, groups=(group(2, min_size=2),)), LIMITS, POLICY)
    (end,) = [action for action in actions if isinstance(action, Terminate)]
    assert not end.decrement


def test_a_worker_drained_by_an_admin_waits_for_its_last_server() -> None:
    used = worker("i-1", Life.CORDONED, why=Why.OPERATOR, marked_at=NOW - 600, used=1)
    assert decide(seen(used, BUSY), LIMITS, POLICY) == []
    empty = worker("i-1", Life.CORDONED, why=Why.OPERATOR, marked_at=NOW - 600)
    (action,) = decide(seen(empty, BUSY), LIMITS, POLICY)
    assert action.reason == "still empty 600 s after the cordon; an admin asked for it"


def test_an_ended_instance_is_forgotten_only_once_its_node_is_down() -> None:
    up = worker("i-1", Life.ENDING, in_group=False, node_down=False)
    assert decide(seen(up, BUSY), LIMITS, POLICY) == []
    down = worker("i-1", Life.ENDING, in_group=False, node_down=True)
    actions = decide(seen(down, BUSY), LIMITS, POLICY)
    assert [type(action) for action in actions] == [ForgetSwarmNode, ForgetChefNode]
    never_joined = worker("i-1", Life.ENDING, in_group=False, node="")
    actions = decide(seen(never_joined, BUSY), LIMITS, POLICY)
    assert [type(action) for action in actions] == [ForgetChefNode]


def test_a_machine_that_never_joins_is_ended_at_the_deadline_with_the_reason() -> None:
    for life in (Life.BOOTING, Life.JOINING):
        in_time = worker("i-1", life, launched=NOW - 899)
        assert decide(seen(in_time, BUSY), LIMITS, POLICY) == []
        late = worker("i-1", life, launched=NOW - 900)
        end = decide(seen(late, BUSY), LIMITS, POLICY)[-1]
        assert isinstance(end, Terminate)
        assert end.failed
        assert end.reason == f"it has not joined within 900 s (was {life})"


def test_a_machine_that_says_it_failed_is_ended_and_replaced_while_someone_waits() -> None:
    failed = worker("i-1", Life.BOOTING, launched=NOW - 60, trouble="apt: lock held")
    actions = decide(seen(failed, pending=pending(1)), LIMITS, POLICY)
    (end,) = [action for action in actions if isinstance(action, Terminate)]
    assert end.reason == "it failed to start: apt: lock held"
    # one goes and one comes: the group is told the sum
    assert getattr(actions[-1], "desired", None) == 1


def test_failures_are_counted_until_a_machine_joins() -> None:
    late = worker("i-1", Life.BOOTING, launched=NOW - 9000)
    observation = seen(late)
    memory = learn(Memory(failures=1), observation, decide(observation, LIMITS, POLICY))
    assert (memory.failures, memory.last_failure) == (2, NOW)
    assert memory.chef_left == ("i-1",)
    joined = seen(worker("i-2", Life.JOINING, ready=True))
    assert learn(memory, joined, decide(joined, LIMITS, POLICY)).failures == 0


def test_a_worker_that_the_swarm_lost_is_ended_after_a_while_even_with_servers() -> None:
    others = [worker(f"i-{n}", used=1) for n in range(5)]
    lost = worker("i-9", Life.DOWN, used=2, down_since=NOW - 299)
    assert decide(seen(lost, *others), LIMITS, POLICY) == []
    lost = worker("i-9", Life.DOWN, used=2, down_since=NOW - 300)
    end = decide(seen(lost, *others), LIMITS, POLICY)[-1]
    assert isinstance(end, Terminate)
    assert end.reason == "the swarm has not heard of it for 300 s"


def test_when_many_are_down_at_once_none_is_ended() -> None:
    down = [worker(f"i-{n}", Life.DOWN, used=1, down_since=NOW - 9999) for n in range(2)]
    (action,) = decide(seen(*down, worker("i-8"), worker("i-9")), LIMITS, POLICY)
    assert isinstance(action, Alarm)
    assert action.code == "many-down"


def test_what_is_remembered_is_bounded_and_survives_being_lost() -> None:
    idle = worker("i-1")
    first = learn(Memory(), seen(idle), [])
    assert first.empty_since == {"i-1": NOW}
    assert learn(first, seen(idle, now=NOW + 9), []).empty_since == {"i-1": NOW}
    assert learn(first, seen(worker("i-1", used=1)), []).empty_since == {}
    done = Memory(chef_done=tuple(f"i-{n}" for n in range(3000)))
    assert len(learn(done, seen(idle), []).chef_done) == 2000


def test_memory_that_no_one_has_a_server_for_still_counts_as_in_use() -> None:
    # a service without the user's label, put there by hand
    drained = worker("i-1", Life.DRAINING, why=Why.SURPLUS, memory_reserved=GIB)
    (action,) = decide(seen(drained, BUSY), LIMITS, POLICY)
    assert isinstance(action, Activate)


def test_an_outdated_worker_is_closed_only_while_there_is_room_elsewhere() -> None:
    limits = Limits(max_nodes=10, headroom=2)
    old, new = worker("i-old", used=3, outdated=True), worker("i-new", used=2)
    (action,) = decide(seen(old, new), limits, POLICY)
    assert (type(action), getattr(action, "why", "")) == (Cordon, Why.OUTDATED)
    # no room elsewhere: a machine is started first, the old one still takes servers
    full = worker("i-new", used=8)
    (action,) = decide(seen(old, full), limits, POLICY)
    assert isinstance(action, SetDesired)
    coming = worker("i-3", Life.BOOTING, launched=NOW - 30)
    assert decide(seen(old, full, coming), limits, POLICY) == []


def test_at_the_limit_an_outdated_worker_goes_when_it_is_empty_and_not_before() -> None:
    limits = Limits(max_nodes=2, headroom=2)
    full = worker("i-new", used=8)
    assert decide(seen(worker("i-old", used=3, outdated=True), full), limits, POLICY) == []
    (action,) = decide(seen(worker("i-old", outdated=True), full), limits, POLICY)
    assert (type(action), getattr(action, "why", "")) == (Cordon, Why.OUTDATED)


def test_at_the_limit_a_closed_outdated_worker_is_opened_again_for_those_who_wait() -> None:
    limits = Limits(max_nodes=2, headroom=0)
    closed = worker("i-old", Life.CORDONED, why=Why.OUTDATED, marked_at=NOW - 60, used=3)
    actions = decide(seen(closed, worker("i-new", used=8), pending=pending(2)), limits, POLICY)
    assert [type(action) for action in actions] == [Activate]
    # where a machine may be started, one is
    more = Limits(max_nodes=3, headroom=0)
    actions = decide(seen(closed, worker("i-new", used=8), pending=pending(2)), more, POLICY)
    assert [type(action) for action in actions] == [SetDesired]


def test_a_whole_outdated_fleet_is_replaced_machine_by_machine() -> None:
    limits = Limits(max_nodes=4, headroom=1, min_nodes=2)
    old = [worker(f"i-{n}", outdated=True) for n in range(2)]
    # nothing new yet: one is started for the headroom, none is closed
    (action,) = decide(seen(*old), limits, POLICY)
    assert isinstance(action, SetDesired)
    assert action.desired == 3
    # the new one is there: the old ones, empty, are closed, and the minimum is kept
    actions = decide(seen(*old, worker("i-new")), limits, POLICY)
    assert [getattr(a, "why", "") for a in actions if isinstance(a, Cordon)] == [Why.OUTDATED] * 2


def test_a_broken_machine_stays_while_paused_where_the_group_would_only_start_another() -> None:
    late = worker("i-1", Life.BOOTING, launched=NOW - 9000)
    at_minimum = (group(1, min_size=1),)
    limits = Limits(min_nodes=1, max_nodes=3, headroom=0)
    paused = seen(late, groups=at_minimum, failures=3, last_failure=NOW - 60)
    assert not [a for a in decide(paused, limits, POLICY) if isinstance(a, Terminate)]
    over = seen(late, groups=at_minimum, failures=3, last_failure=NOW - 1801)
    assert [a for a in decide(over, limits, POLICY) if isinstance(a, Terminate)]
