"""Whatever is seen: what one decision promises, over random observations."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubdeploy.config.limits import Limits
from hubdeploy.hub.fleet.decide import decide
from hubdeploy.hub.fleet.model import (
    Action,
    Activate,
    Cordon,
    Drain,
    Group,
    Life,
    Observation,
    Pending,
    Policy,
    SetDesired,
    Terminate,
    Why,
    Worker,
)
from hubdeploy.hub.simulate.traffic import CORE, GIB
from tests.hub.fleet.builders import NOW

MACHINE = 16 * GIB

ages = st.sampled_from([0.0, 5.0, 15.0, 400.0, 700.0, 1000.0, 5000.0])


@st.composite
def workers(draw: st.DrawFn, number: int) -> Worker:
    life = draw(st.sampled_from(list(Life)))
    used = draw(st.integers(0, 8)) if life not in (Life.BOOTING, Life.ENDING) else 0
    marked = life in (Life.CORDONED, Life.DRAINING)
    age = draw(ages)
    return Worker(
        instance=f"i-{number}",
        node="" if life is Life.BOOTING else f"n-{number}",
        group="workers",
        instance_type="m6i.xlarge",
        launched=NOW - age,
        life=life,
        why=draw(st.sampled_from([Why.SURPLUS, Why.OPERATOR, Why.LIMIT, Why.OUTDATED]))
        if marked
        else Why.NONE,
        marked_at=NOW - draw(ages),
        memory=MACHINE,
        cpu=8 * CORE,
        memory_reserved=used * 2 * GIB,
        cpu_reserved=used * CORE // 2,
        users=tuple(f"u{number}-{n}" for n in range(used)),
        empty_since=NOW - draw(ages) if life is Life.ACTIVE and not used else None,
        down_since=NOW - draw(ages) if life is Life.DOWN else None,
        spot_notice=draw(st.integers(0, 9)) == 0,
        protected=draw(st.booleans()),
        in_group=life is not Life.ENDING,
        ready=draw(st.booleans()),
        trouble=draw(st.sampled_from(["", "", "", "disk full"])),
        node_down=draw(st.booleans()),
        outdated=draw(st.integers(0, 4)) == 0,
    )


@st.composite
def observations(draw: st.DrawFn) -> Observation:
    fleet = tuple(draw(workers(number)) for number in range(draw(st.integers(0, 8))))
    there = sum(worker.in_group for worker in fleet)
    waiting = tuple(
        Pending(
            user=f"p{number}",
            memory=draw(st.sampled_from([GIB, 2 * GIB, 9 * GIB, 40 * GIB])),
            cpu=CORE // 2,
            since=NOW - 30 + number,
        )
        for number in range(draw(st.integers(0, 20)))
    )
    return Observation(
        now=NOW,
        workers=fleet,
        pending=waiting,
        groups=(
            Group(
                name="workers",
                desired=there + draw(st.integers(0, 3)),
                max_size=20,
                instance_type="m6i.xlarge",
                memory=MACHINE,
                cpu=8 * CORE,
            ),
        ),
        active_users=sum(len(worker.users) for worker in fleet),
        disk_used=draw(st.one_of(st.none(), st.integers(0, 100).map(lambda n: n * GIB))),
        failures=draw(st.integers(0, 4)),
        last_failure=NOW - draw(ages),
        short_since=draw(st.sampled_from([None, NOW - 60])),
        last_arrival=NOW - draw(ages),
    )


limits_values = st.builds(
    lambda low, more, headroom, memory, users: Limits(
        min_nodes=low,
        max_nodes=low + more,
        headroom=headroom,
        max_cluster_memory=memory * GIB,
        max_concurrent_users=users,
        max_disk_utilization=50 * GIB,
    ),
    st.integers(0, 4),
    st.integers(0, 10),
    st.integers(0, 10),
    st.sampled_from([0, 16, 40, 100]),
    st.sampled_from([0, 5, 40]),
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(observations(), limits_values)
def test_one_decision_keeps_every_promise(observation: Observation, limits: Limits) -> None:
    actions = decide(observation, limits, Policy())
    by_name = {worker.instance: worker for worker in observation.workers}
    before = observation.groups[0].desired
    ended = [action for action in actions if isinstance(action, Terminate)]
    for action in ended:
        worker = by_name[action.instance]
        in_use = bool(worker.users) or worker.memory_reserved > 0
        assert worker.life is Life.DOWN or not in_use, "ended a machine in use"
        assert worker.in_group
    for cordon in actions:
        if isinstance(cordon, Cordon) and cordon.why is Why.SURPLUS:
            assert not by_name[cordon.instance].users
    capacity = [action.desired for action in actions if isinstance(action, SetDesired)]
    assert len(capacity) <= 2, "one change for demand, and one for the minimum"
    after = capacity[-1] if capacity else before - sum(action.decrement for action in ended)
    existing = [worker for worker in observation.workers if worker.life is not Life.ENDING]
    started = after - (before - sum(action.decrement for action in ended))
    if started > 0:
        missing = max(0, before - sum(worker.in_group for worker in existing))
        nodes = len(existing) + missing + started
        assert nodes <= limits.max_nodes, "above max_nodes"
        if limits.max_cluster_memory:
            assert nodes * MACHINE <= limits.max_cluster_memory, "above max_cluster_memory"
    # nothing is done twice, and no machine is both kept and ended
    named = Counter(
        action.subject
        for action in actions
        if isinstance(action, (Activate, Cordon, Drain, Terminate))
    )
    assert all(count == 1 for count in named.values()), named
    assert all(action.reason for action in actions)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(observations(), limits_values)
def test_scale_in_leaves_min_nodes(observation: Observation, limits: Limits) -> None:
    actions = decide(observation, limits, Policy())
    leaving = {
        action.instance
        for action in actions
        if isinstance(action, Cordon) and action.why is Why.SURPLUS
    }
    if leaving:
        stay = [
            worker
            for worker in observation.workers
            if worker.life is Life.ACTIVE
            and not worker.spot_notice
            and worker.instance not in leaving
        ]
        assert len(stay) >= limits.min_nodes


@given(observations(), limits_values)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_decision_does_not_depend_on_the_order_of_the_workers(
    observation: Observation, limits: Limits
) -> None:
    def key(actions: list[Action]) -> list[str]:
        return sorted(repr(action) for action in actions)

    turned = replace(observation, workers=observation.workers[::-1])
    assert key(decide(observation, limits, Policy())) == key(decide(turned, limits, Policy()))
