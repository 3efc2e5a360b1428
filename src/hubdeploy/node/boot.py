"""The boot of each kind of machine: a list of stages, each idempotent, gone through in order.

Runs at every start of the system. What is marked ``once`` is left out when it succeeded before on
this instance; the rest looks itself whether anything is to be done. A reboot, a crash or a second
call in the middle only means that the list is gone through again.
"""

from __future__ import annotations

import fcntl
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hubdeploy.config.names import Phase, Role
from hubdeploy.errors import AwsError, HubdeployError
from hubdeploy.node import phases, system
from hubdeploy.node.aws import Cloud
from hubdeploy.node.waiting import patiently

log = logging.getLogger(__name__)

UNIT = "hubdeploy-boot.service"

LATE_NETWORK = 600.0
"""Seconds that the network may take to come up: nobody starts the boot again by itself."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of a boot: the phase it is shown as, and what it does."""

    name: str
    phase: Phase
    action: Callable[[Cloud], object]
    once: bool = False


def stages(role: Role) -> list[Stage]:
    """What a machine of this role goes through, in order."""
    from hubdeploy.node import (
        chefserver,
        client,
        converging,
        hostkey,
        hubstate,
        swarm,
        units,
        workstation,
    )

    common = [
        Stage(name="logs and shutdown units", phase=Phase.BOOTING, action=units.common),
        Stage(name="SSH host key", phase=Phase.BOOTING, action=hostkey.publish),
    ]
    if role is Role.CHEF:
        return [
            *common,
            Stage(
                name="install the Chef server",
                phase=Phase.CONFIGURING,
                action=chefserver.install,
                once=True,
            ),
            Stage(
                name="restore the last backup",
                phase=Phase.CONFIGURING,
                action=chefserver.restore,
                once=True,
            ),
            Stage(
                name="configure the Chef server",
                phase=Phase.CONFIGURING,
                action=chefserver.configure,
            ),
            Stage(name="publish", phase=Phase.CONFIGURING, action=chefserver.publish),
            Stage(name="backup timer", phase=Phase.CONFIGURING, action=units.chef_server),
        ]
    if role is Role.WORKSTATION:
        return [
            *common,
            Stage(
                name="Chef client's package",
                phase=Phase.CONFIGURING,
                action=workstation.keep_client,
                once=True,
            ),
            Stage(
                name="for the Chef server", phase=Phase.WAITING, action=workstation.wait_for_chef
            ),
            Stage(name="cookbooks and roles", phase=Phase.CONFIGURING, action=workstation.publish),
            Stage(name="watch unit", phase=Phase.CONFIGURING, action=units.workstation),
        ]
    joined = [
        *common,
        Stage(name="for the workstation", phase=Phase.WAITING, action=client.wait_for_workstation),
        Stage(name="for the Chef server", phase=Phase.WAITING, action=client.wait_for_chef),
        Stage(name="Chef client", phase=Phase.REGISTERING, action=client.install),
        Stage(name="Chef node", phase=Phase.REGISTERING, action=client.register),
        Stage(
            name="first converge",
            phase=Phase.CONVERGING,
            action=converging.converge,
            once=True,
        ),
        Stage(name="converge timer", phase=Phase.CONVERGING, action=units.node),
    ]
    if role is Role.LEADER:
        return [
            *joined,
            Stage(name="swarm", phase=Phase.JOINING, action=swarm.lead),
            Stage(name="hub", phase=Phase.JOINING, action=hubstate.wait_and_publish),
        ]
    return [*joined, Stage(name="swarm", phase=Phase.JOINING, action=swarm.join)]


@contextmanager
def _alone(cloud: Cloud) -> Iterator[None]:
    """One boot at a time."""
    file = cloud.machine.state("boot.lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HubdeployError(
                "Another boot of this machine is running", hint=f"systemctl status {UNIT}"
            ) from None
        yield


def _done(cloud: Cloud) -> list[str]:
    """Names of the stages that succeeded on this instance (an image made of it starts anew)."""
    try:
        kept = json.loads(cloud.machine.state("boot.json").read_text())
    except (FileNotFoundError, ValueError):
        return []
    mine = kept.get("instance") == cloud.machine.identity.instance_id
    return list(kept.get("done", [])) if mine else []


def _record(cloud: Cloud, done: list[str]) -> None:
    data = {"instance": cloud.machine.identity.instance_id, "done": done, "at": phases.now()}
    system.write(cloud.machine.state("boot.json"), json.dumps(data))


def _tell(cloud: Cloud, stage: Stage) -> None:
    """A phase on the way that cannot be written does not end the boot."""
    try:
        phases.put(cloud, stage.phase, stage.name)
    except AwsError as error:
        log.warning("phase %s could not be written: %s", stage.phase, error)


def boot(cloud: Cloud, todo: list[Stage] | None = None) -> None:
    """Go through the stages; the phase says where, and at the end ``ready`` or ``failed``.

    Raises:
        HubdeployError: a stage failed (the phase has been set), or the metadata stayed silent.
    """
    cloud.machine.patience = LATE_NETWORK
    with _alone(cloud):
        done = _done(cloud)
        shown: tuple[Phase, str] | None = None
        for stage in todo if todo is not None else stages(cloud.machine.role):
            if stage.once and stage.name in done:
                continue
            if shown != (stage.phase, stage.name):
                _tell(cloud, stage)
                shown = (stage.phase, stage.name)
            try:
                stage.action(cloud)
            except Exception as error:
                tail = system.journal_tail(UNIT)
                more = getattr(error, "output", "")
                reason = str(error) or type(error).__name__
                phases.put(
                    cloud,
                    Phase.FAILED,
                    f"{stage.name}: {reason}",
                    log_tail=f"{tail}\n{more}" if more else tail,
                )
                raise
            if stage.name not in done:
                done.append(stage.name)
                _record(cloud, done)
        # who waits for it would wait for ever: many machines at once meet SSM's limit
        patiently(lambda: phases.put(cloud, Phase.READY), on=(AwsError,), seconds=600)
