"""``hubdeploy.toml`` as a model: the single source of settings, defaults and their documentation.

``hubdeploy config reference`` is generated from the descriptions here. Rules that span several
settings stand at the end of the section (or of :class:`Config`) that they concern.
"""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Literal, Self

from pydantic import Field, model_validator

from hubdeploy.config.fields import Change, Section, Size, Span, set_key, setting, wrong
from hubdeploy.config.hub import HubSection
from hubdeploy.config.kinds import (
    LARGEST_DISK,
    MOST_TAGS,
    PRIVATE,
    RESERVED,
    SMALLEST_ROOT,
    SMALLEST_WORKER,
    Cidr,
    Domain,
    FileSystemId,
    Filled,
    InstanceType,
    Name,
    PolicyArn,
    Region,
    Sha256,
    TagKey,
    TagValue,
    Version,
    Zones,
)
from hubdeploy.config.limits import format_size
from hubdeploy.config.operating import Access, Images, Tls, Waits


class Network(Section):
    """``[network]``: the VPC."""

    cidr: Cidr = setting(
        "10.42.0.0/16",
        describe="Private address space of the VPC, /16 to /20; docker_pool must lie outside it.",
        change=Change.NEVER,
    )
    zones: Zones = setting(
        2,
        describe="How many availability zones to span (2 to 6), or their names.",
        change=Change.NEVER,
    )
    egress: Literal["nat", "public"] = setting(
        "nat",
        describe="How machines reach the internet: 'nat' (private subnets behind one NAT gateway) "
        "or 'public' (public addresses, closed by security groups; cheaper).",
        change=Change.NEVER,
    )
    docker_pool: Cidr = setting(
        "10.200.0.0/14",
        describe="Addresses for Docker's own networks on every machine, away from the VPC's.",
        change=Change.NEVER,
    )

    @model_validator(mode="after")
    def _addresses_are_private_and_apart(self) -> Self:
        vpc, pool = IPv4Network(self.cidr), IPv4Network(self.docker_pool)
        if not 16 <= vpc.prefixlen <= 20:
            raise wrong("cidr", f'expected a network between /16 and /20, got "{vpc}"')
        if pool.prefixlen > 24:
            raise wrong("docker_pool", f'expected a network of /24 or larger, got "{pool}"')
        for key, net in (("cidr", vpc), ("docker_pool", pool)):
            if not any(net.subnet_of(private) for private in PRIVATE):
                raise wrong(
                    key,
                    "expected private address space (within 10.0.0.0/8, 172.16.0.0/12 or "
                    f'192.168.0.0/16), got "{net}"',
                )
        if vpc.overlaps(pool):
            key = set_key(self, "docker_pool", "cidr")
            raise wrong(key, f"docker_pool {pool} overlaps cidr {vpc}")
        return self


class Chef(Section):
    """``[chef]``: the Chef server and the workstation."""

    distribution: Literal["cinc", "chef", "goiardi"] = setting(
        "cinc",
        describe="Chef server and client: 'cinc' (free builds), 'chef' (needs licence_id) or "
        "'goiardi' (a small server in Go; what the sandbox uses).",
        change=Change.NEVER,
    )
    licence_id: Filled | None = setting(
        None, describe="Progress Chef licence id, for distribution 'chef'.", change=Change.INSTANCE
    )
    server_version: Version = setting(
        "15.10.91", describe="Version of the Chef server package.", change=Change.INSTANCE
    )
    server_sha256: Sha256 | None = setting(
        None,
        describe="SHA-256 of the server package. Without it, what the publisher says at the first "
        "download counts from then on.",
        change=Change.INSTANCE,
    )
    client_version: Version = setting(
        "18.8.54",
        describe="Version of the Chef client on leader and workers.",
        change=Change.WORKERS,
    )
    client_sha256: Sha256 | None = setting(
        None,
        describe="SHA-256 of the client package. Without it, what the publisher says at the first "
        "download counts from then on.",
        change=Change.WORKERS,
    )
    instance_type: InstanceType = setting(
        "t3.large", describe="Chef server's instance type (8 GB or more).", change=Change.INSTANCE
    )
    workstation_type: InstanceType = setting(
        "t3.small", describe="Workstation's instance type.", change=Change.INSTANCE
    )
    converge_every: Span = setting(
        1800,
        describe="How often leader and workers converge.",
        change=Change.CONVERGE,
        ge=60,
        le=7 * 86400,
    )

    @model_validator(mode="after")
    def _chef_needs_a_licence(self) -> Self:
        if self.distribution == "chef" and not self.licence_id:
            raise wrong("distribution", '"chef" needs licence_id; "cinc" needs none')
        return self


