"""EC2's instance metadata on loopback, version 2 only, for one machine under test."""

from __future__ import annotations

import http.server
import json
import secrets
import threading
from collections.abc import Iterator
from typing import Any

import pytest


class MetadataServer:
    """``paths`` is what stands below ``latest/meta-data/``; a missing path answers 404."""

    def __init__(self) -> None:
        self.paths: dict[str, str] = {}
        self.tokens: set[str] = set()
        self.unsigned = 0
        """Requests without a valid token (all refused)."""
        self.busy = 0
        """Requests for credentials that are answered with 503 before the next is served."""
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def _say(self, code: int, body: str = "") -> None:
                self.send_response(code)
                self.send_header("Content-Length", str(len(body.encode())))
                self.end_headers()
                self.wfile.write(body.encode())

            def do_PUT(self) -> None:
                if self.path != "/latest/api/token":
                    return self._say(404)
                if not self.headers.get("X-aws-ec2-metadata-token-ttl-seconds"):
                    return self._say(400)
                token = secrets.token_urlsafe(16)
                outer.tokens.add(token)
                return self._say(200, token)

            def do_GET(self) -> None:
                if self.headers.get("X-aws-ec2-metadata-token") not in outer.tokens:
                    outer.unsigned += 1
                    return self._say(401)
                path = self.path.removeprefix("/latest/meta-data/")
                if outer.busy and "security-credentials" in path:
                    outer.busy -= 1
                    return self._say(503)
                found = outer.paths.get(path)
                return self._say(404) if found is None else self._say(200, found)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def instance(
        self,
        instance_id: str,
        *,
        private_ip: str = "10.42.1.10",
        instance_type: str = "t3.medium",
        zone: str = "eu-central-1a",
        spot: bool = False,
    ) -> None:
        """Be this instance."""
        self.paths |= {
            "instance-id": instance_id,
            "instance-type": instance_type,
            "placement/availability-zone": zone,
            "local-ipv4": private_ip,
            "instance-life-cycle": "spot" if spot else "on-demand",
        }

    def profile(self, role: str, *, access_key: str, secret_key: str, token: str) -> None:
        """Hand out a role's credentials."""
        base = "iam/security-credentials/"
        self.paths[base] = role
        self.paths[base + role] = json.dumps(
            {
                "Code": "Success",
                "Type": "AWS-HMAC",
                "AccessKeyId": access_key,
                "SecretAccessKey": secret_key,
                "Token": token,
                "Expiration": "2099-01-01T00:00:00Z",
            }
        )

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def metadata() -> Iterator[MetadataServer]:
    """A metadata server that nobody has filled yet."""
    server = MetadataServer()
    yield server
    server.close()
