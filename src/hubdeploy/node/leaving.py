"""The end of a machine's life: out of the swarm, off the Chef server."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

from hubdeploy.config.names import Phase, Role
from hubdeploy.errors import HubdeployError
from hubdeploy.node import client, phases, swarm, system
from hubdeploy.node.aws import Cloud

log = logging.getLogger(__name__)

_ENDING = re.compile(r"\b(poweroff|halt)\.target\s+start\b")


def is_ending(cloud: Cloud) -> bool:
    """Whether the system goes down for good; a reboot, or a unit being stopped, does not count.

    EC2 ends and stops an instance by the power button: poweroff.target. A container is stopped
    by halt.target.
    """
    jobs = system.systemctl(cloud.machine.root, "list-jobs", "--no-legend", "--full", check=False)
    return _ENDING.search(jobs) is not None


def leave(cloud: Cloud, *, force: bool = False) -> bool:
    """Say ``draining``, leave swarm (a worker) and Chef server; whether this was the end.

    What fails is logged and does not keep the machine: the fleet service tidies up after the dead.
    A machine that is only stopped registers anew at its next start.
    """
    if not force and not is_ending(cloud):
        log.info("not the end of this machine: nothing to leave")
        return False
    steps: list[Callable[[], object]] = [
        lambda: phases.put(cloud, Phase.DRAINING, "shutting down"),
        lambda: client.forget(cloud),
    ]
    if cloud.machine.role is Role.WORKER:
        steps.append(lambda: swarm.leave(cloud))
    for step in steps:
        try:
            step()
        except HubdeployError as error:
            log.warning("%s", error)
    return True
