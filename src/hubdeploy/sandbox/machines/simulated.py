"""Machines that are not there: objects that play the boot and answer commands.

They do through the embedded AWS, with their own role's credentials, exactly what real machines
do: wait for each other by SSM parameters, publish their phases, register in Cloud Map. So the
pipeline and every policy can be tried anywhere, in seconds and without privileges.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from hubdeploy.config.names import TAG_ROLE
from hubdeploy.errors import SandboxError
from hubdeploy.sandbox.machines.interface import CommandResult, MachineSpec, State
from hubdeploy.sandbox.machines.play import Player, Stopped
from hubdeploy.sandbox.machines.shell import Shell

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.server import Cloud

Responder = Callable[[MachineSpec, list[str]], CommandResult | None]


@dataclass(kw_only=True)
class Plan:
    """How the machines are to behave. Times in seconds."""

    power_on: float = 0.01
    """From pending to running."""
    agent: float = 0.0
    """From running to the SSM agent being online."""
    phase: float = 0.01
    """Spent in each phase of the boot."""
    power_off: float = 0.01
    fail_in: dict[str, str] = field(default_factory=dict)
    """Role (or instance id) -> phase in which such a machine fails."""
    never_joins: set[str] = field(default_factory=set)
    """Roles (or instance ids) that stop saying anything after ``registering``."""
    never_boots: set[str] = field(default_factory=set)
    """Roles (or instance ids) whose instances end while pending."""
    mute: set[str] = field(default_factory=set)
    """Roles (or instance ids) whose user data never runs: no phase at all."""

    def names(self, choice: Iterable[str], spec: MachineSpec) -> bool:
        return bool(set(choice) & {spec.instance_id, spec.tags.get(TAG_ROLE, "")})

    def failing_phase(self, spec: MachineSpec) -> str | None:
        by_id = self.fail_in.get(spec.instance_id)
        return by_id or self.fail_in.get(spec.tags.get(TAG_ROLE, ""))


@dataclass
class _Machine:
    spec: MachineSpec
    state: State = "booting"
    why: str = ""
    running_since: float = 0.0
    stopping: threading.Event = field(default_factory=threading.Event)
    console: list[str] = field(default_factory=list)
    volumes: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    thread: threading.Thread | None = None


class SimulatedMachines:
    """All machines of one embedded AWS; ``plan`` may be changed at any time."""

    kind: Literal["docker", "simulated"] = "simulated"

    def __init__(self, cloud: Cloud, plan: Plan | None = None) -> None:
        self.cloud = cloud
        self.plan = plan or Plan()
        self.shell = Shell(self)
        self._machines: dict[str, _Machine] = {}
        self._lock = threading.Lock()

    # ---- the contract ------------------------------------------------------------------------

    def boot(self, spec: MachineSpec) -> None:
        machine = _Machine(spec, volumes=dict(spec.volumes), tags=dict(spec.tags))
        with self._lock:
            if spec.instance_id in self._machines:
                return
            self._machines[spec.instance_id] = machine
        self._power_on(machine)

    def start(self, instance_id: str) -> None:
        machine = self._machines.get(instance_id)
        if machine is not None and machine.state == "stopped":
            self._power_on(machine)

    def stop(self, instance_id: str) -> None:
        machine = self._machines.get(instance_id)
        if machine is not None and machine.state in ("running", "booting"):
            self._later(lambda: self._power_off(machine, "stopped"))

    def reboot(self, instance_id: str) -> None:
        machine = self._machines.get(instance_id)
        if machine is None or machine.state != "running":
            return
        machine.stopping.set()
        self._play(machine)

    def terminate(self, instance_id: str) -> None:
        machine = self._machines.get(instance_id)
        if machine is not None and machine.state != "gone":
            self._later(lambda: self._power_off(machine, "gone"))

    def attach_volume(self, instance_id: str, volume_id: str, device: str) -> None:
        machine = self._machines.get(instance_id)
        if machine is not None:
            machine.volumes[volume_id] = device

    def detach_volume(self, instance_id: str, volume_id: str) -> None:
        machine = self._machines.get(instance_id)
        if machine is not None:
            machine.volumes.pop(volume_id, None)

    def set_tags(self, instance_id: str, tags: dict[str, str]) -> None:
        machine = self._machines.get(instance_id)
        if machine is not None:
            machine.tags = dict(tags)

    def state(self, instance_id: str) -> State:
        machine = self._machines.get(instance_id)
        return "gone" if machine is None else machine.state

    def failure(self, instance_id: str) -> str:
        machine = self._machines.get(instance_id)
        return "" if machine is None else machine.why

    def found(self) -> Iterable[MachineSpec]:
        """None: simulated machines end with the process that holds them."""
        return ()

    def run(
        self, instance_id: str, script: str, *, timeout: float, cancelled: threading.Event
    ) -> CommandResult:
        machine = self._machines.get(instance_id)
        if machine is None or machine.state != "running":
            raise SandboxError(f"The simulated machine {instance_id} is not running.")
        return self.shell.run(machine.spec, script, timeout=timeout, cancelled=cancelled)

    def close(self, *, remove: bool) -> None:  # noqa: ARG002 - nothing of them outlives us
        with self._lock:
            machines = list(self._machines.values())
            self._machines.clear()
        for machine in machines:
            machine.stopping.set()
        for machine in machines:
            if machine.thread is not None:
                machine.thread.join(timeout=5)

    # ---- for tests and for the embedded AWS ---------------------------------------------------

    def console(self, instance_id: str) -> str:
        machine = self._machines.get(instance_id)
        return "" if machine is None else "".join(f"{line}\n" for line in machine.console)

    def agent_ready(self, instance_id: str) -> bool:
        machine = self._machines.get(instance_id)
        if machine is None or machine.state != "running":
            return False
        return time.monotonic() - machine.running_since >= self.plan.agent

    def kill(self, instance_id: str) -> None:
        """The machine dies without anybody having asked for it."""
        machine = self._machines.get(instance_id)
        if machine is not None:
            self._power_off(machine, "gone")

    def specs(self) -> list[MachineSpec]:
        """Of the machines that run."""
        with self._lock:
            return [m.spec for m in self._machines.values() if m.state == "running"]

    def forget(self, account: str) -> None:
        """End all machines of an account."""
        with self._lock:
            mine = [m for m in self._machines.values() if m.spec.account == account]
            for machine in mine:
                del self._machines[machine.spec.instance_id]
        for machine in mine:
            machine.stopping.set()
        for machine in mine:
            thread = machine.thread
            # one that is not alive yet will see that it is to stop before it does anything
            if (
                thread is not None
                and thread.is_alive()
                and thread is not threading.current_thread()
            ):
                thread.join(timeout=5)

    # ---- power -------------------------------------------------------------------------------

    def _later(self, function: Callable[[], None]) -> None:
        timer = threading.Timer(self.plan.power_off, function)
        timer.daemon = True
        timer.start()

    def _power_on(self, machine: _Machine) -> None:
        machine.state = "booting"
        self._play(machine)

    def _power_off(self, machine: _Machine, state: State) -> None:
        machine.stopping.set()
        machine.state = state
        self.cloud.touch()

    def _play(self, machine: _Machine) -> None:
        machine.stopping = threading.Event()
        name = f"machine-{machine.spec.instance_id}"
        thread = threading.Thread(
            target=self._live, args=(machine, machine.stopping), name=name, daemon=True
        )
        machine.thread = thread
        thread.start()

    def _live(self, machine: _Machine, stopping: threading.Event) -> None:
        spec = machine.spec
        if stopping.wait(self.plan.power_on):
            return
        if self.plan.names(self.plan.never_boots, spec):
            machine.state, machine.why = "failed", "the simulated machine was told not to boot"
            self.cloud.touch()
            return
        machine.running_since = time.monotonic()
        machine.state = "running"
        machine.console.append(f"{spec.hostname} login:")
        self.cloud.touch()
        if self.plan.names(self.plan.mute, spec):
            return
        player = Player(
            cloud=self.cloud,
            spec=spec,
            plan=self.plan,
            stopping=stopping,
            say=machine.console.append,
        )
        try:
            player.play()
        except Stopped:
            return
