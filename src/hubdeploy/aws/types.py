"""What EC2 knows of instance types."""

from __future__ import annotations

from collections.abc import Sequence

from hubdeploy.aws.session import Aws


def memory(kinds: Sequence[str], *, aws: Aws) -> dict[str, int]:
    """Bytes of memory by type, in the order of ``kinds``; unknown types are left out. One read."""
    wanted = list(dict.fromkeys(kinds))
    if not wanted:
        return {}
    found = {
        item["InstanceType"]: int(item["MemoryInfo"]["SizeInMiB"]) << 20
        for item in aws.pages(
            "ec2",
            "describe_instance_types",
            "InstanceTypes",
            Filters=[{"Name": "instance-type", "Values": wanted}],
        )
    }
    return {kind: found[kind] for kind in wanted if kind in found}
