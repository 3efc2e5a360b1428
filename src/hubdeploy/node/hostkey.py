"""The machine's public SSH host key, published so that nobody has to trust at first sight."""

from __future__ import annotations

import logging

from hubdeploy.node.aws import Cloud

log = logging.getLogger(__name__)


def publish(cloud: Cloud) -> bool:
    """Write the key's line to SSM; whether it was new there. Without sshd there is none."""
    file = cloud.machine.path("/etc/ssh/ssh_host_ed25519_key.pub")
    if not file.is_file():
        log.warning("no ed25519 host key on this machine")
        return False
    kind, key = file.read_text().split()[:2]
    line = f"{kind} {key}"
    name = cloud.machine.names.parameters.ssh_host_key(cloud.machine.identity.instance_id)
    if cloud.parameter(name) == line:
        return False
    cloud.put_parameter(name, line)
    return True
