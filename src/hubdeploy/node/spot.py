"""Two minutes before a spot instance is taken: say so, and the fleet drains it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable

from hubdeploy.config.names import Phase
from hubdeploy.errors import HubdeployError
from hubdeploy.node import phases
from hubdeploy.node.aws import Cloud
from hubdeploy.node.machine import MetadataError

log = logging.getLogger(__name__)

_EVERY = 5.0
"""Seconds; as AWS advises."""


def notice(cloud: Cloud) -> str | None:
    """``ACTION at ISO-TIME`` once the instance is to be interrupted; None before."""
    text = cloud.machine.metadata.get("spot/instance-action")
    if not text:
        return None
    try:
        said = json.loads(text)
        return f"{said['action']} at {said['time']}"
    except (ValueError, KeyError, TypeError):
        return f"soon ({text[:80]})"


def watch(
    cloud: Cloud, *, every: float = _EVERY, pause: Callable[[float], None] = time.sleep
) -> None:
    """Ask until the notice comes, say it, and go on saying it should the phase be overwritten."""
    if not cloud.machine.identity.spot:
        log.info("not a spot instance: nothing to watch")
        return
    while True:
        try:
            coming = notice(cloud)
            if coming is not None and phases.current(cloud) is not Phase.DRAINING:
                log.warning("spot interruption: %s", coming)
                phases.put(cloud, Phase.DRAINING, f"spot: {coming}")
        except (MetadataError, HubdeployError) as error:
            log.warning("%s", error)
        pause(every)
