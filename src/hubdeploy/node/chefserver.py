"""The Chef server's machine: install, restore, configure, publish, back up.

What differs between the distributions is behind :class:`Flavour`: goiardi (Debian's package, one
process) and omnibus (CINC's and Progress's packages with their ``…-server-ctl``).
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from hubdeploy.chef.server import ChefServer
from hubdeploy.config.names import Key
from hubdeploy.errors import ChefError
from hubdeploy.node import certificates, cloudmap, phases, release, system
from hubdeploy.node.aws import Cloud
from hubdeploy.node.waiting import patiently

log = logging.getLogger(__name__)

FOLDER = "/etc/hubdeploy/chef"
"""Certificate (``server.crt``), its key (``server.key``), what clients trust (``trust.crt``)."""
_DAYS = 3650
_RENEW = 30
_ANSWERS = 600
"""Seconds until a Chef server must answer after its start."""


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who signs: a name and a private key (PEM, secret)."""

    name: str
    key: str

    def encode(self) -> str:
        return json.dumps({"name": self.name, "key": self.key})

    @staticmethod
    def decode(text: str | None) -> Actor | None:
        """None for nothing, and for anything that is no actor."""
        try:
            data = json.loads(text or "")
            return Actor(name=data["name"], key=data["key"])
        except (ValueError, KeyError, TypeError):
            return None


class Flavour(Protocol):
    """What hubdeploy needs of a Chef server."""

    def url(self) -> str:
        """What clients use."""

    def install(self) -> None:
        """Idempotent."""

    def configure(self) -> None:
        """Write configuration, start, wait; idempotent."""

    def actors(self, *, admin: Actor | None, validator: Actor | None) -> tuple[Actor, Actor]:
        """Admin and validator with keys that work; the known ones where they still do."""

    def is_empty(self) -> bool:
        """No data yet: a backup may be restored."""

    def dump(self, target: Path) -> None:
        """Write a backup (gzipped tar) to a file."""

    def load(self, source: Path) -> None:
        """Restore a backup into an empty server."""


def flavour(cloud: Cloud) -> Flavour:
    """By the deployment's settings."""
    from hubdeploy.node import chefgoiardi, chefomnibus

    settings = release.settings(cloud)
    if settings["chef_distribution"] == "goiardi":
        return chefgoiardi.Goiardi(cloud.machine)
    return chefomnibus.Omnibus(cloud, settings)


# -------------------------------------------------------------------------- certificate


def ensure_certificate(cloud: Cloud) -> bool:
    """The server's certificate for its Cloud Map name; whether a new one was made."""
    folder = cloud.machine.path(FOLDER)
    chain, trust = folder / "server.crt", folder / "trust.crt"
    host = cloud.machine.names.chef_host
    if chain.is_file() and trust.is_file() and (folder / "server.key").is_file():
        pem = chain.read_text()
        if certificates.covers(pem, host) and certificates.days_left(pem) > _RENEW:
            return False
    pair = certificates.issue([host], days=_DAYS)
    system.write(folder / "server.key", pair.key, mode=0o600)
    system.write(chain, pair.chain)
    system.write(trust, pair.trust)
    return True


def own_name(cloud: Cloud) -> None:
    """The server's own name in ``/etc/hosts``: it has to know it before Cloud Map does."""
    file = cloud.machine.path("/etc/hosts")
    host = cloud.machine.names.chef_host
    lines = file.read_text().splitlines() if file.is_file() else []
    kept = [line for line in lines if host not in line.split()]
    text = "\n".join([*kept, f"{cloud.machine.identity.private_ip} {host}", ""])
    if not file.is_file() or file.read_text() != text:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)  # in place: containers mount this file


# ------------------------------------------------------------------------------- stages


def install(cloud: Cloud, server: Flavour | None = None) -> None:
    """Put the server's package on the machine."""
    (server or flavour(cloud)).install()


