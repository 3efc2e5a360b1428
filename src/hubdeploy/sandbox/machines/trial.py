"""Tries whether this host lets a container do what a machine has to do."""

from __future__ import annotations

import contextlib
import secrets

import docker
from docker.errors import APIError, NotFound

from hubdeploy.sandbox.engine import NoEngine
from hubdeploy.sandbox.machines import container

_SCRIPT = """set -e
mount --make-rshared /
mkdir -p /tmp/mount
mount -t tmpfs none /tmp/mount
ip link add trial type bridge
iptables -w -t nat -L -n > /dev/null
mknod /dev/trial c 1 3
echo > /dev/trial
group=$(awk '$3 == "cgroup" || $3 == "cgroup2" {print $2; exit}' /proc/self/mounts)
mount -o remount,bind,rw "$group"
mkdir "$group/trial"
rmdir "$group/trial"
"""


def check(client: docker.DockerClient, *, image: str) -> None:
    """Run the machine image's tools with a machine's rights, for half a second.

    Raises :class:`NoEngine` with what was refused.
    """
    name = f"hubdeploy-trial-{secrets.token_hex(4)}"
    try:
        made = client.api.create_container(
            image,
            ["/bin/sh", "-c", _SCRIPT],
            name=name,
            labels={"hubdeploy.trial": "yes"},
            host_config=container.rights(client),
            network_disabled=True,
        )
        client.api.start(made["Id"])
        code = client.api.wait(made["Id"], timeout=60)["StatusCode"]
        words = client.api.logs(made["Id"]).decode(errors="replace").strip()
    except APIError as error:
        code, words = 1, str(error.explanation)
    finally:
        with contextlib.suppress(NotFound):
            client.containers.get(name).remove(force=True, v=True)
    if code != 0:
        last = words.splitlines()[-1] if words else f"a trial ended with code {code}"
        raise NoEngine(
            f"containers on this host may not do what a machine does: {last}",
            hint="a virtual machine or a host of its own lets them; inside a container itself, "
            "run that one with --privileged",
        )
