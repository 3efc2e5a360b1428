"""Machines as containers: each instance of the embedded AWS runs systemd, cloud-init and Docker."""

from __future__ import annotations

import dataclasses
import logging
import shutil
import threading
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import docker
import requests
from docker.errors import APIError, DockerException, NotFound
from tenacity import retry, retry_if_exception, retry_if_not_result, stop_after_delay, wait_fixed

from hubdeploy.errors import SandboxError
from hubdeploy.sandbox.engine import SANDBOX_LABEL
from hubdeploy.sandbox.images import catalog
from hubdeploy.sandbox.images.build import Images
from hubdeploy.sandbox.images.recipe import Recipe
from hubdeploy.sandbox.imds import MetadataServer, RoleKeys
from hubdeploy.sandbox.machines import cleanup, commands, container, network
from hubdeploy.sandbox.machines.interface import CommandResult, MachineSpec, State
from hubdeploy.sandbox.machines.services import CloudView, Services
from hubdeploy.sandbox.machines.watch import Watch

log = logging.getLogger(__name__)

BOOT_DEADLINE = 120.0
"""Seconds until the machine's agent must run; it takes 2 to 6."""
STOP_TIMEOUT = 20
"""Seconds that an orderly shutdown may take, as EC2 gives an instance a while."""
_REBOOT_EXIT = 129
"""What a container's init ends with when its system asked for a reboot (SIGHUP)."""


@dataclasses.dataclass
class _Machine:
    spec: MachineSpec
    state: State = "booting"
    failure: str = ""
    ending: bool = False
    """Going down because it was asked to; it is no accident then."""
    spot_notice: datetime | None = None
    work: ThreadPoolExecutor = dataclasses.field(
        default_factory=lambda: ThreadPoolExecutor(max_workers=1, thread_name_prefix="machine")
    )
    """One thread: what is asked of a machine happens in the order of asking."""


