"""S3 bucket policies with their conditions.

moto ignores conditions, so that 'deny what is not encrypted in transit' would deny everything. The
policies are kept here, out of moto's sight, and their denials are evaluated in full. The way to
the embedded AWS counts as encrypted: it does not leave the machine.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hubdeploy.sandbox.cloud.fault import AwsFault
from hubdeploy.sandbox.cloud.hooks import Hooks
from hubdeploy.sandbox.cloud.rights.needs import Unmapped
from hubdeploy.sandbox.cloud.rights.policy import as_list, evaluate
from hubdeploy.sandbox.cloud.rights.s3 import needs

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.calls import Call
    from hubdeploy.sandbox.cloud.server import Cloud

hooks = Hooks()


def _policies(cloud: Cloud, call: Call) -> dict[str, str]:
    return cloud.store(call.account, "aws", "bucket-policies", dict)


def _must_exist(cloud: Cloud, call: Call) -> str:
    name: str = call.params["Bucket"]
    if name not in cloud.backend("s3", call.account, call.region).buckets:
        raise AwsFault("NoSuchBucket", "The specified bucket does not exist")
    return name


@hooks.take("s3", "PutBucketPolicy")
def put(cloud: Cloud, call: Call) -> dict[str, Any]:
    name = _must_exist(cloud, call)
    text = call.params["Policy"]
    try:
        document = json.loads(text)
        resources = [r for s in as_list(document["Statement"]) for r in as_list(s["Resource"])]
    except (ValueError, KeyError) as error:
        raise AwsFault("MalformedPolicy", "Policies must be valid JSON") from error
    if not all(
        r == f"arn:aws:s3:::{name}" or r.startswith(f"arn:aws:s3:::{name}/") for r in resources
    ):
        raise AwsFault("MalformedPolicy", "Policy has invalid resource")
    _policies(cloud, call)[name] = text
    return {}


@hooks.take("s3", "GetBucketPolicy")
def get(cloud: Cloud, call: Call) -> dict[str, Any]:
    name = _must_exist(cloud, call)
    found = _policies(cloud, call).get(name)
    if found is None:
        raise AwsFault("NoSuchBucketPolicy", "The bucket policy does not exist", status=404)
    return {"Policy": found}


@hooks.take("s3", "DeleteBucketPolicy")
def delete(cloud: Cloud, call: Call) -> dict[str, Any]:
    _policies(cloud, call).pop(_must_exist(cloud, call), None)
    return {}


@hooks.amend("s3", "DeleteBucket")
def bucket_deleted(cloud: Cloud, call: Call, _result: dict[str, Any]) -> None:
    _policies(cloud, call).pop(call.params["Bucket"], None)


_GUARDED = (
    *("GetObject", "HeadObject", "PutObject", "DeleteObject", "DeleteObjects", "CopyObject"),
    *("ListObjects", "ListObjectsV2", "ListObjectVersions", "HeadBucket", "CreateMultipartUpload"),
)


@hooks.check("s3", *_GUARDED)
def foreign(_cloud: Cloud, call: Call) -> None:
    """Buckets' names are everybody's; another account's bucket is closed until it is opened."""
    from moto.s3.models import s3_backends

    _, owner = s3_backends.bucket_accounts.get(call.params.get("Bucket", ""), ("", call.account))
    if owner != call.account:
        raise AwsFault("AccessDenied", "Access Denied")


@hooks.check("s3", *_GUARDED)
def denied(cloud: Cloud, call: Call) -> None:
    """The policy's denials; its allowances matter to other accounts only."""
    text = _policies(cloud, call).get(call.params.get("Bucket", ""))
    if text is None:
        return
    try:
        wanted = needs(cloud, call)
    except Unmapped:
        return
    for need in wanted:
        context = {**need.context, "aws:SecureTransport": "true", "s3:TlsVersion": "1.3"}
        if (
            evaluate([json.loads(text)], need.action, need.resource, context).effect
            == "explicitDeny"
        ):
            raise AwsFault("AccessDenied", "Access Denied by the bucket's policy")
