"""What outlives the sandbox's server, as on AWS it outlives the deployment.

File systems, volumes that `down` marked as kept, and secure parameters. Contents of files and
volumes lie in the sandbox's directory or in Docker; here is the record that makes the embedded AWS
know them again, under their ids, so that the next ``up`` finds them by itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubdeploy.config.names import TAG_KEEP

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.server import Cloud

RECORD = "kept.json"
"""Its name in the sandbox's directory."""
_FILES = ("CreationToken", "PerformanceMode", "Encrypted", "ThroughputMode", "Tags")
_VOLUME = ("AvailabilityZone", "Size", "VolumeType", "Encrypted")
_PARAMETER = ("Name", "Value", "Type")


def keep(cloud: Cloud, account: str, path: Path) -> int:
    """Write down all that is there, readable by its owner alone; returns how many records."""
    records = [
        record
        for _, region in [site for site in cloud.sites() if site[0] == account]
        for record in _Site(cloud, account, region).records()
    ]
    if records:
        _write(path, records)
    else:
        path.unlink(missing_ok=True)
    return len(records)


def note_files(cloud: Cloud, account: str, path: Path) -> None:
    """Record file systems as soon as they are there: a server that crashes records nothing.

    Only adds. What else is recorded stays until the orderly end, when all is written anew.
    """
    known = read(path)
    ids = {record["id"] for record in known}
    found = [
        record
        for _, region in [site for site in cloud.sites() if site[0] == account]
        for record in _Site(cloud, account, region).files()
        if record["id"] not in ids
    ]
    if found:
        _write(path, [*known, *found])


def _write(path: Path, records: list[dict[str, Any]]) -> None:
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps(records, indent=1))
    fresh.replace(path)


def restore(cloud: Cloud, account: str, path: Path) -> int:
    """Make all that is recorded again; returns how many records."""
    records = read(path)
    for record in records:
        _Site(cloud, account, record["region"]).restore(record)
    return len(records)


def read(path: Path) -> list[dict[str, Any]]:
    """The records: ``{"kind": "files" | "volume" | "parameter", "region", "id", "create"}``."""
    return list(json.loads(path.read_text())) if path.exists() else []


def parts(path: Path) -> frozenset[str]:
    """Whose contents have to stay with the record: ``efs``, ``ebs``."""
    contents = {"files": "efs", "volume": "ebs"}
    return frozenset(contents[r["kind"]] for r in read(path) if r["kind"] in contents)


class _Site:
    def __init__(self, cloud: Cloud, account: str, region: str) -> None:
        self._cloud = cloud
        self._account = account
        self._region = region

    def _call(self, service: str, action: str, params: dict[str, Any]) -> dict[str, Any]:
        operator = self._cloud.operator(self._account)
        return self._cloud.invoke(
            service, action, params, region=self._region, credentials=operator
        )

    def files(self) -> list[dict[str, Any]]:
        found = self._call("efs", "DescribeFileSystems", {})["FileSystems"]
        return [self._record("files", f["FileSystemId"], f, _FILES) for f in found]

    def records(self) -> list[dict[str, Any]]:
        filters = [{"Name": "tag-key", "Values": [TAG_KEEP]}]
        volumes = self._call("ec2", "DescribeVolumes", {"Filters": filters})["Volumes"]
        return [
            *self.files(),
            *(self._record("volume", v["VolumeId"], v, (*_VOLUME, "Tags")) for v in volumes),
            *(self._record("parameter", p["Name"], p, _PARAMETER) for p in self._secrets()),
        ]

    def _secrets(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        token: dict[str, str] = {}
        while True:
            page = self._call(
                "ssm",
                "GetParametersByPath",
                {"Path": "/", "Recursive": True, "WithDecryption": True, **token},
            )
            found += [p for p in page["Parameters"] if p["Type"] == "SecureString"]
            if not page.get("NextToken"):
                return found
            token = {"NextToken": page["NextToken"]}

    def _record(
        self, kind: str, ident: str, found: dict[str, Any], keys: tuple[str, ...]
    ) -> dict[str, Any]:
        create = {key: found[key] for key in keys if found.get(key) not in (None, "")}
        return {"kind": kind, "region": self._region, "id": ident, "create": create}

    def restore(self, record: dict[str, Any]) -> None:
        create = record["create"]
        match record["kind"]:
            case "files":
                self._files(record["id"], create)
            case "volume":
                self._volume(record["id"], create)
            case "parameter":
                self._call("ssm", "PutParameter", {**create, "Overwrite": True})

    def _files(self, ident: str, create: dict[str, Any]) -> None:
        made = self._call("efs", "CreateFileSystem", create)
        efs = self._cloud.backend("efs", self._account, self._region)
        found = efs.file_systems_by_id.pop(made["FileSystemId"])
        found.file_system_id = ident
        efs.file_systems_by_id[ident] = found
        found.file_system_arn = found.file_system_arn.rpartition("/")[0] + f"/{ident}"
        tags = {tag["Key"]: tag["Value"] for tag in create.get("Tags", [])}
        efs.tag_resource(ident, tags)

    def _volume(self, ident: str, create: dict[str, Any]) -> None:
        tags = create.get("Tags", [])
        made = self._call("ec2", "CreateVolume", {k: create[k] for k in _VOLUME if k in create})
        ec2 = self._cloud.backend("ec2", self._account, self._region)
        found = ec2.volumes.pop(made["VolumeId"])
        found.id = ident
        ec2.volumes[ident] = found
        self._call("ec2", "CreateTags", {"Resources": [ident], "Tags": tags})
