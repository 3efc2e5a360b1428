"""File systems that outlive the sandbox's server, as on AWS they outlive the deployment.

Their files lie in the sandbox's directory or volume; here is the record that makes the embedded
AWS know them again: ids and tags, so that the next ``up`` finds them by itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.server import Cloud

_CREATE = ("CreationToken", "PerformanceMode", "Encrypted", "ThroughputMode", "Tags")


def keep(cloud: Cloud, account: str, path: Path) -> int:
    """Write down every file system that is there; returns how many."""
    records: list[dict[str, Any]] = []
    for _, region in [site for site in cloud.sites() if site[0] == account]:
        answer = cloud.invoke(
            "efs", "DescribeFileSystems", region=region, credentials=cloud.operator(account)
        )
        for found in answer["FileSystems"]:
            create = {key: found[key] for key in _CREATE if found.get(key) not in (None, "")}
            record = {"region": region, "id": found["FileSystemId"], "create": create}
            records.append(record)
    if records:
        path.write_text(json.dumps(records, indent=1))
    else:
        path.unlink(missing_ok=True)
    return len(records)


def restore(cloud: Cloud, account: str, path: Path) -> int:
    """Make the recorded file systems again, under their ids; returns how many."""
    if not path.exists():
        return 0
    records = json.loads(path.read_text())
    for record in records:
        region = record["region"]
        made = cloud.invoke(
            "efs",
            "CreateFileSystem",
            record["create"],
            region=region,
            credentials=cloud.operator(account),
        )
        efs = cloud.backend("efs", account, region)
        found = efs.file_systems_by_id.pop(made["FileSystemId"])
        found.file_system_id = record["id"]
        efs.file_systems_by_id[record["id"]] = found
        found.file_system_arn = found.file_system_arn.rpartition("/")[0] + f"/{record['id']}"
        tags = {tag["Key"]: tag["Value"] for tag in record["create"].get("Tags", [])}
        efs.tag_resource(record["id"], tags)
    return len(records)
