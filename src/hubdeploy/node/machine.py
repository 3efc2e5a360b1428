"""What this machine is: its role and deployment from a file, its identity from the metadata."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hubdeploy.config.names import MACHINE_ENV, Names, Role
from hubdeploy.errors import HubdeployError
from hubdeploy.node.waiting import patiently

METADATA = "http://169.254.169.254"
_TOKEN_SECONDS = 300


class MetadataError(HubdeployError):
    """The instance metadata did not answer, or not as EC2's does."""


class Metadata:
    """EC2's instance metadata, version 2 only (a token first).

    The standard variable ``AWS_EC2_METADATA_SERVICE_ENDPOINT`` names another endpoint.
    """

    def __init__(self, endpoint: str = "") -> None:
        chosen = endpoint or os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or METADATA
        self.endpoint = chosen.rstrip("/")

    def _http(self, method: str, path: str, headers: dict[str, str]) -> str:
        request = urllib.request.Request(self.endpoint + path, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=5) as answer:
            body: bytes = answer.read()
        return body.decode()

    def get(self, path: str) -> str | None:
        """The text at ``latest/meta-data/PATH``; None where there is nothing.

        Raises:
            MetadataError: no answer.
        """
        ttl = {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_SECONDS)}
        try:
            token = self._http("PUT", "/latest/api/token", ttl)
            head = {"X-aws-ec2-metadata-token": token}
            return self._http("GET", f"/latest/meta-data/{path}", head)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise MetadataError(
                f"The instance metadata answered {error.code} for {path}",
                hint="IMDSv2 must be enabled for this instance",
            ) from error
        except OSError as error:
            raise MetadataError(
                f"The instance metadata at {self.endpoint} does not answer: {error}",
                hint="is this an EC2 instance with its metadata enabled?",
            ) from error


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who EC2 says this machine is. ``spot`` is its life cycle."""

    instance_id: str
    instance_type: str
    zone: str
    private_ip: str
    spot: bool = False


def identity(metadata: Metadata, *, seconds: float) -> Identity:
    """Ask the metadata, patiently.

    Raises:
        MetadataError: no answer within *seconds*.
    """

    def ask() -> Identity:
        answers = {
            name: metadata.get(path)
            for name, path in {
                "instance_id": "instance-id",
                "instance_type": "instance-type",
                "zone": "placement/availability-zone",
                "private_ip": "local-ipv4",
            }.items()
        }
        missing = [name for name, value in answers.items() if not value]
        if missing:
            raise MetadataError(f"The instance metadata lacks {', '.join(missing)}")
        plain = {name: value or "" for name, value in answers.items()}
        return Identity(**plain, spot=metadata.get("instance-life-cycle") == "spot")

    return patiently(ask, on=(MetadataError,), seconds=seconds)


@dataclass(kw_only=True)
class Machine:
    """This machine: ``machine.json`` and the metadata; file names below ``root``.

    ``patience`` is how many seconds silent metadata are asked again.
    """

    deployment: str
    region: str
    role: Role
    account: str
    bucket: str
    root: Path = Path("/")
    metadata: Metadata = field(default_factory=Metadata, repr=False)
    patience: float = 30.0

    @cached_property
    def names(self) -> Names:
        return Names(deployment=self.deployment, region=self.region, account=self.account)

    @cached_property
    def identity(self) -> Identity:
        return identity(self.metadata, seconds=self.patience)

    @property
    def node_name(self) -> str:
        """Chef node and client name."""
        return self.names.node(self.role, self.identity.instance_id)

    def path(self, absolute: str) -> Path:
        """A file of this machine, e.g. ``/etc/cinc/client.rb``."""
        return self.root / absolute.lstrip("/")

    def state(self, name: str) -> Path:
        """A file of the agent's own, below ``/var/lib/hubdeploy``."""
        return self.path(f"/var/lib/hubdeploy/{name}")


def load(path: str | Path | None = None) -> Machine:
    """Read ``machine.json`` (or what the variable ``HUBDEPLOY_MACHINE`` names).

    An optional key ``root`` puts all files elsewhere (images being built, tests).

    Raises:
        HubdeployError: not there, or not as user data writes it.
    """
    file = Path(path or os.environ.get("HUBDEPLOY_MACHINE") or MACHINE_ENV)
    try:
        data: dict[str, Any] = json.loads(file.read_text())
        return Machine(
            deployment=data["deployment"],
            region=data["region"],
            role=Role(data["role"]),
            account=data["account"],
            bucket=data["bucket"],
            root=Path(data.get("root", "/")),
        )
    except FileNotFoundError:
        raise HubdeployError(
            f"This is no machine of a deployment: {file} is missing",
            hint="user data writes it at the first boot",
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise HubdeployError(
            f"{file} cannot be read: {error}", hint="run the instance's user data again"
        ) from error
