"""The metadata server that every instance sees at 169.254.169.254.

One server for all instances of a sandbox. It listens on a Unix socket; the VPC's router passes
requests on with the instance's address in ``X-Forwarded-For``. Version 1 (plain GET) is answered
for cloud-init, which in Debian 12 speaks version 1 against an endpoint it does not know; version 2
checks its tokens. DNS queries of the VPC come the same way (``POST /dns-query``, as in RFC 8484).
"""

from __future__ import annotations

import http.server
import json
import logging
import secrets
import socketserver
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from hubdeploy.sandbox.machines import dns
from hubdeploy.sandbox.machines.interface import MachineSpec

log = logging.getLogger(__name__)

TREE = dict[str, Any]
"""Nested dicts with text, bytes or None (absent) as leaves."""
_TTL_HEADER = "X-aws-ec2-metadata-token-ttl-seconds"
_TOKEN_HEADER = "X-aws-ec2-metadata-token"
_LONGEST_TTL = 21600


@dataclass(frozen=True, kw_only=True)
class RoleKeys:
    """Temporary credentials of an instance's role."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(repr=False)


class Source(Protocol):
    """What the metadata is made from; asked anew for every request."""

    def spec_at(self, address: str) -> MachineSpec | None:
        """The instance with this private address."""

    def role_keys(self, spec: MachineSpec) -> RoleKeys | None:
        """Credentials of its role; None without one."""

    def spot_notice(self, instance_id: str) -> datetime | None:
        """When the instance will be reclaimed, if that has been announced."""

    def names(self, name: str) -> list[str] | None:
        """Addresses of a DNS name (see :data:`hubdeploy.sandbox.machines.dns.Lookup`)."""


def tree(spec: MachineSpec, *, keys: RoleKeys | None, spot: datetime | None) -> TREE:
    """The metadata of an instance, from ``/latest`` down."""
    mac = _mac(spec.private_ip)
    full = f"{spec.hostname}.ec2.internal"
    interface = {
        "device-number": "0",
        "local-hostname": full,
        "local-ipv4s": spec.private_ip,
        "mac": mac,
        "owner-id": spec.account,
        "vpc-ipv4-cidr-block": spec.vpc_cidr,
        "vpc-ipv4-cidr-blocks": spec.vpc_cidr,
    }
    public = {str(number): {"openssh-key": line} for number, line in enumerate(spec.public_keys)}
    listing = "\n".join(
        f"{number}={name}" for number, name in enumerate(spec.key_names[: len(public)])
    )
    meta: TREE = {
        "ami-id": spec.image_id,
        "ami-launch-index": "0",
        "block-device-mapping": {"ami": "/dev/xvda", "root": "/dev/xvda"},
        "hostname": full,
        "instance-action": "none",
        "instance-id": spec.instance_id,
        "instance-life-cycle": "spot" if spec.spot else "on-demand",
        "instance-type": spec.instance_type,
        "local-hostname": full,
        "local-ipv4": spec.private_ip,
        "mac": mac,
        "network": {"interfaces": {"macs": {mac: interface}}},
        "placement": {"availability-zone": spec.zone, "region": spec.region},
        "public-keys": {"": listing, **public} if public else None,
        "services": {"domain": "amazonaws.com", "partition": "aws"},
        "tags": {"instance": dict(spec.tags)} if spec.tags else None,
    }
    if spec.role_name:
        profile = f"arn:aws:iam::{spec.account}:instance-profile/{spec.role_name}"
        meta["iam"] = {
            "info": json.dumps(
                {
                    "Code": "Success",
                    "LastUpdated": _stamp(spec.launched),
                    "InstanceProfileArn": profile,
                    "InstanceProfileId": "AIPA" + "0" * 17,
                }
            ),
            "security-credentials": {spec.role_name: _credentials(keys)} if keys else None,
        }
    if spot is not None:
        meta["spot"] = {
            "instance-action": json.dumps({"action": "terminate", "time": _stamp(spot)}),
            "termination-time": _stamp(spot),
        }
    return {
        "dynamic": {"instance-identity": {"document": _identity(spec)}},
        "meta-data": meta,
        "user-data": spec.user_data or None,
    }


def look_up(node: TREE, path: str) -> bytes | None:
    """What stands at a path below ``/latest``: a value, or the listing of a folder."""
    found: Any = node
    for part in (part for part in path.split("/") if part):
        if not isinstance(found, dict) or found.get(part) is None:
            return None
        found = found[part]
    if not isinstance(found, dict):
        return found if isinstance(found, bytes) else str(found).encode()
    if "" in found:  # public-keys lists numbers with names
        return str(found[""]).encode()
    shown = [
        name + ("/" if isinstance(value, dict) else "")
        for name, value in found.items()
        if value is not None
    ]
    return "\n".join(shown).encode()


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _mac(address: str) -> str:
    """As Docker derives it from the address, which is what the machine's interface has."""
    return "02:42:" + ":".join(f"{int(part):02x}" for part in address.split("."))


