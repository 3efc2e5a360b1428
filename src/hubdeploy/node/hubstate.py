"""Does the hub answer through nginx? Then say where it is."""

from __future__ import annotations

import json
import logging
import ssl
import urllib.request
from typing import Any

from hubdeploy.node import phases, release
from hubdeploy.node.aws import Cloud
from hubdeploy.node.waiting import wait_for

log = logging.getLogger(__name__)

LOCAL = "https://127.0.0.1"


def ask(path: str, *, host: str, base: str = LOCAL) -> bytes | None:
    """What nginx on this machine answers for a path; None for anything but 200."""
    # over loopback, and only to see whether it answers: the certificate is for the public name
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    request = urllib.request.Request(base + path, headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            body: bytes = answer.read()
            return body if answer.status == 200 else None
    except OSError as error:
        log.debug("hub: %s", error)
        return None


def wait_and_publish(cloud: Cloud) -> dict[str, Any]:
    """Wait for the hub, then write the parameter ``hub/state``; its content.

    Raises:
        WaitTimeout: it does not answer.
    """
    settings = release.settings(cloud)
    host = settings["hub_host"]
    wait_for(
        "the hub behind nginx",
        lambda: ask("/hub/health", host=host),
        seconds=settings["waits"]["hub"],
        every=1,
    )
    said = ask("/hub/api/", host=host)
    version = ""
    if said:
        try:
            version = str(json.loads(said).get("version", ""))
        except ValueError:
            log.warning("the hub's API answered without its version")
    state = {
        "url": settings["hub_url"],
        "instance": cloud.machine.identity.instance_id,
        "version": version,
    }
    name = cloud.machine.names.parameters.hub_state
    before = cloud.parameter_json(name) or {}
    if {key: before.get(key) for key in state} != state:
        cloud.put_parameter(name, json.dumps({**state, "at": phases.now()}))
    return state