class Leader(Section):
    """``[leader]``: the permanent machine with hub, proxy and swarm manager."""

    instance_type: InstanceType = setting(
        "t3.medium", describe="Instance type of the hub leader.", change=Change.INSTANCE
    )
    disk: Size = setting(
        30 << 30,
        describe="Root disk of the leader.",
        change=Change.INSTANCE,
        ge=SMALLEST_ROOT,
        le=LARGEST_DISK,
    )
    state_disk: Size = setting(
        20 << 30,
        describe="The volume that holds the hub's database and outlives the instance. Can grow.",
        change=Change.LIVE,
        ge=1 << 30,
        le=LARGEST_DISK,
    )


class Workers(Section):
    """``[workers]``: the machines that run the notebooks, an auto scaling group for each type."""

    instance_types: list[InstanceType] = setting(
        default_factory=lambda: ["m6i.xlarge"],
        describe="One or several instance types, preferred first. The next one is taken for what "
        "does not fit on the first, and while AWS has none of the first to give.",
        change=Change.WORKERS,
        min_length=1,
        max_length=10,
    )
    min_nodes: int = setting(
        1, describe="Workers that always run.", change=Change.LIVE, ge=0, le=500
    )
    max_nodes: int = setting(
        10,
        describe="Most workers at any time; see also [limits].",
        change=Change.LIVE,
        ge=1,
        le=500,
    )
    headroom: int = setting(
        2,
        describe="Free places for users (of the default profile) to keep ready.",
        change=Change.LIVE,
        ge=0,
        le=1000,
    )
    spot_share: int = setting(
        0,
        describe="Per cent of workers above min_nodes that are spot instances.",
        change=Change.WORKERS,
        ge=0,
        le=100,
    )
    disk: Size = setting(
        50 << 30,
        describe="Root disk of a worker.",
        change=Change.WORKERS,
        ge=SMALLEST_WORKER,
        le=LARGEST_DISK,
    )
    idle_after: Span = setting(
        300, describe="A worker this long without a server may be ended.", change=Change.LIVE
    )
    join_deadline: Span = setting(
        900,
        describe="A worker that has not joined after this time is ended and its log kept.",
        change=Change.LIVE,
        ge=60,
    )

    @model_validator(mode="after")
    def _min_is_below_max(self) -> Self:
        if self.min_nodes > self.max_nodes:
            raise wrong(
                set_key(self, "min_nodes", "max_nodes"),
                f"min_nodes {self.min_nodes} is above max_nodes {self.max_nodes}",
            )
        return self

    @model_validator(mode="after")
    def _types_differ(self) -> Self:
        if len(set(self.instance_types)) != len(self.instance_types):
            raise wrong("instance_types", "a type is named twice")
        return self


class Storage(Section):
    """``[storage]``: the file system with the users' files."""

    throughput: Literal["bursting", "elastic"] = setting(
        "elastic", describe="EFS throughput mode.", change=Change.LIVE
    )
    backups: bool = setting(
        True, describe="AWS Backup's daily backup of the file system.", change=Change.LIVE
    )
    cold_after_days: Literal[0, 7, 14, 30, 60, 90] = setting(
        30,
        describe="Move files unread for so many days to infrequent access; 0 for never.",
        change=Change.LIVE,
    )
    keep: Literal["files", "files-and-hub"] = setting(
        "files",
        describe="What `down` keeps for the next `up`: the users' files, or also the hub's "
        "accounts and settings (the leader's volume and the hub's secrets).",
        change=Change.LIVE,
    )
    file_system: FileSystemId | None = setting(
        None,
        describe="Id of an existing file system to attach. Not needed for one that `down` kept: "
        "that is found by its tags.",
        change=Change.NEVER,
    )
    tls: bool = setting(
        True,
        describe="Encrypt file system traffic (TLS by stunnel, as EFS's own mount helper does).",
        change=Change.WORKERS,
    )


