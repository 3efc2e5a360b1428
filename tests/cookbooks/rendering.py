"""Calls into the cookbooks' templates and libraries, and settings to call them with."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, cast

from hubdeploy.config.hub import HubSection

COOKBOOKS = Path(__file__).parents[2] / "cookbooks"
CONFIG_VARIABLES = {
    "settings": "/etc/hubdeploy/hub.json",
    "secrets": "/srv/hubdeploy/secrets",
    "state": "/srv/hubdeploy",
}


def ask(*requests: dict[str, Any]) -> list[Any]:
    """Answers of ``render.rb``, one for each request (see there for their form)."""
    done = subprocess.run(
        ["ruby", str(Path(__file__).with_name("render.rb"))],
        input=json.dumps(requests),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return cast("list[Any]", json.loads(done.stdout))


def render(template: str, **variables: Any) -> str:
    return str(ask({"template": template, "variables": variables})[0])


def call(function: str, *arguments: Any) -> Any:
    return ask({"call": function, "arguments": arguments})[0]


def settings(**changes: Any) -> dict[str, Any]:
    """``node['hubdeploy']`` of a small deployment; *changes* replace top-level keys."""
    values: dict[str, Any] = {
        "deployment": "trial",
        "region": "eu-central-1",
        "account": "123456789012",
        "bucket": "hubdeploy-trial-123456789012-eu-central-1",
        "namespace": "trial.internal",
        "chef_url": "https://chef.trial.internal",
        "chef_distribution": "goiardi",
        "chef_server_version": "",
        "chef_server_sha256": "",
        "chef_licence_id": "",
        "client_version": "18.8.54",
        "client_sha256": "",
        "converge_every": 1800,
        "hub_host": "notebooks.example.org",
        "hub_url": "https://notebooks.example.org/hub/login",
        "vpc_cidr": "10.42.0.0/16",
        "docker_pool": "10.200.0.0/14",
        "registry": "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
        "repository": "hubdeploy-trial/notebook",
        "efs": {
            "file_system": "fs-0123456789abcdef0",
            "access_point": "",
            "dns_name": "fs-0123456789abcdef0.efs.eu-central-1.amazonaws.com",
            "tls": True,
        },
        "tls": {
            "kind": "letsencrypt",
            "email": None,
            "challenge": "dns",
            "staging": False,
            "zone": "Z0123456789",
        },
        "hub": HubSection().model_dump(),
        "limits": {
            "max_cluster_memory": 256 << 30,
            "max_concurrent_users": 100,
            "max_disk_utilization": 1 << 40,
        },
        "workers": {
            "group": "hubdeploy-trial-workers",
            "instance_types": ["m6i.xlarge"],
            "min_nodes": 1,
            "max_nodes": 10,
            "headroom": 2,
            "idle_after": 600,
            "join_deadline": 900,
        },
        "waits": {"chef_server": 1500, "workstation": 900, "leader": 1500, "hub": 600},
        "state_volume": "",
        "log_groups": {},
    }
    return values | changes
