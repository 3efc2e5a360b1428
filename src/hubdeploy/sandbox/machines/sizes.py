"""How big an instance type is, and the /proc/meminfo that makes a machine believe it."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from hubdeploy.errors import SandboxError

_MIB = 1024**2


@dataclass(frozen=True, kw_only=True)
class Size:
    vcpus: int
    memory: int
    """Bytes, as the price list has it; the kernel of a real machine keeps some of it."""


@functools.cache
def size_of(instance_type: str) -> Size:
    """Size of an EC2 instance type, from the data that the embedded AWS itself answers with."""
    from moto.ec2.models.instance_types import INSTANCE_TYPES

    try:
        found = INSTANCE_TYPES[instance_type]
    except KeyError:
        raise SandboxError(
            f"there is no EC2 instance type {instance_type}",
            hint="see aws ec2 describe-instance-types",
        ) from None
    return Size(
        vcpus=int(found["VCpuInfo"]["DefaultVCpus"]),
        memory=int(found["MemoryInfo"]["SizeInMiB"]) * _MIB,
    )


def meminfo(memory: int) -> str:
    """A /proc/meminfo of a machine with *memory* bytes that has just booted.

    About 3 % are the kernel's own, as measured on t3 instances; Docker reads ``MemTotal``.
    """
    total = memory // 1024 * 97 // 100
    free = total * 90 // 100
    values = {
        "MemTotal": total,
        "MemFree": free,
        "MemAvailable": free,
        "Buffers": 0,
        "Cached": total - free,
        "SwapCached": 0,
        "SwapTotal": 0,
        "SwapFree": 0,
        "Shmem": 0,
        "Slab": 0,
    }
    return "".join(f"{name + ':':<16}{value:>8} kB\n" for name, value in values.items())


def cpuset(vcpus: int, *, host_cpus: int) -> str:
    """The host's processors that a machine of *vcpus* may use; not more than there are."""
    last = max(1, min(vcpus, host_cpus)) - 1
    return f"0-{last}" if last else "0"