class LimitsSection(Section):
    """``[limits]``: what the fleet never goes beyond; rendered into the JupyterHub config."""

    max_cluster_memory: Size = setting(
        256 << 30, describe="Most memory of all workers together.", change=Change.LIVE
    )
    max_concurrent_users: int = setting(
        100, describe="Most users' servers at a time.", change=Change.LIVE, ge=1, le=100_000
    )
    max_disk_utilization: Size = setting(
        1 << 40,
        describe="Most disk used on the file system; above it no server starts.",
        change=Change.LIVE,
    )


class Config(Section):
    """The whole of ``hubdeploy.toml``."""

    name: Name = setting(
        describe="Name of the deployment: lower case, at most 24 characters. Part of every "
        "resource's name.",
        change=Change.NEVER,
    )
    region: Region = setting(describe="AWS region.", change=Change.NEVER)
    domain: Domain | None = setting(
        None,
        describe="Domain whose Route 53 zone is in the account: the hub is notebooks.DOMAIN. "
        "Without one it is the leader's address with a self-signed certificate.",
        change=Change.CONVERGE,
    )
    tags: dict[TagKey, TagValue] = setting(
        default_factory=dict, describe="Further tags for every resource.", change=Change.LIVE
    )
    permissions_boundary: PolicyArn | None = setting(
        None, describe="ARN of a policy that bounds the machines' roles.", change=Change.LIVE
    )
    network: Network = Field(default_factory=Network)
    chef: Chef = Field(default_factory=Chef)
    leader: Leader = Field(default_factory=Leader)
    workers: Workers = Field(default_factory=Workers)
    storage: Storage = Field(default_factory=Storage)
    hub: HubSection = Field(default_factory=HubSection)
    limits: LimitsSection = Field(default_factory=LimitsSection)
    access: Access = Field(default_factory=Access)
    tls: Tls = Field(default_factory=Tls)
    waits: Waits = Field(default_factory=Waits)
    images: Images = Field(default_factory=Images)

    @property
    def hub_host(self) -> str | None:
        """``notebooks.DOMAIN``, or None: then the leader's public address is used."""
        return f"notebooks.{self.domain}" if self.domain else None

    @property
    def profile_types(self) -> list[str]:
        """Instance types that profiles name and ``workers.instance_types`` does not, in order."""
        named = [profile.instance_type for profile in self.hub.profiles if profile.instance_type]
        return [kind for kind in dict.fromkeys(named) if kind not in self.workers.instance_types]

    @property
    def worker_types(self) -> list[str]:
        """All that workers may be: for everybody, preferred first, then the profiles' own."""
        return [*self.workers.instance_types, *self.profile_types]

    @model_validator(mode="after")
    def _reserved_tags(self) -> Self:
        for key in self.tags:
            if key.lower().startswith(RESERVED) or key == "Name":
                raise wrong(("tags", key), f"{key!r} is reserved; choose another key")
        if len(self.tags) > MOST_TAGS:
            raise wrong("tags", f"expected at most {MOST_TAGS} tags, got {len(self.tags)}")
        return self

    @model_validator(mode="after")
    def _zones_are_the_regions(self) -> Self:
        zones = self.network.zones
        for zone in zones if isinstance(zones, list) else ():
            if not zone.startswith(self.region):
                raise wrong(
                    "network.zones",
                    f'expected zones of {self.region} such as "{self.region}a", got "{zone}"',
                )
        return self

    @model_validator(mode="after")
    def _authorities_know_whom_to_write_to(self) -> Self:
        if self.domain and self.tls.kind == "letsencrypt" and not self.tls.email:
            raise wrong(
                "tls.email" if "tls" in self.model_fields_set else "domain",
                "Let's Encrypt wants tls.email, to write to before a certificate expires "
                '(or set tls.kind to "own" or "self-signed")',
            )
        return self

    @model_validator(mode="after")
    def _servers_fit_the_limits(self) -> Self:
        most, hub = self.limits.max_cluster_memory, self.hub
        if hub.memory > most:
            raise wrong(
                "hub.memory" if "memory" in hub.model_fields_set else "limits.max_cluster_memory",
                f"a server of {format_size(hub.memory)} (hub.memory) is above "
                f"limits.max_cluster_memory {format_size(most)}: none could start",
            )
        for number, profile in enumerate(hub.profiles):
            if profile.memory is not None and profile.memory > most:
                raise wrong(
                    ("hub", "profiles", number, "memory"),
                    f"{format_size(profile.memory)} is above limits.max_cluster_memory "
                    f"{format_size(most)}: no server of the profile could start",
                )
        return self
