"""The hub's certificate: own, Let's Encrypt's, or self-signed, in two files that nginx reads.

nginx must always have one to start with, so that a certificate that cannot be had yet is stood in
for by a self-signed one; ``kind.json`` says which it is and why. What was issued is kept in the
bucket: a rebuilt leader takes it from there, because a CA issues only a few duplicates a week.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import shutil
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from hubdeploy.config.names import STATE_DIR, Key
from hubdeploy.config.settings import Settings
from hubdeploy.errors import HubdeployError
from hubdeploy.node import certificates, release, system
from hubdeploy.node.aws import Cloud

log = logging.getLogger(__name__)

FOLDER = f"{STATE_DIR}/tls"
ACME = f"{STATE_DIR}/acme"
CERTBOT = f"{STATE_DIR}/letsencrypt"
NGINX = "hubdeploy-nginx"
HTTP = 80
"""Where the CA comes to for its challenge."""
_RENEW = 30
"""Days before the end; Let's Encrypt's certificates last 90."""
_SELF_SIGNED = 397
_AGAIN = timedelta(hours=1)
"""Between two attempts: the CA allows five failures an hour."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """PEM texts; ``key`` is secret. ``kind`` as in the settings, with ``-staging``."""

    kind: str
    chain: str
    key: str


def wanted_kind(settings: Settings) -> str:
    """``own``, ``letsencrypt``, ``letsencrypt-staging`` or ``self-signed``.

    For a bare address, and for a name no CA would sign for, only the last is possible.
    """
    kind = str(settings["tls"]["kind"])
    if kind != "letsencrypt":
        return kind
    host = settings["hub_host"]
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return "self-signed"
    if "." not in host:
        return "self-signed"
    return "letsencrypt-staging" if settings["tls"].get("staging") else kind


# --------------------------------------------------------------------- files on the machine


def _current(cloud: Cloud) -> Bundle | None:
    folder = cloud.machine.path(FOLDER)
    try:
        kind = str(json.loads((folder / "kind.json").read_text())["kind"])
        chain = (folder / "fullchain.pem").read_text()
        key = (folder / "privkey.pem").read_text()
    except (FileNotFoundError, ValueError, KeyError):
        return None
    return Bundle(kind=kind, chain=chain, key=key)


def note(cloud: Cloud) -> dict[str, Any]:
    """``kind.json``: ``kind``, ``wanted``, ``why`` (of a stand-in), ``again`` (not before)."""
    try:
        data = json.loads((cloud.machine.path(FOLDER) / "kind.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _install(cloud: Cloud, bundle: Bundle, *, wanted: str, why: str = "", again: str = "") -> bool:
    folder = cloud.machine.path(FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    changed = system.write(folder / "privkey.pem", bundle.key, mode=0o600)
    changed |= system.write(folder / "fullchain.pem", bundle.chain)
    said = {"kind": bundle.kind, "wanted": wanted, "why": why, "again": again}
    system.write(folder / "kind.json", json.dumps(said))
    if changed:
        reload_nginx(cloud)
    return changed


def reload_nginx(cloud: Cloud) -> None:
    """nginx reads its certificate at a HUP; without a running one nothing is to be done."""
    if system.is_running(cloud.machine.root) and shutil.which("docker"):
        system.run(["docker", "kill", "--signal", "HUP", NGINX], check=False, timeout=30)


def _good(bundle: Bundle | None, kind: str, host: str) -> bool:
    return (
        bundle is not None
        and bundle.kind == kind
        and certificates.covers(bundle.chain, host)
        and certificates.days_left(bundle.chain) > _RENEW
    )


# ------------------------------------------------------------------------------ in the bucket


def _kept_key(kind: str, host: str) -> str:
    return f"{Key.TLS}/{host}/{kind}.json"


def _kept(cloud: Cloud, kind: str, host: str) -> Bundle | None:
    body = cloud.optional(_kept_key(kind, host))
    if body is None:
        return None
    try:
        data = json.loads(body)
        bundle = Bundle(kind=kind, chain=data["chain"], key=data["key"])
        return bundle if certificates.belongs(chain=bundle.chain, key=bundle.key) else None
    except (ValueError, KeyError, HubdeployError):
        log.warning("the kept certificate %s cannot be read", _kept_key(kind, host))
        return None


def _keep(cloud: Cloud, bundle: Bundle, host: str) -> None:
    body = json.dumps({"chain": bundle.chain, "key": bundle.key}).encode()
    cloud.put_object(_kept_key(bundle.kind, host), body)


# ----------------------------------------------------------------------------------- sources


def _own(cloud: Cloud, host: str) -> Bundle:
    names = cloud.machine.names.parameters
    chain = cloud.parameter(names.tls_secret("certificate"))
    key = cloud.parameter(names.tls_secret("key"))
    if not chain or not key:
        raise HubdeployError(
            "No own certificate is stored",
            hint="hubdeploy secret set tls/certificate, and tls/key",
        )
    if not certificates.belongs(chain=chain, key=key):
        raise HubdeployError("The stored key is not the certificate's")
    if not certificates.covers(chain, host):
        raise HubdeployError(f"The stored certificate is not for {host}")
    if certificates.days_left(chain) <= 0:
        raise HubdeployError("The stored certificate has expired")
    return Bundle(kind="own", chain=chain, key=key)


def _self_signed(cloud: Cloud, host: str) -> Bundle:
    found = _current(cloud)
    if found is not None and _good(found, "self-signed", host):
        return found
    kept = _kept(cloud, "self-signed", host)
    if kept is not None and _good(kept, "self-signed", host):
        return kept
    pair = certificates.issue([host], days=_SELF_SIGNED)
    bundle = Bundle(kind="self-signed", chain=pair.chain, key=pair.key)
    _keep(cloud, bundle, host)
    return bundle


def _letsencrypt(cloud: Cloud, settings: Settings, kind: str) -> Bundle:
    """Kept or issued now.

    Raises:
        HubdeployError: not now; the message says why.
    """
    host = settings["hub_host"]
    kept = _kept(cloud, kind, host)
    if kept is not None and _good(kept, kind, host):
        return kept
    tls = settings["tls"]
    http = tls.get("challenge") == "http"
    if http:
        _reachable(host)
    plugin = [] if http else ["python3-certbot-dns-route53"]
    system.apt_install(cloud.machine.root, "certbot", *plugin)
    home = cloud.machine.path(CERTBOT)
    webroot = cloud.machine.path(ACME)
    webroot.mkdir(parents=True, exist_ok=True)
    email = tls.get("email")
    command = [
        *("certbot", "certonly", "--non-interactive", "--agree-tos", "--keep-until-expiring"),
        *("--config-dir", str(home), "--work-dir", str(home / "work")),
        *("--logs-dir", str(home / "logs"), "--cert-name", "hub", "-d", host),
        *(["--email", email] if email else ["--register-unsafely-without-email"]),
        *(["--webroot", "-w", str(webroot)] if http else ["--dns-route53"]),
        *(["--staging"] if kind.endswith("staging") else []),
        *(["--force-renewal"] if (home / "live/hub").exists() else []),
    ]
    try:
        system.run(command, timeout=600)
    except system.CommandError as error:
        raise HubdeployError(f"Let's Encrypt did not issue: {error}") from error
    live = home / "live/hub"
    bundle = Bundle(
        kind=kind,
        chain=(live / "fullchain.pem").read_text(),
        key=(live / "privkey.pem").read_text(),
    )
    _keep(cloud, bundle, host)
    return bundle


class NotYet(HubdeployError):
    """The CA was not asked: it could not have come. To be tried again at once."""


def _reachable(host: str) -> None:
    """The CA will come to port 80 of that name: does the name exist, and does anybody listen?"""
    try:
        socket.getaddrinfo(host, HTTP)
    except OSError as error:
        raise NotYet(f"{host} does not resolve yet ({error})") from error
    try:
        with socket.create_connection(("127.0.0.1", HTTP), timeout=5):
            pass
    except OSError as error:
        raise NotYet(f"nginx does not listen on port {HTTP} yet") from error


# ------------------------------------------------------------------------------------ verbs


def in_place(cloud: Cloud) -> bool:
    """Whether the wanted certificate is there; a stand-in counts until it is to be tried again."""
    settings = release.settings(cloud)
    kind, host = wanted_kind(settings), settings["hub_host"]
    found = _current(cloud)
    if found is None or not certificates.covers(found.chain, host):
        return False
    if found.kind == kind:
        if kind == "own":
            return (
                cloud.parameter(cloud.machine.names.parameters.tls_secret("certificate"))
                == found.chain
            )
        return _good(found, kind, host)
    said = note(cloud)
    return said.get("wanted") == kind and _too_early(said)


def _too_early(said: dict[str, Any]) -> bool:
    try:
        return datetime.now(UTC) < datetime.fromisoformat(said["again"])
    except (KeyError, ValueError, TypeError):
        return False


def ensure(cloud: Cloud, *, renew: bool = False) -> bool:
    """Have the wanted certificate, or a stand-in; whether the files changed.

    ``renew`` tries at once what was put off. A CA that refuses is no error here: nginx starts with
    the stand-in, and the timer tries again.
    """
    settings = release.settings(cloud)
    kind, host = wanted_kind(settings), settings["hub_host"]
    if not renew and in_place(cloud):
        return False
    try:
        if kind == "own":
            bundle = _own(cloud, host)
        elif kind == "self-signed":
            bundle = _self_signed(cloud, host)
        else:
            bundle = _letsencrypt(cloud, settings, kind)
    except HubdeployError as error:
        found = _current(cloud)
        # an older but valid one of the wanted kind is better than a stand-in
        usable = (
            found is not None
            and found.kind == kind
            and certificates.covers(found.chain, host)
            and certificates.days_left(found.chain) > 0
        )
        shown = found if usable and found is not None else _self_signed(cloud, host)
        why = f"{error} {error.hint}".strip()
        log.warning("a %s certificate is shown instead of %s: %s", shown.kind, kind, why)
        pause = timedelta(0) if isinstance(error, NotYet) else _AGAIN
        again = (datetime.now(UTC) + pause).isoformat(timespec="seconds")
        return _install(cloud, shown, wanted=kind, why=why, again=again)
    return _install(cloud, bundle, wanted=kind)
