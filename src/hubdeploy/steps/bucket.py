"""The deployment's bucket: private, encrypted, versioned, TLS only."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from hubdeploy.aws.inventory import tags_of
from hubdeploy.config.names import Key
from hubdeploy.errors import AwsError
from hubdeploy.pipeline.change import Changes, FieldChange
from hubdeploy.steps.base import Part, pairs, partition

MULTIPART_DAYS = 7
OLD_VERSION_DAYS = 30
COMMAND_DAYS = 1
BATCH = 1000
"""Objects that one DeleteObjects takes."""

_ABSENT = frozenset(
    {
        "NoSuchBucketPolicy",
        "NoSuchLifecycleConfiguration",
        "ServerSideEncryptionConfigurationNotFoundError",
        "NoSuchPublicAccessBlockConfiguration",
        "NoSuchTagSet",
        "OwnershipControlsNotFoundError",
    }
)


def lifecycle() -> list[dict[str, Any]]:
    """Command outputs go after a day, old versions after a month, aborted uploads after a week."""
    return [
        {
            "ID": "commands",
            "Status": "Enabled",
            "Filter": {"Prefix": f"{Key.COMMANDS}/"},
            "Expiration": {"Days": COMMAND_DAYS},
        },
        {
            "ID": "old-versions",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "NoncurrentVersionExpiration": {"NoncurrentDays": OLD_VERSION_DAYS},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": MULTIPART_DAYS},
        },
    ]


def policy(bucket: str, region: str) -> dict[str, Any]:
    """Refuse whoever does not use TLS."""
    arn = f"arn:{partition(region)}:s3:::{bucket}"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "TlsOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [arn, f"{arn}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }


_PRIVATE = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}
_ENCRYPTED = [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]


class Bucket(Part[dict[str, Any]]):
    """The bucket and its settings; emptied and removed by ``down``."""

    name = "bucket"
    title = "S3 bucket"
    needs = ("deployment",)

    def observe(self) -> dict[str, Any]:
        """What each read call says of the bucket; ``exists`` false if there is none."""
        found = self._get("get_bucket_tagging", "TagSet", [])
        if found is None:
            return {"exists": False}
        return {
            "exists": True,
            "tags": tags_of({"TagSet": found}),
            "versioning": self._get("get_bucket_versioning", "Status", "Suspended"),
            "private": self._get("get_public_access_block", "PublicAccessBlockConfiguration", {}),
            "encryption": [
                {
                    "ApplyServerSideEncryptionByDefault": rule.get(
                        "ApplyServerSideEncryptionByDefault"
                    )
                }
                for rule in self._get(
                    "get_bucket_encryption", "ServerSideEncryptionConfiguration", {}
                ).get("Rules", [])
            ],
            "policy": json.loads(self._get("get_bucket_policy", "Policy", "{}")),
            "lifecycle": [
                # AWS may leave an empty filter out
                {**rule, "Filter": rule.get("Filter") or {"Prefix": ""}}
                for rule in self._get("get_bucket_lifecycle_configuration", "Rules", [])
            ],
        }

    def _get(self, operation: str, key: str, default: Any) -> Any:
        """One setting; ``default`` where it is not set, None where there is no bucket."""
        try:
            return self.call("s3", operation, Bucket=self.names.bucket).get(key, default)
        except AwsError as error:
            if error.code == "NoSuchBucket":
                return None
            if error.code in _ABSENT:
                return default
            raise

    def changes(self, observed: dict[str, Any]) -> Changes:
        bucket = self.names.bucket
        self.outputs["bucket"] = bucket
        if not observed["exists"]:
            yield self.create("bucket", f"S3 bucket {bucket}", self._create)
        tags = self.tags("bucket")
        old = observed.get("tags", {})
        yield from self.retag(
            old,
            tags,
            # S3 replaces the whole set
            lambda new: self.settle(
                "s3", "put_bucket_tagging", Bucket=bucket, Tagging={"TagSet": pairs({**old, **new})}
            ),
        )
        yield from self._setting(
            observed,
            "private",
            _PRIVATE,
            "put_public_access_block",
            "PublicAccessBlockConfiguration",
        )
        yield from self._setting(
            observed,
            "encryption",
            _ENCRYPTED,
            "put_bucket_encryption",
            "ServerSideEncryptionConfiguration",
            lambda value: {"Rules": value},
        )
        yield from self._setting(
            observed,
            "versioning",
            "Enabled",
            "put_bucket_versioning",
            "VersioningConfiguration",
            lambda value: {"Status": value},
        )
        yield from self._setting(
            observed,
            "policy",
            policy(bucket, self.config.region),
            "put_bucket_policy",
            "Policy",
            json.dumps,
        )
        yield from self._setting(
            observed,
            "lifecycle",
            lifecycle(),
            "put_bucket_lifecycle_configuration",
            "LifecycleConfiguration",
            lambda value: {"Rules": value},
        )

    def _create(self) -> None:
        region = self.config.region
        where = (
            {}
            if region == "us-east-1"
            else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        )
        try:
            # AWS takes a while to give the name of a deleted bucket free
            self.settle("s3", "create_bucket", Bucket=self.names.bucket, **where)
        except AwsError as error:
            # ours, made by a run that was killed, or seen late
            if error.code == "BucketAlreadyOwnedByYou":
                return
            if error.code == "BucketAlreadyExists":
                raise AwsError(
                    f"the bucket name {self.names.bucket} belongs to another account",
                    hint="choose another name for the deployment",
                    code=error.code,
                    operation=error.operation,
                ) from error
            raise

    def _setting(
        self,
        observed: dict[str, Any],
        key: str,
        wanted: Any,
        operation: str,
        parameter: str,
        form: Callable[[Any], Any] = lambda value: value,
    ) -> Changes:
        old = observed.get(key)
        if old != wanted:
            yield self.update(
                "bucket",
                f"{key} of the bucket",
                partial(
                    self.settle,
                    "s3",
                    operation,
                    Bucket=self.names.bucket,
                    **{parameter: form(wanted)},
                ),
                (FieldChange(name=key, old=_short(old), new=_short(wanted)),),
            )

    def destroy(self, observed: dict[str, Any]) -> Changes:
        if observed["exists"]:
            bucket = self.names.bucket
            yield self.delete("bucket", f"S3 bucket {bucket} and all in it", self._end)

    def _end(self) -> None:
        """Empty and remove; the lock goes with the rest, being the last thing that is held."""
        bucket = self.names.bucket
        while True:
            found = self.call("s3", "list_object_versions", Bucket=bucket, MaxKeys=BATCH)
            objects = [
                {"Key": item["Key"], "VersionId": item["VersionId"]}
                for item in (*found.get("Versions", []), *found.get("DeleteMarkers", []))
            ]
            if not objects:
                break
            answer = self.call(
                "s3", "delete_objects", Bucket=bucket, Delete={"Objects": objects, "Quiet": True}
            )
            for error in answer.get("Errors", []):
                raise AwsError(
                    f"s3 delete_objects: {error.get('Key')}: {error.get('Message')}",
                    code=str(error.get("Code", "")),
                    operation="delete_objects",
                )
        self.remove("s3", "delete_bucket", Bucket=bucket)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."
