"""What EC2 knows of instance types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hubdeploy.aws.session import Aws


@dataclass(frozen=True, kw_only=True)
class InstanceSize:
    """Memory in bytes, vCPUs, and the architectures of images that it can run."""

    memory: int
    vcpus: int
    architectures: tuple[str, ...]


def sizes(kinds: Sequence[str], *, aws: Aws) -> dict[str, InstanceSize]:
    """By type, in the order of ``kinds``; unknown types are left out. One read."""
    wanted = list(dict.fromkeys(kinds))
    if not wanted:
        return {}
    found = {
        item["InstanceType"]: InstanceSize(
            memory=int(item["MemoryInfo"]["SizeInMiB"]) << 20,
            vcpus=item["VCpuInfo"]["DefaultVCpus"],
            architectures=tuple(item["ProcessorInfo"]["SupportedArchitectures"]),
        )
        for item in aws.pages(
            "ec2",
            "describe_instance_types",
            "InstanceTypes",
            Filters=[{"Name": "instance-type", "Values": wanted}],
        )
    }
    return {kind: found[kind] for kind in wanted if kind in found}
