"""The contract between the embedded AWS and the machines behind its instances.

The embedded AWS tells its machines what its instances become (pending, stopped, terminated, a
volume attached ...) and asks them to run commands; whether a machine is a container or a
simulation is the implementation's business.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

State = Literal["booting", "running", "stopped", "gone", "failed"]
"""``gone`` is also the answer for an id never heard of; ``failed`` did not come up."""


@dataclass(frozen=True, kw_only=True)
class MachineSpec:
    """An instance as the embedded AWS holds it, at the time it is started."""

    instance_id: str
    image_id: str
    """The AMI."""
    instance_type: str
    private_ip: str
    vpc_cidr: str
    hostname: str
    """Without a domain, e.g. ``ip-10-77-0-11``."""
    tags: dict[str, str] = field(default_factory=dict)
    user_data: bytes = b""
    """Decoded."""
    zone: str
    region: str
    account: str
    role_name: str | None = None
    """Role in the instance profile; the metadata server hands out its credentials."""
    launched: datetime
    """Aware, UTC."""
    key_names: tuple[str, ...] = ()
    public_keys: tuple[str, ...] = ()
    """OpenSSH lines for the image's user."""
    spot: bool = False
    volumes: dict[str, str] = field(default_factory=dict)
    """Data volumes attached at launch: volume id -> device name (``/dev/sdf``)."""


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    """How a script ended. ``code`` is -1 when it did not end by itself."""

    code: int
    stdout: str
    stderr: str
    timed_out: bool = False
    cancelled: bool = False


class Machines(Protocol):
    """All machines of one sandbox. Every method may be called from any thread.

    ``boot`` to ``terminate`` and the volume calls begin something and return at once; what came
    of it is seen by ``state``. They may be repeated, and bear an id that is gone.
    """

    kind: Literal["docker", "simulated"]

    def boot(self, spec: MachineSpec) -> None: ...

    def stop(self, instance_id: str) -> None: ...

    def start(self, instance_id: str) -> None: ...

    def reboot(self, instance_id: str) -> None: ...

    def terminate(self, instance_id: str) -> None: ...

    def attach_volume(self, instance_id: str, volume_id: str, device: str) -> None: ...

    def detach_volume(self, instance_id: str, volume_id: str) -> None: ...

    def set_tags(self, instance_id: str, tags: dict[str, str]) -> None:
        """The instance's tags are now these (seen in the metadata)."""

    def state(self, instance_id: str) -> State: ...

    def failure(self, instance_id: str) -> str:
        """Why the machine is ``failed``, in one line; otherwise empty."""

    def found(self) -> Iterable[MachineSpec]:
        """Machines that an earlier server of the same sandbox left running, taken up again."""

    def run(
        self, instance_id: str, script: str, *, timeout: float, cancelled: threading.Event
    ) -> CommandResult:
        """Run a shell script as root and wait for its end; ``timeout`` in seconds.

        Raises :class:`hubdeploy.errors.SandboxError` when the machine is not running.
        """

    def close(self, *, remove: bool) -> None:
        """Let go of the machines; with ``remove`` end them and leave nothing behind."""
