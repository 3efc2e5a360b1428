"""The rehearsal's notebook image in the embedded ECR, as if somebody had pushed it.

The image itself is in the sandbox's registry, which answers under ECR's host name; ECR's own API
knows its tag by this, for whoever asks (``hubdeploy doctor`` does).
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from hubdeploy.sandbox import adapt
from hubdeploy.sandbox.cloud.calls import Call
from hubdeploy.sandbox.cloud.server import Cloud


def keep(cloud: Cloud) -> None:
    """Give every repository for notebooks the image's tag when it is made."""
    cloud.hooks.amends["ecr", "CreateRepository"].append(_tag)


def _tag(cloud: Cloud, call: Call, result: dict[str, Any]) -> None:
    name = result["repository"]["repositoryName"]
    digest = f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    layer = {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": digest}
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": layer, "layers": []}
    backend = cloud.backend("ecr", call.account, call.region)
    backend.put_image(name, json.dumps(manifest), adapt.NOTEBOOK_TAG)
