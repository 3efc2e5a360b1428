"""What the machines fetch from the bucket: the wheel and the cookbooks, named by their content."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from hubdeploy.chef.archive import pack
from hubdeploy.config.assets import cookbooks_dir
from hubdeploy.config.names import Key
from hubdeploy.errors import AwsError
from hubdeploy.pipeline.change import Changes
from hubdeploy.steps import wheel
from hubdeploy.steps.base import Part


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """An object to be in the bucket. ``what`` is for people."""

    what: str
    key: str
    sha256: str
    data: bytes

    @property
    def reference(self) -> dict[str, str]:
        """As the release parameter names it."""
        return {"key": self.key, "sha256": self.sha256}


@cache
def packed() -> dict[str, Artifact]:
    """Wheel and cookbooks of this hubdeploy, packed once a process: ``up`` does what its plan said
    even while somebody edits the checkout."""
    built = wheel.build()
    archive = pack(cookbooks_dir())
    return {
        "wheel": Artifact(
            what=built.file_name,
            key=f"{Key.WHEEL}/{built.sha256}/{built.file_name}",
            sha256=built.sha256,
            data=built.data,
        ),
        "cookbooks": Artifact(
            what="cookbooks",
            key=f"{Key.COOKBOOKS}/{archive.sha256}.tar.gz",
            sha256=archive.sha256,
            data=archive.data,
        ),
    }


def stored(part: Part[Any]) -> frozenset[str]:
    """Keys of the artifacts that are in the bucket."""
    try:
        found = part.ctx.aws.pages(
            "s3", "list_objects_v2", "Contents", Bucket=part.names.bucket, Prefix="artifacts/"
        )
    except AwsError as error:
        if error.code == "NoSuchBucket":
            return frozenset()
        raise
    return frozenset(item["Key"] for item in found)


def upload(part: Part[Any], artifact: Artifact) -> None:
    """Put an object; S3 refuses it if it arrives damaged."""
    digest = base64.b64encode(bytes.fromhex(artifact.sha256)).decode()
    part.settle(
        "s3",
        "put_object",
        Bucket=part.names.bucket,
        Key=artifact.key,
        Body=artifact.data,
        ChecksumSHA256=digest,
    )


class Artifacts(Part[frozenset[str]]):
    """Uploaded only when their content is new."""

    name = "artifacts"
    title = "Wheel and cookbooks"
    needs = ("bucket",)

    def observe(self) -> frozenset[str]:
        return self.ctx.inventory.once("artifacts", partial(stored, self))

    def changes(self, observed: frozenset[str]) -> Changes:
        wanted = packed()
        for name, artifact in wanted.items():
            if artifact.key not in observed:
                yield self.create(
                    f"artifacts.{name}",
                    f"upload {artifact.what} ({len(artifact.data) // 1024} KB)",
                    partial(upload, self, artifact),
                    {"sha256": artifact.sha256[:12]},
                )
        self.outputs["artifacts"] = {name: item.reference for name, item in wanted.items()}
