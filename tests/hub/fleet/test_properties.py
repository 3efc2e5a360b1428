"""Whatever happens: what the decisions promise, over random observations and random histories."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hubdeploy.config.limits import Limits
from hubdeploy.hub.fleet.capacity import COMING
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
from hubdeploy.hub.simulate.controllers import Fleet
from hubdeploy.hub.simulate.traffic import CORE, GIB, HOUR, Scenario, Visit
from hubdeploy.hub.simulate.world import World
from tests.hub.fleet.builders import NOW

MACHINE = 16 * GIB

# --- one decision, any observation ------------------------------------------------------------

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


# --- whole histories --------------------------------------------------------------------------


class Watched(Fleet):
    """The fleet as simulated, with every decision checked against the world it was made in."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario)
        self.became_active: dict[str, float] = {}
        self.last_busy = 0.0

    def tick(self, world: World) -> None:
        if world.users or world.pending:
            self.last_busy = world.now
        done = len(self.actions)
        in_use = {m.id: bool(m.servers) for m in world.machines.values()}
        noticed = {m.id for m in world.machines.values() if m.spot_notice}
        active_since = dict(self.became_active)
        super().tick(world)
        for at, action in self.actions[done:]:
            if isinstance(action, Terminate):
                assert not in_use[action.instance], f"ended a machine in use: {action}"
            if isinstance(action, Activate) and action.joined:
                self.became_active[action.instance] = at
            if (
                isinstance(action, Cordon)
                and action.why is Why.SURPLUS
                and action.instance not in noticed
            ):
                age = at - active_since[action.instance]
                assert age >= self.scenario.limits.idle_after, "flapping: ended when just joined"
        limits = self.scenario.limits
        there = [m for m in world.machines.values() if m.state != "ending"]
        nodes = max(len(there), world.desired)
        assert nodes <= limits.max_nodes
        if limits.max_cluster_memory:
            assert nodes * self.scenario.machine_memory <= limits.max_cluster_memory


@st.composite
def histories(draw: st.DrawFn) -> Scenario:
    arrivals = st.tuples(
        st.floats(0, 3 * HOUR),
        st.sampled_from([120.0, 900.0, 3600.0, 7200.0]),
        st.sampled_from([1, 2, 4, 7]),
        st.integers(1, 12),
    )
    visits = []
    for at, stay, size, together in draw(st.lists(arrivals, max_size=12)):
        visits += [
            Visit(at + n * 2.0, stay, memory=size * GIB, cpu=CORE // 2) for n in range(together)
        ]
    low = draw(st.integers(0, 2))
    return Scenario(
        name="random",
        title="random",
        visits=tuple(sorted(visits, key=lambda visit: visit.at)),
        until=9 * HOUR,
        limits=Limits(
            min_nodes=low,
            max_nodes=low + draw(st.integers(1, 12)),
            headroom=draw(st.integers(0, 6)),
            max_cluster_memory=draw(st.sampled_from([0, 64])) * GIB,
            idle_after=draw(st.sampled_from([120, 600])),
        ),
        machine_memory=MACHINE,
        fail_share=draw(st.sampled_from([0.0, 0.0, 0.2])),
        spot_per_hour=draw(st.sampled_from([0.0, 0.0, 0.3])),
    )


# a failing history is not made smaller: each try is hours of simulated time
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(histories())
def test_any_history_keeps_the_limits_ends_no_server_and_comes_to_rest(scenario: Scenario) -> None:
    fleet = Watched(scenario)
    world = World(scenario, fleet)
    world.run()
    if scenario.spot_per_hour:
        return  # machines keep being lost, so it never comes to rest; the checks above held
    assert world.lost == 0
    late = [w for w in fleet.workers.values() if w.life in COMING and w.launched < world.now - 960]
    assert not late
    if scenario.fail_share or fleet.last_busy > scenario.until - 3 * HOUR:
        return
    # three hours after the last server has stopped: no more than what headroom asks for
    limits = scenario.limits
    places = min(MACHINE // (2 * GIB), scenario.machine_cpu // (CORE // 2))
    enough = max(limits.min_nodes, -(-(limits.headroom + Policy().spare_slots) // places))
    up = [m for m in world.machines.values() if m.state != "ending"]
    assert all(m.state == "active" and not m.servers for m in up)
    assert len(up) <= (enough if limits.headroom else limits.min_nodes), "surplus was left running"
    assert len(up) >= limits.min_nodes
    last_hour = [action for at, action in fleet.actions if at > scenario.until - HOUR]
    assert not last_hour, f"no rest: {last_hour[:3]}"


@pytest.mark.parametrize("load", [7, 8, 9, 15, 16, 17])
def test_a_load_that_comes_and_goes_at_the_edge_does_not_start_and_end_machines(load: int) -> None:
    # one user more, one user fewer, every two minutes, around a full machine
    visits = [Visit(0.0, 6 * HOUR) for _ in range(load)]
    visits += [Visit(600.0 + n * 240.0, 120.0) for n in range(60)]
    scenario = Scenario(
        name="edge",
        title="edge",
        visits=tuple(visits),
        until=5 * HOUR,
        limits=Limits(max_nodes=20, headroom=2, idle_after=300),
        machine_memory=MACHINE,
    )
    fleet = Watched(scenario)
    World(scenario, fleet).run()
    changes = [at for at, action in fleet.actions if isinstance(action, (SetDesired, Cordon))]
    assert len([at for at in changes if at > HOUR]) == 0
