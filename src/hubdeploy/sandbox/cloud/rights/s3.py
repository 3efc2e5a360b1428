"""S3's actions, whose names are not those of the operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hubdeploy.sandbox.cloud.rights.needs import Need, Unmapped

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.calls import Call
    from hubdeploy.sandbox.cloud.server import Cloud

_OBJECT = {
    "GetObject": "GetObject",
    "HeadObject": "GetObject",
    "PutObject": "PutObject",
    "CopyObject": "PutObject",
    "DeleteObject": "DeleteObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "AbortMultipartUpload": "AbortMultipartUpload",
    "GetObjectTagging": "GetObjectTagging",
    "PutObjectTagging": "PutObjectTagging",
}
_BUCKET = {
    "HeadBucket": "ListBucket",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "CreateBucket": "CreateBucket",
    "DeleteBucket": "DeleteBucket",
    "GetBucketLocation": "GetBucketLocation",
    "GetBucketTagging": "GetBucketTagging",
    "PutBucketTagging": "PutBucketTagging",
    "DeleteBucketTagging": "PutBucketTagging",
    "GetBucketVersioning": "GetBucketVersioning",
    "PutBucketVersioning": "PutBucketVersioning",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "DeleteBucketEncryption": "PutEncryptionConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetBucketPolicy": "GetBucketPolicy",
    "PutBucketPolicy": "PutBucketPolicy",
    "DeleteBucketPolicy": "DeleteBucketPolicy",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "GetBucketOwnershipControls": "GetBucketOwnershipControls",
    "PutBucketOwnershipControls": "PutBucketOwnershipControls",
}


def needs(_cloud: Cloud, call: Call) -> list[Need]:
    operation, params = call.operation, call.params
    bucket = f"arn:aws:s3:::{params.get('Bucket', '')}"
    if operation == "ListBuckets":
        return [Need(action="s3:ListAllMyBuckets", resource="*")]
    if operation in _BUCKET:
        context: dict[str, str | list[str]] = {}
        if operation.startswith("ListObject"):
            context["s3:prefix"] = params.get("Prefix") or ""
        wanted = [Need(action=f"s3:{_BUCKET[operation]}", resource=bucket, context=context)]
        if operation == "CreateBucket" and params.get("CreateBucketConfiguration", {}).get("Tags"):
            wanted.append(Need(action="s3:TagResource", resource=bucket))
        return wanted
    if operation == "DeleteObjects":
        return [
            Need(
                action="s3:DeleteObjectVersion" if item.get("VersionId") else "s3:DeleteObject",
                resource=f"{bucket}/{item['Key']}",
            )
            for item in params["Delete"]["Objects"]
        ]
    if operation not in _OBJECT:
        raise Unmapped(call.name)
    action = _OBJECT[operation]
    if params.get("VersionId") and action in ("GetObject", "DeleteObject"):
        action += "Version"
    wanted = [Need(action=f"s3:{action}", resource=f"{bucket}/{params['Key']}")]
    if operation == "PutObject" and params.get("Tagging"):
        wanted.append(Need(action="s3:PutObjectTagging", resource=f"{bucket}/{params['Key']}"))
    if operation == "CopyObject":
        source = params["CopySource"]
        path = source if isinstance(source, str) else f"{source['Bucket']}/{source['Key']}"
        wanted.append(Need(action="s3:GetObject", resource=f"arn:aws:s3:::{path.lstrip('/')}"))
    return wanted