def _credentials(keys: RoleKeys) -> str:
    now = datetime.now(UTC)
    return json.dumps(
        {
            "Code": "Success",
            "LastUpdated": _stamp(now),
            "Type": "AWS-HMAC",
            "AccessKeyId": keys.access_key,
            "SecretAccessKey": keys.secret_key,
            "Token": keys.token,
            "Expiration": _stamp(now + timedelta(hours=6)),
        }
    )


def _identity(spec: MachineSpec) -> str:
    return json.dumps(
        {
            "accountId": spec.account,
            "architecture": "x86_64",
            "availabilityZone": spec.zone,
            "imageId": spec.image_id,
            "instanceId": spec.instance_id,
            "instanceType": spec.instance_type,
            "pendingTime": _stamp(spec.launched),
            "privateIp": spec.private_ip,
            "region": spec.region,
            "version": "2017-09-30",
        },
        indent=2,
    )


class MetadataServer:
    """Serves :class:`Source` on a Unix socket until closed."""

    def __init__(self, path: Path, source: Source) -> None:
        path.unlink(missing_ok=True)
        self._path = path
        self._server = _Server(str(path), _Handler)
        path.chmod(0o600)
        self._server.source = source
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="metadata", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._path.unlink(missing_ok=True)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128
    source: Source

    def __init__(self, path: str, handler: type[http.server.BaseHTTPRequestHandler]) -> None:
        super().__init__(path, handler)
        self.tokens: dict[str, tuple[str, float]] = {}
        """Token -> address it was given to, and its end (monotonic seconds)."""

    def handle_error(self, _request: Any, _client: Any) -> None:
        """A client that has gone meanwhile (the router closes idle connections) is no fault."""
        log.debug("metadata request broken off", exc_info=True)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    client: str

    def do_PUT(self) -> None:
        self._drain()
        # the real service refuses requests that came through somebody else's proxy; here the
        # router's own header is the only one
        if self._spec() is None or self.path.split("?")[0] != "/latest/api/token":
            self._send(404)
            return
        try:
            ttl = int(self.headers.get(_TTL_HEADER, ""))
        except ValueError:
            ttl = 0
        if not 1 <= ttl <= _LONGEST_TTL:
            self._send(400)
            return
        token = secrets.token_urlsafe(42)
        self.server.tokens[token] = (self._address(), time.monotonic() + ttl)
        self._send(200, token.encode(), headers={_TTL_HEADER: str(ttl)})

    def do_GET(self) -> None:
        spec = self._spec()
        if spec is None:
            self._send(404)
            return
        token = self.headers.get(_TOKEN_HEADER)
        if token is not None:
            owner, end = self.server.tokens.get(token, ("", 0.0))
            if owner != self._address() or end < time.monotonic():
                self._send(401)
                return
        version, _, rest = self.path.split("?")[0].lstrip("/").partition("/")
        if not version:
            self._send(200, b"1.0\n2009-04-04\n2021-03-23\nlatest")
            return
        source = self.server.source
        needs_keys = "security-credentials" in rest
        keys = source.role_keys(spec) if needs_keys else None
        body = look_up(tree(spec, keys=keys, spot=source.spot_notice(spec.instance_id)), rest)
        if body is None:
            self._send(404)
        else:
            self._send(200, body)

    def do_POST(self) -> None:
        body = self._drain()
        if self.path != "/dns-query":
            self._send(404)
            return
        reply = dns.answer(body, self.server.source.names)
        if reply is None:
            self._send(204)
        else:
            self._send(200, reply)

    def _drain(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _address(self) -> str:
        return self.headers.get("X-Forwarded-For", "")

    def _spec(self) -> MachineSpec | None:
        return self.server.source.spec_at(self._address())

    def _send(self, code: int, body: bytes = b"", *, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        self.send_header("Server", "EC2ws")
        self.send_header("Content-Type", "text/plain")
        if code != 204:
            self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "router"  # a Unix socket's peer has no address

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(
            "metadata for %s: " + format,
            self._address() if hasattr(self, "headers") else "-",
            *args,
        )
