"""What the machines are told: the settings object that becomes Chef role attributes.

``hubdeploy up`` renders it from the configuration and from the ids of what it made, stores it
content-addressed in the bucket, and the workstation puts it into the roles ``leader`` and
``worker`` as ``node['hubdeploy']``. It holds no secret: those are SSM SecureString parameters.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, TypedDict


class EfsSettings(TypedDict):
    """The file system: how to mount it."""

    file_system: str
    access_point: str
    dns_name: str
    tls: bool


class Settings(TypedDict):
    """``node['hubdeploy']`` on leader and workers, and ``settings.json`` in the bucket.

    Sizes are whole bytes, times whole seconds.
    """

    deployment: str
    region: str
    account: str
    bucket: str
    namespace: str
    chef_url: str
    chef_distribution: str
    chef_licence_id: str
    """For the distribution ``chef``; empty otherwise."""
    chef_server_version: str
    chef_server_sha256: str
    """Empty: what the publisher said at the first download. So with ``client_sha256``."""
    client_version: str
    client_sha256: str
    converge_every: int
    hub_host: str
    """Public name or address that users type, e.g. ``notebooks.example.org``."""
    hub_url: str
    """``https://…/hub/login`` that is shown; in the sandbox it may carry a port."""
    vpc_cidr: str
    docker_pool: str
    registry: str
    repository: str
    efs: EfsSettings
    tls: dict[str, Any]
    """``kind``, ``email``, ``challenge``, ``staging``, ``zone`` (hosted zone id or empty)."""
    hub: dict[str, Any]
    """The ``[hub]`` table with all defaults, as :class:`hubdeploy.config.hub.HubSection`."""
    limits: dict[str, Any]
    """``max_cluster_memory``, ``max_concurrent_users``, ``max_disk_utilization`` at render time."""
    workers: dict[str, Any]
    """``instance_types``, ``profile_types`` (kept for the profiles that name them), ``min_nodes``,
    ``max_nodes``, ``headroom``, ``idle_after``, ``join_deadline``."""
    waits: dict[str, int]
    """Of ``[waits]`` those for which machines wait: ``chef_server``, ``workstation``, ``leader``,
    ``hub``."""
    state_volume: str
    """EBS volume id of the leader's state."""
    log_groups: dict[str, str]
    """Unit to CloudWatch log group."""


def encode(settings: Settings) -> tuple[bytes, str]:
    """Canonical JSON and its SHA-256 (hex): the same settings give the same bytes."""
    body = json.dumps(settings, sort_keys=True, separators=(",", ":")).encode()
    return body, hashlib.sha256(body).hexdigest()
