"""The names that several parts share: tags, resources, parameters, phases, ports.

Pure standard library: the command line, the pipeline, the machines and the hub all import it, so
that a name is spelled once. Nothing here reads or changes anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

TAG_DEPLOYMENT = "hubdeploy:deployment"
"""On everything that can carry a tag: the deployment's name. Discovery goes by it."""
TAG_RESOURCE = "hubdeploy:resource"
"""The logical name within the deployment, e.g. ``vpc`` or ``subnet.public.a``."""
TAG_ROLE = "hubdeploy:role"
"""On instances: the kind of machine, a value of :class:`Role`."""
TAG_TEMPLATE = "hubdeploy:template"
"""On the workers' group: digest of what a worker has to be; on an instance: of what it is."""
TAG_PREFERENCE = "hubdeploy:preference"
"""On a workers' group: its place in the order of ``workers.instance_types`` from 1, or one of the
words below. The fleet chooses among the groups by it."""
FOR_PROFILES = "profiles"
"""Only servers whose profile names the type start a machine there, or are put on one."""
RETIRED = "none"
"""The configuration names the type no more: its machines end as they become empty."""
TAG_KEEP = "hubdeploy:keep"
"""On the file system that ``down`` kept: the date (ISO 8601) it was kept."""

TAG_HOST = "hubdeploy:host"
"""On the VPC: the name in Route 53 that was pointed to the leader. Records carry no tags."""
TAG_ADDRESS = "hubdeploy:address"
"""On the VPC: the addresses to which that name was pointed, the newest first."""


def by_preference(preference: str) -> tuple[int, int]:
    """Sorts the values of the tag ``hubdeploy:preference``: as the operator put them, then what is
    for profiles, then what is retired."""
    if preference in (FOR_PROFILES, RETIRED):
        return (1 if preference == FOR_PROFILES else 2), 0
    return 0, int(preference) if preference.isdecimal() else 0


class Role(StrEnum):
    """The kinds of machine. ``CHEF`` and ``WORKSTATION`` serve configuration only."""

    CHEF = "chef-server"
    WORKSTATION = "workstation"
    LEADER = "leader"
    WORKER = "worker"


class Phase(StrEnum):
    """What a machine says of itself in its phase parameter, in the order it passes them."""

    BOOTING = "booting"
    """User data has begun: packages and the node agent are being installed."""
    WAITING = "waiting"
    """For another machine (``detail`` names it)."""
    CONFIGURING = "configuring"
    """The machine's own service: Chef server set-up, cookbook upload."""
    REGISTERING = "registering"
    """Becoming a Chef node."""
    CONVERGING = "converging"
    """First run of the run list."""
    JOINING = "joining"
    """Swarm: the leader starts it, a worker joins and pulls the notebook image."""
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"
    """``detail`` holds the reason, ``log`` the tail of the machine's log."""

    @property
    def is_final(self) -> bool:
        return self in (Phase.READY, Phase.FAILED)


class Port:
    """TCP ports (and 7946 also UDP) between the machines; security groups are made from these."""

    SSH = 22
    HTTP = 80
    HTTPS = 443
    NFS = 2049
    SWARM = 2377
    GOSSIP = 7946
    HUB_API = 8081
    PROXY = 8000
    PROXY_API = 8001
    FLEET = 8089
    """Loopback only, on the leader: the fleet service behind the hub's proxy."""
    NOTEBOOKS = (30000, 32767)
    """Docker swarm's own range for published ports (host mode): leader to workers."""


#: where things are on a machine
MACHINE_HOME = "/opt/hubdeploy"
"""``venv/`` holds the node agent, ``hub/`` the hub's virtual environment."""
MACHINE_ENV = "/etc/hubdeploy/machine.json"
"""Written by user data: ``{"deployment", "region", "role", "account", "bucket"}``; no secret."""
STATE_DIR = "/srv/hubdeploy"
"""On the leader: its own volume (hub database, cookie secret, certificates in use)."""
EFS_DIR = "/efs"
"""Mount point of the file system; users' folders are ``/efs/home/NAME``."""
HOMES_DIR = "/efs/home"
SHARED_DIR = "/efs/shared"
USE_DIR = "/efs/.hubdeploy/use"
"""Where each worker says what its servers use; root's alone."""
NOTEBOOK_UID = 1000
NOTEBOOK_GID = 100
"""As in the Jupyter Docker Stacks: user ``jovyan`` (1000), group ``users`` (100)."""