def restore(cloud: Cloud, server: Flavour | None = None) -> bool:
    """Load the newest backup, if there is one and the server has no data yet.

    A restore that was cut short is done again: the server may hold some of it by then.
    """
    server = server or flavour(cloud)
    under_way = cloud.machine.state("chef-restoring")
    if not (server.is_empty() or under_way.exists()):
        return False
    keys = cloud.keys_below(f"{Key.CHEF_BACKUP}/")
    if not keys:
        return False
    file = cloud.machine.state("chef-restore.tar.gz")
    try:
        cloud.download(keys[-1], file)
        under_way.parent.mkdir(parents=True, exist_ok=True)
        under_way.touch()
        server.load(file)
        under_way.unlink()
    finally:
        file.unlink(missing_ok=True)
    log.info("restored from %s", keys[-1])
    return True


def configure(cloud: Cloud, server: Flavour | None = None) -> None:
    """Certificate, configuration, start; the server answers afterwards."""
    own_name(cloud)
    ensure_certificate(cloud)
    (server or flavour(cloud)).configure()


def connect(cloud: Cloud, actor: Actor, url: str) -> ChefServer:
    """From this machine to its own server."""
    return ChefServer(
        url,
        client=actor.name,
        key=actor.key,
        trust=cloud.machine.path(FOLDER) / "trust.crt",
        connect=f"127.0.0.1:{_port(url)}",
    )


def _port(url: str) -> int:
    from urllib.parse import urlsplit

    return urlsplit(url).port or 443


def works(cloud: Cloud, actor: Actor | None, url: str) -> bool:
    """Whether the server accepts this actor's key."""
    if actor is None:
        return False
    try:
        with connect(cloud, actor, url) as server:
            # everybody may look at one's own object, a validator included
            server.request("GET", f"/clients/{actor.name}")
    except ChefError as error:
        status = getattr(error, "status", 0)
        if status in (403, 404):
            return True  # the signature was accepted
        if status == 401:
            return False
        raise
    return True


def publish(cloud: Cloud, server: Flavour | None = None) -> None:
    """Tell the others: address, certificate, keys, and last that the server is there."""
    names = cloud.machine.names.parameters
    server = server or flavour(cloud)
    url = server.url()
    admin, validator = patiently(
        lambda: server.actors(
            admin=Actor.decode(cloud.parameter(names.chef_admin)),
            validator=Actor.decode(cloud.parameter(names.chef_validator)),
        ),
        on=(ChefError,),
        seconds=120,
    )
    cloudmap.register(cloud, "chef")
    trust = (cloud.machine.path(FOLDER) / "trust.crt").read_text()
    for name, value, secret in (
        (names.chef_certificate, trust, False),
        (names.chef_validator, validator.encode(), True),
        (names.chef_admin, admin.encode(), True),
    ):
        if cloud.parameter(name) != value:
            cloud.put_parameter(name, value, secret=secret)
    me = cloud.machine.identity.instance_id
    state = cloud.parameter_json(names.chef_state) or {}
    if state.get("url") != url or state.get("instance") != me:
        said = {"url": url, "instance": me, "at": phases.now()}
        cloud.put_parameter(names.chef_state, json.dumps(said))


def backup(cloud: Cloud, server: Flavour | None = None) -> str:
    """Dump the server into the bucket; the key. Looks after the publication as well."""
    server = server or flavour(cloud)
    file = cloud.machine.state("chef-backup.tar.gz")
    file.parent.mkdir(parents=True, exist_ok=True)
    key = f"{Key.CHEF_BACKUP}/{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar.gz"
    try:
        server.dump(file)
        cloud.upload(file, key)
    finally:
        file.unlink(missing_ok=True)
    configure(cloud, server)
    publish(cloud, server)
    return key


def wait_until_it_answers(cloud: Cloud, url: str) -> None:
    """Any signed answer will do, a refusal included.

    Raises:
        ChefError: none within ten minutes.
    """
    from cryptography.hazmat.primitives.asymmetric import rsa

    from hubdeploy.chef.failures import ChefRefused

    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def ask() -> None:
        with ChefServer(
            url,
            client="nobody",
            key=stranger,
            trust=cloud.machine.path(FOLDER) / "trust.crt",
            connect=f"127.0.0.1:{_port(url)}",
            timeout=10,
        ) as server:
            try:
                server.request("GET", "/nodes")
            except ChefRefused as error:
                if error.status >= 500:
                    raise

    patiently(ask, on=(ChefError,), seconds=_ANSWERS, most=2, first=0.1)
