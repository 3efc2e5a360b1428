"""What is compared: hubdeploy's own decisions, and swarm's spread with CPU target tracking."""

from __future__ import annotations

import math

from hubdeploy.hub.fleet.decide import decide
from hubdeploy.hub.fleet.model import (
    Action,
    Activate,
    Cordon,
    Drain,
    Group,
    Hold,
    Life,
    Observation,
    Pending,
    Policy,
    SetDesired,
    Terminate,
    Unprotect,
    Why,
    Worker,
)
from hubdeploy.hub.placement import NodeView, Placement, Request, place
from hubdeploy.hub.simulate.traffic import Scenario
from hubdeploy.hub.simulate.world import TYPE, Machine, World, view

GROUP = "workers"


class Fleet:
    """The leader's fleet service: the very same ``place`` and ``decide``.

    Looks again every ``scenario.tick`` seconds, but (to save time) only when something has
    happened since, something is under way, or a minute has passed.
    """

    def __init__(self, scenario: Scenario, policy: Policy | None = None) -> None:
        self.interval = scenario.tick
        self.scenario = scenario
        self.policy = policy or Policy()
        self.workers: dict[str, Worker] = {}
        self.views: dict[str, NodeView] = {}
        self.short_since: float | None = None
        self.failures = 0
        self.last_failure = 0.0
        self.last_look = -math.inf
        self.actions: list[tuple[float, Action]] = []
        self.decisions = 0

    def place(self, world: World, request: Request) -> Machine | None:
        self._refresh(world)
        answer = place(list(self.views.values()), request)
        return world.machines[answer.node.id] if isinstance(answer, Placement) else None

    def tick(self, world: World) -> None:
        changed = bool(world.touched) or bool(world.pending) or self.short_since is not None
        self._refresh(world)
        if not changed and world.now - self.last_look < 60:
            return
        self.last_look = world.now
        self.decisions += 1
        observation = self.observe(world)
        actions = decide(observation, self.scenario.limits, self.policy)
        self.short_since = (
            (self.short_since if self.short_since is not None else world.now)
            if any(isinstance(action, Hold) for action in actions)
            else None
        )
        for action in actions:
            self.actions.append((world.now, action))
            self._act(world, action)
        if any(w.life in (Life.CORDONED, Life.DRAINING) for w in self.workers.values()):
            self.last_look = -math.inf

    def observe(self, world: World) -> Observation:
        group = Group(
            name=GROUP,
            desired=world.desired,
            max_size=self.scenario.limits.max_nodes,
            instance_type=TYPE,
            memory=self.scenario.machine_memory,
            cpu=self.scenario.machine_cpu,
        )
        return Observation(
            now=world.now,
            workers=tuple(self.workers.values()),
            pending=tuple(
                Pending(
                    user=server.name,
                    memory=server.visit.memory,
                    cpu=server.visit.cpu,
                    since=server.asked,
                )
                for server in world.pending
            ),
            groups=(group,),
            active_users=world.users,
            failures=self.failures,
            last_failure=self.last_failure,
            last_arrival=world.last_arrival,
            short_since=self.short_since,
        )

    def _refresh(self, world: World) -> None:
        for name in world.touched:
            machine = world.machines.get(name)
            if machine is None:
                self.workers.pop(name, None)
                self.views.pop(name, None)
                continue
            self.views[name] = view(machine, self.scenario)
            self.workers[name] = Worker(
                instance=name,
                node=name if machine.state != "booting" else "",
                group=GROUP,
                instance_type=TYPE,
                launched=machine.launched,
                life=Life(machine.state),
                why=Why(machine.why),
                marked_at=machine.marked_at,
                memory=self.scenario.machine_memory,
                cpu=self.scenario.machine_cpu,
                memory_reserved=machine.memory,
                cpu_reserved=machine.cpu,
                users=tuple(machine.servers),
                empty_since=machine.empty_since if machine.state == "active" else None,
                spot_notice=machine.spot_notice,
                protected=machine.protected,
                in_group=machine.state != "ending",
                ready=machine.ready,
            )
        world.touched.clear()

    def _act(self, world: World, action: Action) -> None:
        if isinstance(action, SetDesired):
            world.set_desired(action.desired)
            return
        machine = world.machines.get(getattr(action, "instance", ""))
        if machine is None:
            return
        if isinstance(action, Activate):
            if action.joined:
                self.failures = 0
            machine.protected = True
            world.activate(machine)
        elif isinstance(action, Cordon):
            machine.state, machine.why, machine.marked_at = "cordoned", action.why.value, world.now
        elif isinstance(action, Drain):
            machine.state = "draining"
        elif isinstance(action, Unprotect):
            machine.protected = False
        elif isinstance(action, Terminate):
            if action.failed:
                self.failures, self.last_failure = self.failures + 1, world.now
            world.end(machine, decrement=action.decrement)
        world.touched.add(machine.id)


class SpreadAndTrack:
    """Swarm's spread, and an auto scaling group that tracks 40 % average CPU.

    As AWS documents target tracking: three minutes above the target and the group grows to
    machines x CPU / target; fifteen minutes below nine tenths of it and it shrinks, ending the
    machines launched first, whoever is on them. Metrics come once a minute, from machines in
    service; one that has just been started counts after 300 s of warm-up. Each running server uses
    ``cpu_use`` cores on average. Such a group knows nothing of machines that never join: its health
    check ends those after ten minutes.
    """

    interval = 60.0
    target = 40.0

    def __init__(self, scenario: Scenario, *, cpu_use: float = 0.3) -> None:
        self.scenario = scenario
        self.cpu_use = cpu_use
        self.above = 0
        self.below = 0
        self.ready_since: dict[str, float] = {}

    def place(self, world: World, request: Request) -> Machine | None:
        best: Machine | None = None
        for machine in world.machines.values():
            if machine.state == "joining" and machine.ready:
                machine.state = "active"
            if (
                machine.state == "active"
                and machine.memory + request.memory <= self.scenario.machine_memory
                and machine.cpu + request.cpu <= self.scenario.machine_cpu
                and (best is None or len(machine.servers) < len(best.servers))
            ):
                best = machine
        return best

    def tick(self, world: World) -> None:
        world.touched.clear()
        serving = []
        for machine in list(world.machines.values()):
            if machine.state == "joining" and machine.ready:
                machine.state = "active"
            if machine.state == "active":
                serving.append(machine)
            elif machine.fails and world.now - machine.launched > 600:
                world.end(machine, decrement=False)
        world.retry()
        warm = [m for m in serving if world.now - m.launched > 300] or serving
        if not warm:
            return
        cores = self.scenario.machine_cpu / 1e9
        used = sum(len(m.servers) for m in warm) * self.cpu_use
        cpu = min(100.0, 100.0 * used / (len(warm) * cores))
        self.above = self.above + 1 if cpu > self.target else 0
        self.below = self.below + 1 if cpu < 0.9 * self.target else 0
        limits = self.scenario.limits
        if self.above >= 3:
            wanted = math.ceil(len(warm) * cpu / self.target)
            if wanted > world.desired:
                world.set_desired(min(limits.max_nodes, wanted))
        elif self.below >= 15:
            wanted = max(limits.min_nodes, math.ceil(len(warm) * cpu / self.target))
            if wanted < world.desired:
                surplus = world.desired - wanted
                oldest = sorted(serving, key=lambda m: m.launched)
                for machine in oldest[:surplus]:
                    world.end(machine, decrement=True)
