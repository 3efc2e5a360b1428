"""The simulated account: machines that boot, join, hold servers and are lost, on a virtual clock.

Assumed of the machines (seconds): an instance appears 4 after the capacity was changed, its boot
and first converge take a log-normal time with median 95, joining and pulling the image 25, a
server's start on a machine that has the image 6. A machine is paid from its launch to its end. A
type that AWS has none of is tried again every minute. Who is refused asks again every minute.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from hubdeploy.hub.placement import NodeView, Request
from hubdeploy.hub.simulate.traffic import HOUR, Kind, Scenario, Visit

APPEARS = 4.0
BOOT_MEDIAN, BOOT_SIGMA = 95.0, 0.18
PULL = 25.0
START = 6.0
ENDS = 20.0
SPOT_NOTICE = 120.0
TRIES_AGAIN = 60.0
LACKING = "InsufficientInstanceCapacity: AWS has none of this type at the moment."


@dataclass(slots=True)
class Server:
    """A visit that waits or runs. ``asked`` is when; ``left`` the seconds it still wants;
    ``let_in``: it has been admitted, and is not asked about again when it loses its machine."""

    name: str
    visit: Visit
    asked: float
    left: float
    ends: float = 0.0
    machine: Machine | None = None
    let_in: bool = False


@dataclass(slots=True, eq=False)
class Machine:
    """``state``: booting, joining, active, cordoned, draining, ending, gone."""

    id: str
    launched: float
    kind: Kind
    state: str = "booting"
    fails: bool = False
    ready: bool = False
    servers: dict[str, Server] = field(default_factory=dict)
    memory: int = 0
    cpu: int = 0
    empty_since: float | None = None
    marked_at: float = 0.0
    why: str = ""
    protected: bool = True
    spot_notice: bool = False
    ended: float | None = None


class Controller(Protocol):
    """What is compared: where a server goes, and when machines come and go."""

    interval: float
    kind: Kind
    """Of the machines that are there from the beginning."""

    def admits(self, world: World, server: Server) -> bool: ...

    def place(self, world: World, request: Request) -> Machine | None: ...

    def tick(self, world: World) -> None: ...


class World:
    """One run of *scenario* under *controller*. ``touched`` are the machines changed since it was
    last emptied; ``waits`` are seconds from asking to running, one for each server started."""

    def __init__(self, scenario: Scenario, controller: Controller, *, seed: int = 7) -> None:
        self.scenario = scenario
        self.controller = controller
        self.random = random.Random(seed)
        self.now = 0.0
        self.machines: dict[str, Machine] = {}
        self.touched: set[str] = set()
        self.pending: deque[Server] = deque()
        self.kinds = {kind.name: kind for kind in scenario.kinds}
        self.desired = dict.fromkeys(self.kinds, 0)
        self.failed: dict[str, float] = {}
        """When the newest launch of a kind failed, if it did."""
        self.users = 0
        self.refused = 0
        self.last_arrival = 0.0
        self.waits: list[float] = []
        self.lost = 0
        self.given_up = 0
        self.machine_seconds = 0.0
        self.most_machines = 0
        self.capacity_changes = 0
        self.notices = 0
        self.started = 0
        self._events: list[tuple[float, int, str, object]] = []
        self._number = 0

    # --- the clock -----------------------------------------------------------------------------
    def at(self, when: float, kind: str, what: object) -> None:
        self._number += 1
        heapq.heappush(self._events, (when, self._number, kind, what))

    def run(self) -> None:
        for number, visit in enumerate(self.scenario.visits):
            self.at(visit.at, "asks", Server(f"u{number}", visit, visit.at, visit.stay))
        self.set_desired(self.controller.kind.name, self.scenario.limits.min_nodes)
        self.at(0.0, "tick", None)
        while self._events and self._events[0][0] <= self.scenario.until:
            self.now, _, kind, what = heapq.heappop(self._events)
            getattr(self, f"_on_{kind}")(what)
        self.now = self.scenario.until
        for machine in self.machines.values():
            self._pay(machine)
        self.given_up = len(self.pending) + self.refused

    def _pay(self, machine: Machine) -> None:
        self.machine_seconds += machine.kind.cost * (self.now - machine.launched)

    def _on_tick(self, _: object) -> None:
        self.controller.tick(self)
        self.at(self.now + self.controller.interval, "tick", None)

    # --- servers -------------------------------------------------------------------------------
    def _on_asks_again(self, server: Server) -> None:
        self.refused -= 1
        self._on_asks(server)

    def _on_asks(self, server: Server) -> None:
        if not server.let_in and not self.controller.admits(self, server):
            self.refused += 1
            self.at(self.now + TRIES_AGAIN, "asks_again", server)
            return
        server.let_in = True
        self.last_arrival = self.now
        if not self._try(server):
            self.pending.append(server)

    def _try(self, server: Server) -> bool:
        request = Request(memory=server.visit.memory, cpu=server.visit.cpu)
        machine = self.controller.place(self, request)
        if machine is None:
            return False
        machine.servers[server.name] = server
        machine.memory += server.visit.memory
        machine.cpu += server.visit.cpu
        machine.empty_since = None
        server.machine = machine
        self.users += 1
        self.waits.append(self.now + START - server.asked)
        server.ends = self.now + START + server.left
        self.at(server.ends, "leaves", (server, server.ends))
        self.touched.add(machine.id)
        return True

    def _on_leaves(self, what: tuple[Server, float]) -> None:
        server, ends = what
        if server.ends == ends and server.machine is not None:
            self._take_off(server)
            self.retry()

    def _take_off(self, server: Server) -> None:
        machine = server.machine
        if machine is None:
            return
        del machine.servers[server.name]
        machine.memory -= server.visit.memory
        machine.cpu -= server.visit.cpu
        if not machine.servers:
            machine.empty_since = self.now
        server.machine = None
        self.users -= 1
        self.touched.add(machine.id)

    def retry(self) -> None:
        """Lay waiting servers, oldest first; one that does not fit holds up none after it."""
        left: deque[Server] = deque()
        smallest = math.inf
        for server in self.pending:
            if server.visit.memory >= smallest or not self._try(server):
                left.append(server)
                smallest = min(smallest, server.visit.memory)
        self.pending = left

    # --- machines ------------------------------------------------------------------------------
    def set_desired(self, kind: str, desired: int) -> None:
        """As the group does it: what is missing appears shortly; it never ends machines here."""
        self.capacity_changes += desired != self.desired[kind]
        self.desired[kind] = desired
        self.at(self.now + APPEARS, "appear", self.kinds[kind])

    def in_group(self, kind: Kind) -> int:
        return sum(m.kind is kind and m.state != "ending" for m in self.machines.values())

    def _on_appear(self, kind: Kind) -> None:
        missing = self.desired[kind.name] - self.in_group(kind)
        if missing > 0 and self.scenario.lacks(kind, self.now):
            self.failed[kind.name] = self.now
            self.at(self.now + TRIES_AGAIN, "appear", kind)
            return
        for _ in range(missing):
            self.failed.pop(kind.name, None)
            self._launch(kind)
        self.most_machines = max(self.most_machines, len(self.machines))

    def _launch(self, kind: Kind) -> None:
        self._number += 1
        self.started += 1
        machine = Machine(id=f"i-{self._number:08d}", launched=self.now, kind=kind)
        machine.fails = self.random.random() < self.scenario.fail_share
        self.machines[machine.id] = machine
        self.touched.add(machine.id)
        boot = self.random.lognormvariate(math.log(BOOT_MEDIAN), BOOT_SIGMA)
        if not machine.fails:
            self.at(self.now + boot, "joins", machine)
        if self.scenario.spot_per_hour:
            life = self.random.expovariate(self.scenario.spot_per_hour / HOUR)
            if self.now + life < self.scenario.spot_until:
                self.at(self.now + life, "notice", machine)

    def _on_joins(self, machine: Machine) -> None:
        if machine.state == "booting":
            machine.state = "joining"
            self.touched.add(machine.id)
            self.at(self.now + PULL, "ready", machine)

    def _on_ready(self, machine: Machine) -> None:
        if machine.state == "joining":
            machine.ready = True
            self.touched.add(machine.id)

    def activate(self, machine: Machine) -> None:
        machine.state = "active"
        machine.why = ""
        if not machine.servers:
            machine.empty_since = self.now
        self.touched.add(machine.id)
        self.retry()

    def end(self, machine: Machine, *, decrement: bool) -> None:
        """Terminate; whoever is on it loses the server and asks again at once."""
        if machine.state in ("ending", "gone"):
            return
        machine.state = "ending"
        self.touched.add(machine.id)
        for server in list(machine.servers.values()):
            self.lost += 1
            left = max(60.0, server.ends - self.now)
            self._take_off(server)
            again = Server(f"{server.name}+", server.visit, self.now, left, let_in=True)
            self.at(self.now, "asks", again)
        if decrement:
            self.desired[machine.kind.name] -= 1
        else:
            self.at(self.now + APPEARS, "appear", machine.kind)
        self.at(self.now + ENDS, "gone", machine)

    def _on_gone(self, machine: Machine) -> None:
        machine.state = "gone"
        machine.ended = self.now
        self._pay(machine)
        del self.machines[machine.id]
        self.touched.add(machine.id)

    def _on_notice(self, machine: Machine) -> None:
        if machine.state not in ("ending", "gone"):
            machine.spot_notice = True
            self.notices += 1
            self.touched.add(machine.id)
            self.at(self.now + SPOT_NOTICE, "taken", machine)

    def _on_taken(self, machine: Machine) -> None:
        # the group replaces what AWS takes: the desired capacity stays
        self.end(machine, decrement=False)


def view(machine: Machine) -> NodeView:
    """The machine as the spawner's placement sees it."""
    return NodeView(
        id=machine.id,
        ready=machine.state in ("active", "cordoned", "draining"),
        availability="active" if machine.state == "active" else "pause",
        memory=machine.kind.memory,
        cpu=machine.kind.cpu,
        memory_reserved=machine.memory,
        cpu_reserved=machine.cpu,
        instance=machine.id,
        instance_type=machine.kind.name,
        launched=f"{machine.launched:012.1f}",
    )
