"""The Chef packages: from the bucket, or once from the publisher, always with their checksum.

The publisher's service is slow and at times answers 500, so that a package is fetched from it once
and then kept in the deployment's bucket. Only the Chef server and the workstation may write there.

The checksum is the configured one. Without one it is what the publisher says over TLS the first
time: that is noted in the bucket, and holds for every later download and installation, whatever the
publisher says then.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import logging
import platform
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from hubdeploy.config.names import Key, Role
from hubdeploy.config.settings import Settings
from hubdeploy.errors import HubdeployError
from hubdeploy.node import system
from hubdeploy.node.aws import Cloud
from hubdeploy.node.waiting import patiently

CUT_OFF = (OSError, http.client.HTTPException)

log = logging.getLogger(__name__)

CINC = "https://omnitruck.cinc.sh/stable"
CHEF = "https://chefdownload-commercial.chef.io/stable"


@dataclass(frozen=True, kw_only=True)
class Package:
    """One product at one version. ``sha256`` may be empty: then what the publisher said first."""

    product: str
    """The publisher's name: ``cinc-server``, ``cinc``, ``chef-server``, ``chef``."""
    version: str
    sha256: str = ""
    licence: str = ""

    @property
    def publisher(self) -> str:
        return CINC if self.product.startswith("cinc") else CHEF


def server_product(distribution: str) -> str:
    """The publisher's name of the Chef server; empty for goiardi, which is Debian's."""
    return {"cinc": "cinc-server", "chef": "chef-server"}.get(distribution, "")


def client_product(distribution: str) -> str:
    """The publisher's name of the Chef client; with goiardi it is the free one."""
    return "chef" if distribution == "chef" else "cinc"


def server(settings: Settings) -> Package:
    """The Chef server's package; not for goiardi."""
    return Package(
        product=server_product(settings["chef_distribution"]),
        version=settings["chef_server_version"],
        sha256=settings["chef_server_sha256"],
        licence=settings["chef_licence_id"],
    )


def client(settings: Settings) -> Package:
    """The Chef client's package."""
    return Package(
        product=client_product(settings["chef_distribution"]),
        version=settings["client_version"],
        sha256=settings["client_sha256"],
        licence=settings["chef_licence_id"],
    )


@dataclass(frozen=True, kw_only=True)
class Platform:
    """As the publisher names it: ``debian``, ``12``, ``x86_64``."""

    name: str
    version: str
    machine: str


def this_platform(os_release: Path = Path("/etc/os-release")) -> Platform:
    pairs = (line.split("=", 1) for line in os_release.read_text().splitlines() if "=" in line)
    facts = {key: value.strip('"') for key, value in pairs}
    return Platform(
        name=facts["ID"], version=facts.get("VERSION_ID", ""), machine=platform.machine()
    )


def kept_as(package: Package, where: Platform) -> str:
    """Key in the bucket; beside it stands ``….sha256``."""
    name = f"{package.product}_{package.version}_{where.name}{where.version}_{where.machine}.deb"
    return f"{Key.PACKAGES}/{name}"


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What the publisher says of a package."""

    url: str
    sha256: str


def _http(url: str, *, accept: str = "*/*") -> bytes:
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=60) as answer:
        body: bytes = answer.read()
    return body


def metadata_url(package: Package, where: Platform, *, publisher: str = "") -> str:
    """Where the publisher says what it has; holds the licence, so that it is not shown."""
    query = {
        "p": where.name,
        "pv": where.version,
        "m": where.machine,
        "v": package.version,
    } | ({"license_id": package.licence} if package.licence else {})
    base = publisher or package.publisher
    return f"{base}/{package.product}/metadata?{urllib.parse.urlencode(query)}"


def offer(package: Package, where: Platform, *, publisher: str = "") -> Offer:
    """Ask the publisher, patiently.

    Raises:
        HubdeployError: no such package, or no answer.
    """
    url = metadata_url(package, where, publisher=publisher)
    try:
        said = patiently(
            lambda: json.loads(_http(url, accept="application/json")),
            on=(*CUT_OFF, ValueError),
            seconds=300,
        )
        return Offer(url=said["url"], sha256=said["sha256"])
    except (*CUT_OFF, ValueError, KeyError) as error:
        raise HubdeployError(
            f"{package.product} {package.version} for {where.name} {where.version} "
            f"{where.machine} cannot be had from its publisher: {error}",
            hint="is there such a version for this system, and a route to the internet?",
        ) from error


def _checked(body: bytes, sha256: str, what: str) -> bytes:
    found = hashlib.sha256(body).hexdigest()
    if found != sha256:
        raise HubdeployError(
            f"{what} has the checksum {found}, not {sha256}",
            hint="was it exchanged? See packages/ in the bucket and the checksum in hubdeploy.toml",
        )
    return body


def fetch(
    cloud: Cloud, package: Package, *, where: Platform | None = None, publisher: str = ""
) -> Path:
    """The package as a file of this machine: from the bucket, else from the publisher (then kept).

    Raises:
        HubdeployError: not to be had, or with another checksum.
    """
    where = where or this_platform()
    key = kept_as(package, where)
    file = cloud.machine.state(f"packages/{Path(key).name}")
    wanted = package.sha256 or _noted(cloud, key)
    kept = cloud.optional(key) if wanted else None
    if kept is not None:
        system.write(file, _checked(kept, wanted, f"s3://{cloud.machine.bucket}/{key}"))
        return file
    there = offer(package, where, publisher=publisher)
    keeps = cloud.machine.role in (Role.CHEF, Role.WORKSTATION)
    if not wanted:
        wanted = there.sha256
        if keeps and not cloud.put_object(_digest(key), wanted.encode(), overwrite=False):
            wanted = _noted(cloud, key)  # another machine was quicker
    log.info("downloading %s", there.url)
    body = _checked(patiently(lambda: _http(there.url), on=CUT_OFF, seconds=900), wanted, there.url)
    system.write(file, body)
    if keeps:
        cloud.put_object(key, body)
    return file


def _digest(key: str) -> str:
    return f"{key}.sha256"


def _noted(cloud: Cloud, key: str) -> str:
    """What the publisher said when the package was first taken; empty before."""
    noted = cloud.optional(_digest(key))
    return noted.decode().strip() if noted else ""


def install(file: Path) -> None:
    """Install a downloaded package.

    Raises:
        CommandError: dpkg refused it.
    """
    system.dpkg("--install", str(file))