#: labels on swarm nodes
LABEL_INSTANCE = "hubdeploy.instance"
LABEL_TYPE = "hubdeploy.type"
LABEL_ZONE = "hubdeploy.zone"
LABEL_LAUNCHED = "hubdeploy.launched"
"""ISO 8601 time of launch."""
#: labels on swarm services that are users' servers
LABEL_USER = "hubdeploy.user"
LABEL_SERVER = "hubdeploy.server"
LABEL_DEPLOYMENT = "hubdeploy.deployment"


@dataclass(frozen=True, kw_only=True)
class Names:
    """Names of one deployment's resources in one account and region.

    ``deployment`` is a lower-case DNS label of at most 24 characters (checked by the
    configuration), which keeps every name below AWS's limits.
    """

    deployment: str
    region: str
    account: str

    @property
    def prefix(self) -> str:
        """Begins every name: ``hubdeploy-DEPLOYMENT``. What is not a region's own (IAM, S3) has the
        region in its name besides."""
        return f"hubdeploy-{self.deployment}"

    @property
    def bucket(self) -> str:
        return f"{self.prefix}-{self.account}-{self.region}"

    @property
    def namespace(self) -> str:
        """Cloud Map private DNS namespace."""
        return f"{self.deployment}.internal"

    @property
    def chef_host(self) -> str:
        """Cloud Map service ``chef``; under Chef server's limit of 64 characters."""
        return f"chef.{self.namespace}"

    @property
    def leader_host(self) -> str:
        return f"leader.{self.namespace}"

    @property
    def workers_groups(self) -> str:
        """Begins the name of every auto scaling group of workers."""
        return f"{self.prefix}-workers-"

    def workers_group(self, instance_type: str) -> str:
        """Auto scaling group of the workers of one type: choosing a type is choosing a group."""
        return f"{self.workers_groups}{instance_type}"

    @property
    def repository(self) -> str:
        """ECR repository of the notebook image."""
        return f"{self.prefix}/notebook"

    @property
    def registry(self) -> str:
        return f"{self.account}.dkr.ecr.{self.region}.amazonaws.com"

    def instance(self, role: Role) -> str:
        """``Name`` tag and launch template of a kind of machine."""
        return f"{self.prefix}-{role}"

    def machine_role(self, role: Role) -> str:
        """IAM role and instance profile of a kind of machine, at most 64 characters.

        IAM knows no regions: without the region in it, deployments of one name in two regions
        would share their roles, and `down` of one would take the other's away.
        """
        return f"{self.prefix}-{self.region}-{role}"

    @property
    def operator_policy(self) -> str:
        """IAM policies of who may operate the deployment; a number follows."""
        return f"{self.prefix}-{self.region}-operator"

    def alarm(self, what: str) -> str:
        """CloudWatch alarm: ``leader-disk`` …"""
        return f"{self.prefix}-alarm-{what}"

    def log_group(self, unit: str) -> str:
        """CloudWatch log group of a unit: ``cloud-init``, ``converge``, ``hub``, ``nginx`` …"""
        return f"/hubdeploy/{self.deployment}/{unit}"

    def node(self, role: Role, instance_id: str) -> str:
        """Chef node and client name; stable over reboots."""
        return f"{self.deployment}-{role}-{instance_id}"

    def dns_efs(self, file_system_id: str) -> str:
        return f"{file_system_id}.efs.{self.region}.amazonaws.com"

    @property
    def parameters(self) -> Parameters:
        return Parameters(root=f"/hubdeploy/{self.deployment}")


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """SSM parameter names. *secret* ones are SecureString; the rest are String.

    JSON values are objects with the keys given here.
    """

    root: str

    @property
    def release(self) -> str:
        """What the machines are to run, written by the pipeline (JSON).

        ``{"wheel": {"key", "sha256"}, "cookbooks": {"key", "sha256"}, "settings": {"key",
        "sha256"}, "version": "0.1.0"}``; keys are S3 keys in the deployment's bucket.
        """
        return f"{self.root}/release"

    @property
    def lock(self) -> str:
        """JSON: who changes the deployment now (see :mod:`hubdeploy.aws.lock`)."""
        return f"{self.root}/lock"

    @property
    def limits(self) -> str:
        """The fleet's live limits (JSON, see :class:`hubdeploy.config.limits.Limits`)."""
        return f"{self.root}/limits"

    def phase(self, role: Role, instance_id: str) -> str:
        """JSON ``{"phase", "detail", "at", "log"}``; ``at`` is ISO 8601 UTC, ``log`` a tail."""
        return f"{self.root}/phase/{role}/{instance_id}"

    @property
    def phases(self) -> str:
        """Path of all phases."""
        return f"{self.root}/phase"

    @property
    def chef_state(self) -> str:
        """JSON ``{"url", "instance", "at"}`` once the Chef server takes registrations."""
        return f"{self.root}/chef/state"

    @property
    def chef_certificate(self) -> str:
        """PEM of the certificate that the Chef server's clients trust."""
        return f"{self.root}/chef/certificate"

    @property
    def chef_validator(self) -> str:
        """Secret: the validator's private key (leader, workers)."""
        return f"{self.root}/chef/secret/validator"

    @property
    def chef_admin(self) -> str:
        """Secret: the admin's private key (Chef server, workstation, and no other machine)."""
        return f"{self.root}/chef/admin/key"

    @property
    def workstation_state(self) -> str:
        """JSON ``{"cookbooks", "settings", "instance", "at"}``: the sha256s published last."""
        return f"{self.root}/workstation/state"

    @property
    def swarm_token(self) -> str:
        """Secret: the worker join token (leader writes, workers read)."""
        return f"{self.root}/swarm/secret/worker-token"

    @property
    def swarm_state(self) -> str:
        """JSON ``{"cluster", "address", "instance", "at"}``; ``address`` is ``IP:2377``."""
        return f"{self.root}/swarm/state"

    def hub_secret(self, name: str) -> str:
        """Secret for the hub alone: ``admin-password``, ``oauth-client-secret`` …"""
        return f"{self.root}/hub/secret/{name}"

    @property
    def hub_state(self) -> str:
        """JSON ``{"url", "instance", "version", "at"}`` once the hub answers through nginx."""
        return f"{self.root}/hub/state"

    def tls_secret(self, name: str) -> str:
        """Secret: ``certificate`` and ``key`` of an own certificate."""
        return f"{self.root}/tls/secret/{name}"

    def is_kept(self, name: str) -> bool:
        """Whether it goes with the hub's state where ``down`` keeps that: secrets that people
        set, and those that the hub's database knows."""
        return name.startswith((self.hub_secret(""), self.tls_secret("")))

    def is_ours(self, name: str) -> bool:
        """Whether hubdeploy writes parameters of this name."""
        kinds = ("phase/", "chef/", "workstation/", "swarm/", "hub/", "tls/", "ssh/")
        return name in (self.release, self.lock, self.limits) or name.startswith(
            tuple(f"{self.root}/{kind}" for kind in kinds)
        )

    def ssh_host_key(self, instance_id: str) -> str:
        """Public host key line (``ssh-ed25519 AAAA…``), published by the machine itself."""
        return f"{self.root}/ssh/host-key/{instance_id}"


class Key:
    """S3 keys (prefixes) in the deployment's bucket."""

    WHEEL = "artifacts/wheel"
    """``artifacts/wheel/SHA256/hubdeploy-VERSION-py3-none-any.whl``"""
    COOKBOOKS = "artifacts/cookbooks"
    """``artifacts/cookbooks/SHA256.tar.gz``"""
    SETTINGS = "artifacts/settings"
    """``artifacts/settings/SHA256.json``, see :mod:`hubdeploy.config.settings`"""
    PACKAGES = "packages"
    """Downloaded installers (Chef), kept after the first download: ``packages/NAME``"""
    CHEF_BACKUP = "backup/chef"
    HUB_BACKUP = "backup/hub"
    TLS = "tls"
    """Issued certificates, so that a rebuilt leader reuses them."""
    COMMANDS = "commands"
    """Run Command's big outputs (expire after a day)."""
