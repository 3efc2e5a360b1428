"""How an instance is laid out as a container: its rights, its size, what it sees of the host."""

from __future__ import annotations

import base64
import dataclasses
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import docker

from hubdeploy.sandbox.engine import SANDBOX_LABEL
from hubdeploy.sandbox.machines import sizes
from hubdeploy.sandbox.machines.interface import MachineSpec
from hubdeploy.sandbox.machines.network import PART_LABEL, Vpc

log = logging.getLogger(__name__)

SPEC_LABEL = f"{SANDBOX_LABEL}.spec"
INSTANCE_LABEL = f"{SANDBOX_LABEL}.instance"
STOP_SIGNAL = "SIGRTMIN+3"
"""systemd's signal for an orderly halt."""
REBOOT_SIGNAL = "SIGINT"
"""systemd's signal for an orderly reboot: what Ctrl-Alt-Del is to a machine."""
_ALL_CAPABILITIES = (
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
)
"""In the order of their bits, see capabilities(7)."""


def name_of(sandbox: str, instance_id: str) -> str:
    return f"{sandbox}-{instance_id}"


def missing_capabilities(status: str) -> list[str]:
    """Capabilities that this host cannot give, from the text of ``/proc/self/status``.

    A container that asks for one beyond the bounding set does not start at all.
    """
    for line in status.splitlines():
        if line.startswith("CapBnd:"):
            bounds = int(line.split()[1], 16)
            return [name for bit, name in enumerate(_ALL_CAPABILITIES) if not bounds >> bit & 1]
    return []


def encode(spec: MachineSpec) -> str:
    """The specification as a label, so that a later server takes the machine up again."""
    fields = dataclasses.asdict(spec)
    fields["user_data"] = base64.b64encode(spec.user_data).decode()
    fields["launched"] = spec.launched.isoformat()
    return json.dumps(fields)


def decode(label: str) -> MachineSpec:
    fields = json.loads(label)
    fields["user_data"] = base64.b64decode(fields["user_data"])
    fields["launched"] = datetime.fromisoformat(fields["launched"])
    fields["key_names"] = tuple(fields["key_names"])
    fields["public_keys"] = tuple(fields["public_keys"])
    return MachineSpec(**fields)


def existing(client: docker.DockerClient, *, sandbox: str) -> Iterator[tuple[MachineSpec, bool]]:
    """The sandbox's machines in the engine, and whether each runs."""
    query: dict[str, str | list[str] | bool] = {
        "label": [f"{SANDBOX_LABEL}={sandbox}", INSTANCE_LABEL]
    }
    for found in client.containers.list(all=True, filters=query):
        try:
            spec = decode(found.labels[SPEC_LABEL])
        except (KeyError, ValueError, TypeError) as error:
            log.warning("container %s is not a machine of this version: %s", found.name, error)
            continue
        yield spec, found.status == "running"


def write_volumes(
    folder: Path, volumes: Mapping[str, str], *, size_of: Callable[[str], int]
) -> None:
    """Tell a machine its EBS volumes (id -> device), for ``sandbox-volumes`` in the image.

    ``folder`` is the machine's own; ``size_of`` gives GiB.
    """
    entries = folder / "volumes"
    entries.mkdir(parents=True, exist_ok=True)
    for entry in entries.iterdir():
        if entry.name not in volumes:
            entry.unlink()
    for volume, device in volumes.items():
        (entries / volume).write_text(f"{device} {size_of(volume)}\n")


def create(
    client: docker.DockerClient,
    image: str,
    spec: MachineSpec,
    *,
    sandbox: str,
    vpc: Vpc,
    folder: Path,
    authority: bytes,
    user: str,
) -> str:
    """Make the container (not started) and return its id.

    ``folder`` is the machine's own on the host (``meminfo``, ``volumes/``); ``authority`` is
    the certificate (PEM) that the machine shall trust; ``user`` is the image's login.
    """
    (folder / "volumes").mkdir(parents=True, exist_ok=True)
    (folder / "meminfo").write_text(sizes.meminfo(sizes.size_of(spec.instance_type).memory))
    (folder / "ca.crt").write_bytes(authority)
    address = client.api.create_endpoint_config(ipv4_address=spec.private_ip)
    made = client.api.create_container(
        image,
        name=name_of(sandbox, spec.instance_id),
        hostname=spec.hostname,
        stop_signal=STOP_SIGNAL,
        environment={
            "SANDBOX_ROUTER": vpc.router,
            "SANDBOX_ENDPOINT": vpc.endpoint,
            "SANDBOX_USER": user,
        },
        labels={
            SANDBOX_LABEL: sandbox,
            PART_LABEL: "machine",
            INSTANCE_LABEL: spec.instance_id,
            SPEC_LABEL: encode(spec),
        },
        networking_config={"EndpointsConfig": {vpc.network: address}},
        host_config={
            **_host_config(client, spec, sandbox, folder),
            "NetworkMode": vpc.network,
        },
    )
    return str(made["Id"])


def rights(client: docker.DockerClient, **more: Any) -> dict[str, Any]:
    """A host configuration with all rights that this host can give; ``more`` is added to it."""
    config: dict[str, Any] = client.api.create_host_config(
        cap_add=["ALL"],
        cap_drop=missing_capabilities(Path("/proc/self/status").read_text()),
        security_opt=["seccomp=unconfined", "apparmor=unconfined"],
        device_cgroup_rules=["a *:* rwm"],
        cgroupns="private",
        tmpfs={"/run": "rw,mode=755,exec", "/run/lock": "rw", "/tmp": "rw,mode=1777,exec"},
        **more,
    )
    # what the command line calls systempaths=unconfined: /proc as the kernel shows it
    config["MaskedPaths"] = []
    config["ReadonlyPaths"] = []
    return config


def _host_config(
    client: docker.DockerClient, spec: MachineSpec, sandbox: str, folder: Path
) -> dict[str, Any]:
    size = sizes.size_of(spec.instance_type)
    return rights(
        client,
        mem_limit=size.memory,
        cpuset_cpus=sizes.cpuset(size.vcpus, host_cpus=os.cpu_count() or 1),
        binds=[
            f"{sandbox}-efs:/sandbox/efs:rw",
            f"{sandbox}-ebs:/sandbox/ebs:rw",
            f"{folder}:/sandbox/machine:ro",
            f"{folder / 'meminfo'}:/proc/meminfo:ro",
        ],
    )
