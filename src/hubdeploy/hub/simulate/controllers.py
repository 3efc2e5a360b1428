"""What is compared: hubdeploy's own decisions, and swarm's spread with CPU target tracking."""

from __future__ import annotations

import math
from dataclasses import replace

from hubdeploy.hub.fleet.admission import admit
from hubdeploy.hub.fleet.decide import decide, learn
from hubdeploy.hub.fleet.model import (
    Action,
    Activate,
    Cordon,
    Drain,
    Group,
    Life,
    Memory,
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
from hubdeploy.hub.simulate.traffic import Kind, Scenario
from hubdeploy.hub.simulate.world import LACKING, Machine, Server, World, view


class Fleet:
    """The leader's fleet service: the very same ``admit``, ``place``, ``decide`` and ``learn``.

    Looks again every ``scenario.tick`` seconds, but (to save time) only when something has
    happened since, something is under way, or a minute has passed.
    """

    def __init__(self, scenario: Scenario, policy: Policy | None = None) -> None:
        self.interval = scenario.tick
        self.kind = scenario.kinds[0]
        self.scenario = scenario
        self.policy = policy or Policy()
        self.workers: dict[str, Worker] = {}
        self.views: dict[str, NodeView] = {}
        self.memory = Memory()
        self.seen = Observation(now=0.0, workers=())
        self.decided: tuple[Action, ...] = ()
        self.let_in: set[str] = set()
        self.last_look = -math.inf
        self.actions: list[tuple[float, Action]] = []
        self.decisions = 0

    def admits(self, world: World, server: Server) -> bool:
        """By the last look and decision, as the service does it between two looks."""
        limits, visit = self.scenario.limits, server.visit
        limited = limits.max_concurrent_users or limits.max_disk_utilization
        request = Request(memory=visit.memory, cpu=visit.cpu)
        if not limited and self.place(world, request) is not None:
            return True  # as the answer would be, only quicker
        answer = admit(
            Pending(user=server.name, memory=visit.memory, cpu=visit.cpu, since=world.now),
            self.seen,
            limits,
            self.policy,
            decided=self.decided,
            let_in=self.let_in,
        )
        if answer.allowed:
            self.let_in.add(server.name)
        return answer.allowed

    def place(self, world: World, request: Request) -> Machine | None:
        self._refresh(world)
        answer = place(list(self.views.values()), request)
        return world.machines[answer.node.id] if isinstance(answer, Placement) else None

    def tick(self, world: World) -> None:
        changed = bool(world.touched) or bool(world.pending) or bool(world.refused)
        changed |= self.memory.short_since is not None or bool(world.failed)
        self._refresh(world)
        if not changed and world.now - self.last_look < 60:
            return
        self.last_look = world.now
        self.decisions += 1
        self.seen = self.observe(world)
        self.let_in.clear()
        actions = decide(self.seen, self.scenario.limits, self.policy)
        self.decided = tuple(actions)
        # what is to be forgotten of ended machines is not played
        learnt = learn(self.memory, self.seen, actions)
        self.memory = replace(learnt, chef_left=(), chef_done=())
        for action in actions:
            self.actions.append((world.now, action))
            self._act(world, action)
        if any(w.life in (Life.CORDONED, Life.DRAINING) for w in self.workers.values()):
            self.last_look = -math.inf

    def observe(self, world: World) -> Observation:
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
            groups=tuple(self._group(world, kind) for kind in self.scenario.kinds),
            active_users=world.users,
            disk_used=self.scenario.disk_used(world.now),
            failures=self.memory.failures,
            last_failure=self.memory.last_failure,
            last_arrival=world.last_arrival,
            short_since=self.memory.short_since,
        )

    def _group(self, world: World, kind: Kind) -> Group:
        until = self.memory.aside_until.get(kind.name, 0.0)
        failed = world.failed.get(kind.name)
        return Group(
            name=kind.name,
            desired=world.desired[kind.name],
            max_size=self.scenario.limits.max_nodes,
            instance_type=kind.name,
            memory=kind.memory,
            cpu=kind.cpu,
            launch_error=LACKING if failed is not None else "",
            failed_at=failed or 0.0,
            aside=self.memory.aside_why.get(kind.name, "") if world.now < until else "",
            aside_until=until,
        )

    def _refresh(self, world: World) -> None:
        for name in world.touched:
            machine = world.machines.get(name)
            if machine is None:
                self.workers.pop(name, None)
                self.views.pop(name, None)
                continue
            self.views[name] = view(machine)
            self.workers[name] = Worker(
                instance=name,
                node=name if machine.state != "booting" else "",
                group=machine.kind.name,
                instance_type=machine.kind.name,
                launched=machine.launched,
                life=Life(machine.state),
                why=Why(machine.why),
                marked_at=machine.marked_at,
                memory=machine.kind.memory,
                cpu=machine.kind.cpu,
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
            world.set_desired(action.group, action.desired)
            return
        machine = world.machines.get(getattr(action, "instance", ""))
        if machine is None:
            return
        if isinstance(action, Activate):
            machine.protected = True
            world.activate(machine)
        elif isinstance(action, Cordon):
            machine.state, machine.why, machine.marked_at = "cordoned", action.why.value, world.now
        elif isinstance(action, Drain):
            machine.state = "draining"
        elif isinstance(action, Unprotect):
            machine.protected = False
        elif isinstance(action, Terminate):
            world.end(machine, decrement=action.decrement)
        world.touched.add(machine.id)


class SpreadAndTrack:
    """Swarm's spread, and an auto scaling group that tracks 40 % average CPU.

    As AWS documents target tracking: three minutes above the target and the group grows to
    machines x CPU / target; fifteen minutes below nine tenths of it and it shrinks, ending the
    machines launched first, whoever is on them. Metrics come once a minute, from machines in
    service; one that has just been started counts after 300 s of warm-up. Each running server uses
    ``cpu_use`` cores on average. Such a group knows nothing of machines that never join: its health
    check ends those after ten minutes. It cannot be told which type is wanted next: where there are
    several it has the one that takes every server.
    """

    interval = 60.0
    target = 40.0

    def __init__(self, scenario: Scenario, *, cpu_use: float = 0.3) -> None:
        self.scenario = scenario
        self.kind = scenario.kind_for(max(scenario.visits, key=lambda v: (v.memory, v.cpu)))
        self.cpu_use = cpu_use
        self.above = 0
        self.below = 0
        self.ready_since: dict[str, float] = {}

    def admits(self, world: World, server: Server) -> bool:
        return bool(world and server)

    def place(self, world: World, request: Request) -> Machine | None:
        best: Machine | None = None
        for machine in world.machines.values():
            if machine.state == "joining" and machine.ready:
                machine.state = "active"
            if (
                machine.state == "active"
                and machine.memory + request.memory <= machine.kind.memory
                and machine.cpu + request.cpu <= machine.kind.cpu
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
        cores = self.kind.cpu / 1e9
        used = sum(len(m.servers) for m in warm) * self.cpu_use
        cpu = min(100.0, 100.0 * used / (len(warm) * cores))
        self.above = self.above + 1 if cpu > self.target else 0
        self.below = self.below + 1 if cpu < 0.9 * self.target else 0
        limits = self.scenario.limits
        if self.above >= 3:
            wanted = math.ceil(len(warm) * cpu / self.target)
            if wanted > world.desired[self.kind.name]:
                world.set_desired(self.kind.name, min(limits.max_nodes, wanted))
        elif self.below >= 15:
            wanted = max(limits.min_nodes, math.ceil(len(warm) * cpu / self.target))
            if wanted < world.desired[self.kind.name]:
                surplus = world.desired[self.kind.name] - wanted
                oldest = sorted(serving, key=lambda m: m.launched)
                for machine in oldest[:surplus]:
                    world.end(machine, decrement=True)