class DockerMachines:
    """Implements :class:`hubdeploy.sandbox.machines.interface.Machines`.

    ``state`` is a directory of the sandbox's that stays; its path must be short, for Unix sockets
    are made in it. ``changed`` is called, from any thread, whenever a machine's state changes.
    """

    kind: Literal["docker", "simulated"] = "docker"

    def __init__(
        self,
        client: docker.DockerClient,
        *,
        sandbox: str,
        state: Path,
        cloud: CloudView,
        images: Images | None = None,
        changed: Callable[[], None] = lambda: None,
        recipe: Callable[[str], Recipe] = lambda _ami: catalog.machine(),
    ) -> None:
        """*recipe*: AMI id -> what such an instance is made of."""
        self._recipe = recipe
        self._client = client
        self._sandbox = sandbox
        self._state = state
        self._cloud = cloud
        self._images = images or Images(client)
        self._changed = changed
        self._machines: dict[str, _Machine] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self.services = Services(
            client,
            sandbox=sandbox,
            state=state,
            cloud=cloud,
            images=self._images,
            instances=self.found,
        )
        self._metadata = MetadataServer(self.services.run / "metadata.sock", self)
        for part in ("efs", "ebs"):
            client.volumes.create(
                f"{sandbox}-{part}", labels={SANDBOX_LABEL: sandbox, network.PART_LABEL: part}
            )
        self._find()
        self._watch = Watch(client, sandbox=sandbox, died=self._died)

    # ---- the interface: instances ----------------------------------------------------------------

    def boot(self, spec: MachineSpec) -> None:
        with self._lock:
            if spec.instance_id in self._machines:
                return
            machine = _Machine(spec)
            self._machines[spec.instance_id] = machine
        self._begin(machine, self._boot)

    def stop(self, instance_id: str) -> None:
        self._order(instance_id, self._stop)

    def start(self, instance_id: str) -> None:
        machine = self._machines.get(instance_id)
        if machine is not None and machine.state == "stopped":
            machine.state = "booting"
        self._order(instance_id, self._start)

    def reboot(self, instance_id: str) -> None:
        self._order(instance_id, self._reboot)

    def terminate(self, instance_id: str) -> None:
        machine = self._machines.get(instance_id)
        if machine is not None:
            machine.ending = True  # a boot that still waits gives up
            self._begin(machine, self._terminate)

    def crash(self, instance_id: str) -> None:
        """The machine loses its power, for rehearsing faults; it stays off."""
        self._client.containers.get(self.container_name(instance_id)).kill()

    def attach_volume(self, instance_id: str, volume_id: str, device: str) -> None:
        def attach(machine: _Machine) -> None:
            machine.spec = dataclasses.replace(
                machine.spec, volumes={**machine.spec.volumes, volume_id: device}
            )
            self._write_volumes(machine.spec)
            self._show_volumes(machine)

        self._order(instance_id, attach)

    def detach_volume(self, instance_id: str, volume_id: str) -> None:
        def detach(machine: _Machine) -> None:
            kept = {k: v for k, v in machine.spec.volumes.items() if k != volume_id}
            machine.spec = dataclasses.replace(machine.spec, volumes=kept)
            self._write_volumes(machine.spec)
            self._show_volumes(machine)

        self._order(instance_id, detach)

    def set_tags(self, instance_id: str, tags: dict[str, str]) -> None:
        machine = self._machines.get(instance_id)
        if machine is not None:
            machine.spec = dataclasses.replace(machine.spec, tags=dict(tags))

    def announce_spot(self, instance_id: str, when: datetime | None) -> None:
        """The metadata now tell that the instance ends at *when*; None takes it back."""
        machine = self._machines.get(instance_id)
        if machine is not None:
            machine.spot_notice = when

    def state(self, instance_id: str) -> State:
        machine = self._machines.get(instance_id)
        return machine.state if machine else "gone"

    def failure(self, instance_id: str) -> str:
        machine = self._machines.get(instance_id)
        return machine.failure if machine else ""

    def found(self) -> Iterable[MachineSpec]:
        return [machine.spec for machine in list(self._machines.values())]

    def run(
        self, instance_id: str, script: str, *, timeout: float, cancelled: threading.Event
    ) -> CommandResult:
        if self.state(instance_id) != "running":
            raise SandboxError(f"the machine {instance_id} is {self.state(instance_id)}")
        return commands.run(
            self._client,
            self.container_name(instance_id),
            script,
            timeout=timeout,
            cancelled=cancelled,
        )

    def console(self, instance_id: str, *, lines: int = 200) -> str:
        """What the machine's system has logged; empty when it is gone."""
        return commands.journal(self._client, self.container_name(instance_id), lines=lines)

    def container_name(self, instance_id: str) -> str:
        return container.name_of(self._sandbox, instance_id)

    def publish(self, image: str, reference: str, *, cidr: str) -> None:
        """See :meth:`Services.publish`."""
        self.services.publish(image, reference, cidr=cidr)

    # ---- what the metadata server asks -----------------------------------------------------------

    def spec_at(self, address: str) -> MachineSpec | None:
        for machine in list(self._machines.values()):
            if machine.spec.private_ip == address:
                return machine.spec
        return None

    def role_keys(self, spec: MachineSpec) -> RoleKeys | None:
        return self._cloud.role_keys(spec)

    def spot_notice(self, instance_id: str) -> datetime | None:
        machine = self._machines.get(instance_id)
        return machine.spot_notice if machine else None

    def names(self, name: str) -> list[str] | None:
        return self.services.names(name)

    # ---- the end ---------------------------------------------------------------------------------

    def close(self, *, remove: bool, spared: Collection[str] = ()) -> None:
        """*spared* are the parts (``efs``, ``ebs``) whose contents stay when the rest goes."""
        self._closed.set()
        self._watch.close()
        for machine in list(self._machines.values()):
            machine.work.shutdown(wait=True, cancel_futures=True)
        if remove:
            cleanup.remove_all(self._client, sandbox=self._sandbox, spared=spared)
            shutil.rmtree(self._state / "machines", ignore_errors=True)
            self.services.forget()
        self.services.close()
        self._metadata.close()

    # ---- work, in each machine's own thread ------------------------------------------------------

    def _order(self, instance_id: str, action: Callable[[_Machine], None]) -> None:
        machine = self._machines.get(instance_id)
        if machine is not None:
            self._begin(machine, action)

    def _begin(self, machine: _Machine, action: Callable[[_Machine], None]) -> None:
        def work() -> None:
            try:
                action(machine)
            except (DockerException, SandboxError, OSError) as error:
                if not self._closed.is_set():
                    machine.failure = str(getattr(error, "explanation", None) or error)
                    log.warning("machine %s: %s", machine.spec.instance_id, machine.failure)
                    self._set(machine, "failed")

        try:
            machine.work.submit(work)
        except RuntimeError:
            log.debug("machine %s: nothing more is done, it ends", machine.spec.instance_id)

    def _set(self, machine: _Machine, state: State) -> None:
        machine.state = state
        self._changed()

    def _boot(self, machine: _Machine) -> None:
        if machine.ending:
            return
        spec = machine.spec
        image = self._images.ensure(self._recipe(spec.image_id))
        vpc = self.services.vpc(spec.vpc_cidr)
        self._write_volumes(spec)
        container.create(
            self._client,
            image,
            spec,
            sandbox=self._sandbox,
            vpc=vpc,
            folder=self._folder(spec),
            authority=self.services.authority,
            user=self._cloud.image_user(spec.image_id),
        )
        self._power_on(machine)

    def _power_on(self, machine: _Machine) -> None:
        """Start the container, once its address is free.

        AWS hands an address on as soon as an instance is terminated; the old container may still
        be shutting down with it.
        """

        @retry(
            retry=retry_if_exception(lambda error: "Address already in use" in str(error)),
            stop=stop_after_delay(STOP_TIMEOUT + 10),
            wait=wait_fixed(0.5),
            reraise=True,
        )
        def start() -> None:
            if not machine.ending:
                self._container(machine).start()

        start()
        self._await_agent(machine)

    def _start(self, machine: _Machine) -> None:
        if machine.state == "booting":
            machine.ending = False
            self._power_on(machine)

    def _stop(self, machine: _Machine) -> None:
        if machine.state in ("running", "booting", "failed"):
            machine.ending = True
            self._container(machine).stop(timeout=STOP_TIMEOUT)
            self._set(machine, "stopped")

    def _reboot(self, machine: _Machine) -> None:
        if machine.state != "running":
            return
        self._set(machine, "booting")
        found = self._container(machine)
        # not a halt: what acts on the end of a machine's life must not act now
        found.kill(signal=container.REBOOT_SIGNAL)
        try:
            found.wait(timeout=STOP_TIMEOUT)
        except requests.exceptions.RequestException:
            found.kill()  # as EC2 does with a system that does not react
            found.wait(timeout=STOP_TIMEOUT)
        found.start()
        self._await_agent(machine)

    def _terminate(self, machine: _Machine) -> None:
        try:
            found = self._container(machine)
            # orderly, as EC2 does: units that act on a shutdown get their chance, and still have
            # metadata and credentials
            found.stop(timeout=STOP_TIMEOUT)
            found.remove(force=True, v=True)
        except NotFound:
            log.debug("machine %s was gone already", machine.spec.instance_id)
        shutil.rmtree(self._folder(machine.spec), ignore_errors=True)
        with self._lock:
            self._machines.pop(machine.spec.instance_id, None)
        self._set(machine, "gone")
        machine.work.shutdown(wait=False)

    def _await_agent(self, machine: _Machine) -> None:
        """Until the agent's unit runs: the machine then takes commands."""
        found = self._container(machine)

        @retry(
            retry=retry_if_not_result(bool),
            stop=stop_after_delay(BOOT_DEADLINE),
            wait=wait_fixed(0.4),
            retry_error_callback=lambda _state: False,
        )
        def running() -> bool:
            if self._closed.is_set() or machine.ending:
                return True
            code, _ = found.exec_run(["systemctl", "is-active", "-q", "amazon-ssm-agent.service"])
            return bool(code == 0)

        try:
            up = running()
        except APIError as error:
            up = False
            log.info("machine %s: %s", machine.spec.instance_id, error.explanation)
        if up:
            if not machine.ending:
                self._set(machine, "running")
            return
        words = found.logs(tail=5).decode(errors="replace").strip()
        raise SandboxError(f"{machine.spec.instance_id} did not boot: {words or 'no word of it'}")

    def _container(self, machine: _Machine) -> Any:
        return self._client.containers.get(self.container_name(machine.spec.instance_id))

    def _folder(self, spec: MachineSpec) -> Path:
        return self._state / "machines" / spec.instance_id

    def _write_volumes(self, spec: MachineSpec) -> None:
        container.write_volumes(self._folder(spec), spec.volumes, size_of=self._cloud.volume_size)

    def _show_volumes(self, machine: _Machine) -> None:
        if machine.state == "running":
            self._container(machine).exec_run(["/usr/local/sbin/sandbox-volumes"])

    # ---- what happens by itself ------------------------------------------------------------------

    def _find(self) -> None:
        """Take up the machines that an earlier server left."""
        for spec, running in container.existing(self._client, sandbox=self._sandbox):
            state: State = "running" if running else "stopped"
            self._machines[spec.instance_id] = _Machine(spec, state=state)
            self.services.vpc(spec.vpc_cidr)

    def _died(self, instance_id: str, exit_code: int) -> None:
        """A machine that went down without being asked: rebooted, powered off, or killed."""
        machine = self._machines.get(instance_id)
        if machine is None or machine.ending or machine.state != "running":
            return
        if exit_code == _REBOOT_EXIT:
            self._set(machine, "booting")
            self._begin(machine, self._start)
        else:
            self._set(machine, "stopped")
