"""Which machines a person means, and which channel reaches them."""

from __future__ import annotations

from collections.abc import Sequence

from hubdeploy.config.names import Role
from hubdeploy.errors import ConfigError
from hubdeploy.operate.status import Machine


def machines(which: str, there: Sequence[Machine]) -> list[Machine]:
    """``all``, a role (``worker``), one of it (``worker/2``) or an instance id.

    Only running machines can be meant; :class:`ConfigError` lists those that there are.
    """
    running = [machine for machine in there if machine.state == "running"]
    found = [
        machine
        for machine in running
        if which in ("all", machine.role, machine.label, machine.instance_id)
    ]
    if found:
        return found
    if not running:
        raise ConfigError("no machine is running", hint="`hubdeploy status` shows what there is")
    labels = ", ".join(machine.label for machine in running)
    raise ConfigError(f"no running machine is called {which!r}", hint=f"there are: all, {labels}")


def single(which: str, there: Sequence[Machine]) -> Machine:
    """The one machine meant; a role with several has to be numbered."""
    found = machines(which, there)
    if len(found) > 1:
        raise ConfigError(
            f"{which!r} is {len(found)} machines",
            hint=f"one of: {', '.join(m.label for m in found)}",
        )
    return found[0]


def jump(there: Sequence[Machine]) -> Machine | None:
    """The machine through which SSH reaches those without a public address."""
    for role in (Role.LEADER, Role.WORKSTATION):
        for machine in there:
            if machine.role == role and machine.state == "running" and machine.public_ip:
                return machine
    return None
