"""Whatever happens: what the fleet promises at every tick of random histories.

People come in bursts, machines fail, AWS takes spot machines back and runs out of a type, the file
system fills and empties; the decisions are the leader's own, on the simulator's virtual clock.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hubdeploy.config.limits import Limits
from hubdeploy.hub.fleet.capacity import COMING
from hubdeploy.hub.fleet.model import (
    Activate,
    Cordon,
    Life,
    Policy,
    SetDesired,
    Terminate,
    Why,
)
from hubdeploy.hub.simulate.controllers import Fleet
from hubdeploy.hub.simulate.traffic import CORE, GIB, HOUR, Kind, Scenario, Visit
from hubdeploy.hub.simulate.world import Server, World

MACHINE = 16 * GIB
USUAL = Kind(memory=MACHINE)
DOUBLE = Kind(name="m6i.2xlarge", memory=2 * MACHINE, cpu=8 * CORE, cost=2.0)
QUIET_FROM, UNTIL = 6 * HOUR, 9 * HOUR
"""Nobody comes and nothing is lost in the last three hours."""


class Watched(Fleet):
    """The fleet as simulated, with every tick checked against the world it was made in."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario)
        self.became_active: dict[str, float] = {}
        self.ended_surplus = 0
        self.failed = 0
        self.let_in_ever = 0
        self.disk_was_full = False
        self.last_busy = 0.0
        self.given_up_now: set[str] = set()

    def admits(self, world: World, server: Server) -> bool:
        admitted = super().admits(world, server)
        if admitted:
            self.let_in_ever += 1
            assert not self.disk_was_full, "let in although the disk was seen to be full"
            self._users_limit(world, 1)
        return admitted

    def tick(self, world: World) -> None:
        if world.users or world.pending or world.refused:
            self.last_busy = world.now
        done = len(self.actions)
        self.given_up_now.clear()
        in_use = {m.id: bool(m.servers) for m in world.machines.values()}
        active_since = dict(self.became_active)
        super().tick(world)
        for at, action in self.actions[done:]:
            if isinstance(action, Terminate):
                assert not in_use[action.instance], f"ended a machine in use: {action}"
                self.failed += action.failed
                if action.failed:
                    self.given_up_now.add(action.instance)
            if isinstance(action, Activate) and action.joined:
                self.became_active[action.instance] = at
            if isinstance(action, Cordon) and action.why is Why.SURPLUS:
                self.ended_surplus += 1
                age = at - active_since[action.instance]
                assert age >= self.scenario.limits.idle_after, "flapping: ended when just joined"
        full = self.scenario.limits.max_disk_utilization
        used = self.seen.disk_used or 0
        self.disk_was_full = bool(full) and used >= full
        self._users_limit(world, 0)
        self._never_too_many(world)
        self._never_too_few(world)

    def _users_limit(self, world: World, coming: int) -> None:
        most = self.scenario.limits.max_concurrent_users
        people = world.users + len(world.pending) + coming
        # who loses a spot machine comes back at once, and was let in before
        assert not most or people <= most, f"{people} people, {most} are the limit"

    def _never_too_many(self, world: World) -> None:
        limits = self.scenario.limits
        nodes = memory = 0
        for kind in self.scenario.kinds:
            there = sum(m.kind is kind and m.state != "ending" for m in world.machines.values())
            nodes += max(there, world.desired[kind.name])
            memory += max(there, world.desired[kind.name]) * kind.memory
        assert nodes <= limits.max_nodes
        assert not limits.max_cluster_memory or memory <= limits.max_cluster_memory

    def _never_too_few(self, world: World) -> None:
        """Machines that stay, those on their way and those asked for are never under the minimum;
        while so many fail that starting pauses, they may be."""
        limits = self.scenario.limits
        if self.memory.failures >= self.policy.failures_in_a_row:
            return
        good = 0
        for kind in self.scenario.kinds:
            here = [m for m in world.machines.values() if m.kind is kind and m.state != "ending"]
            leaving = sum(m.spot_notice or m.state in ("cordoned", "draining") for m in here)
            good += max(world.desired[kind.name], len(here)) - leaving
        assert good >= self.least(world), (
            f"{good} of {limits.min_nodes} machines at {world.now}",
            world.desired,
            [(m.id, m.state, m.why, m.spot_notice) for m in world.machines.values()],
            self.actions[-3:],
        )

    def least(self, world: World) -> int:
        """``min_nodes``, as far as the limits leave room beside machines that are leaving."""
        limits = self.scenario.limits
        leaving = [
            m
            for m in world.machines.values()
            # what is given up in this tick still took its place when the tick was decided
            if m.spot_notice or m.why or m.id in self.given_up_now
        ]
        room = limits.max_nodes - len(leaving)
        if limits.max_cluster_memory:
            biggest = max(kind.memory for kind in self.scenario.kinds)
            left = limits.max_cluster_memory - sum(m.kind.memory for m in leaving)
            room = min(room, max(0, left) // biggest)
        return min(limits.min_nodes, room)


@st.composite
def visits(draw: st.DrawFn) -> tuple[Visit, ...]:
    arrivals = st.tuples(
        st.floats(0, 3 * HOUR),
        st.sampled_from([120.0, 900.0, 3600.0, 7200.0]),
        st.sampled_from([1, 2, 4, 7]),
        st.integers(1, 12),
        st.sampled_from([0.0, 2.0]),
    )
    found = []
    for at, stay, size, together, apart in draw(st.lists(arrivals, max_size=12)):
        found += [
            Visit(at + n * apart, stay, memory=size * GIB, cpu=CORE // 2) for n in range(together)
        ]
    return tuple(sorted(found, key=lambda visit: visit.at))


@st.composite
def histories(draw: st.DrawFn) -> Scenario:
    low = draw(st.integers(0, 2))
    return Scenario(
        name="random",
        title="random",
        visits=draw(visits()),
        until=UNTIL,
        tick=15.0,
        limits=Limits(
            min_nodes=low,
            max_nodes=low + draw(st.integers(1, 12)),
            headroom=draw(st.integers(0, 6)),
            max_cluster_memory=draw(st.sampled_from([0, 64])) * GIB,
            max_concurrent_users=draw(st.sampled_from([0, 0, 5, 20])),
            max_disk_utilization=50 * GIB,
            idle_after=draw(st.sampled_from([120, 600])),
        ),
        kinds=draw(st.sampled_from([(USUAL,), (USUAL,), (USUAL, DOUBLE)])),
        fail_share=draw(st.sampled_from([0.0, 0.0, 0.2])),
        spot_per_hour=draw(st.sampled_from([0.0, 0.3, 2.0])),
        spot_until=QUIET_FROM,
        dry=draw(st.sampled_from([(0.0, 0.0), (HOUR, 2 * HOUR)])),
        disk=draw(st.sampled_from([(), ((0.0, 40 * GIB), (HOUR, 60 * GIB), (2 * HOUR, 45 * GIB))])),
    )


# a failing history is not made smaller: each try is hours of simulated time
thorough = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)


@pytest.mark.slow
@thorough
@given(histories())
def test_any_history_keeps_every_limit_ends_no_server_and_comes_to_rest(scenario: Scenario) -> None:
    fleet = Watched(scenario)
    world = World(scenario, fleet)
    world.run()
    if not scenario.spot_per_hour:
        assert world.lost == 0
    late = [w for w in fleet.workers.values() if w.life in COMING and w.launched < world.now - 960]
    assert not late
    # every machine that was started had a cause: somebody who came or lost a machine, a machine
    # that failed or was taken back, the minimum, the headroom
    limits = scenario.limits
    causes = fleet.let_in_ever + world.lost + world.notices + fleet.failed
    assert world.started <= causes + limits.min_nodes + limits.headroom + fleet.ended_surplus
    if scenario.fail_share or fleet.last_busy > UNTIL - 2 * HOUR:
        return
    _at_rest(scenario, fleet, world)


def _at_rest(scenario: Scenario, fleet: Watched, world: World) -> None:
    """Hours after the last server: as many machines as minimum and headroom ask for, untouched."""
    limits = scenario.limits
    up = [m for m in world.machines.values() if m.state != "ending"]
    assert all(m.state == "active" and not m.servers for m in up)
    places = min(MACHINE // (2 * GIB), USUAL.cpu // (CORE // 2))
    enough = max(limits.min_nodes, -(-(limits.headroom + Policy().spare_slots) // places))
    assert len(up) <= (enough if limits.headroom else limits.min_nodes), "surplus was left running"
    assert len(up) >= min(limits.min_nodes, limits.max_nodes)
    last_hour = [action for at, action in fleet.actions if at > scenario.until - HOUR]
    assert not last_hour, f"no rest: {last_hour[:3]}"


@pytest.mark.parametrize("load", [7, 8, 9, 15, 16, 17])
def test_a_load_that_comes_and_goes_at_the_edge_does_not_start_and_end_machines(load: int) -> None:
    # one user more, one user fewer, every two minutes, around a full machine
    stream = [Visit(0.0, 6 * HOUR) for _ in range(load)]
    stream += [Visit(600.0 + n * 240.0, 120.0) for n in range(60)]
    scenario = Scenario(
        name="edge",
        title="edge",
        visits=tuple(stream),
        until=5 * HOUR,
        limits=Limits(max_nodes=20, headroom=2, idle_after=300),
        kinds=(USUAL,),
    )
    fleet = Watched(scenario)
    World(scenario, fleet).run()
    changes = [at for at, action in fleet.actions if isinstance(action, (SetDesired, Cordon))]
    assert len([at for at in changes if at > HOUR]) == 0


def test_after_spot_machines_were_lost_each_is_replaced_once_and_then_nothing_happens() -> None:
    stream = tuple(Visit(0.0, 8 * HOUR) for _ in range(28))
    calm = Scenario(
        name="calm",
        title="calm",
        visits=stream,
        until=5 * HOUR,
        limits=Limits(max_nodes=20, headroom=2, idle_after=300),
        kinds=(USUAL,),
    )
    stormy = replace(calm, spot_per_hour=1.0, spot_until=2 * HOUR)
    fleet = Watched(stormy)
    world = World(stormy, fleet)
    world.run()
    assert world.notices >= 3, "the draw has losses"
    assert world.users == len(stream)
    # the machine that is taken back is replaced by the group, and one more while both are there
    assert world.started <= 5 + 2 * world.notices
    late = [action for at, action in fleet.actions if at > 3 * HOUR]
    assert late == [], "an hour after the last loss nothing is started or ended any more"
    assert all(w.life is Life.ACTIVE for w in fleet.workers.values())


def test_a_burst_between_two_looks_does_not_overrun_the_limit_of_users() -> None:
    stream = tuple(Visit(HOUR, 1800.0) for _ in range(40))
    scenario = Scenario(
        name="burst",
        title="burst",
        visits=stream,
        until=3 * HOUR,
        limits=Limits(min_nodes=4, max_nodes=20, headroom=0, max_concurrent_users=15),
        kinds=(USUAL,),
    )
    fleet = Watched(scenario)
    world = World(scenario, fleet)
    world.run()
    assert fleet.let_in_ever == len(stream), "the others came in as places got free"
