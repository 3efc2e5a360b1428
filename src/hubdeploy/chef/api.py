"""Signed requests to one Chef server, JSON in and out."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, NoReturn, Self
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import rsa

from hubdeploy.chef import failures, signing
from hubdeploy.chef.failures import NotAChefServer
from hubdeploy.chef.objects import ServerInfo
from hubdeploy.chef.transport import Answer, Transport

log = logging.getLogger(__name__)

TIMEOUT = 30.0
_CHEF_VERSION = "18.0.0"
"""Said to be, in ``X-Chef-Version``: servers refuse clients that say nothing or are too old."""

PrivateKey = str | bytes | Path | rsa.RSAPrivateKey
"""PEM text, a path, or a key object."""


class SignedApi:
    """A Chef server as one client sees it: requests, files, who it is.

    Args:
        url: ``https://HOST[:PORT][/organizations/NAME]``.
        client: the client's or user's name, which signs.
        key: its RSA private key: PEM text, a path, or a key object.
        trust: the certificate that the server published (PEM text, file or folder of files);
            ``None`` for the system's authorities. The check cannot be switched off.
        timeout: seconds for each call, answer included.
        connect: ``HOST:PORT`` to dial instead of the URL's own, for a tunnel; the certificate is
            still checked for the name in the URL.

    May be shared between threads.
    """

    def __init__(
        self,
        url: str,
        *,
        client: str,
        key: PrivateKey,
        trust: str | Path | None = None,
        timeout: float = TIMEOUT,
        connect: str | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.client = client
        self._key = signing.load_key(key)
        self._transport = Transport(self.url, trust=trust, connect=connect, timeout=timeout)
        self._trust, self._timeout, self._connect = trust, timeout, connect
        self._path = urlsplit(self.url).path
        self._root = self.url[: len(self.url) - len(self._path)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    def acting_as(self, client: str, key: PrivateKey) -> Self:
        """The same server, spoken to as another client."""
        return type(self)(
            self.url,
            client=client,
            key=key,
            trust=self._trust,
            timeout=self._timeout,
            connect=self._connect,
        )

    @property
    def organisation(self) -> str | None:
        """Of a Chef Server's URL; ``None`` on goiardi."""
        parts = self._path.strip("/").split("/")
        return parts[1] if len(parts) == 2 and parts[0] == "organizations" else None

    def request(self, method: str, path: str, data: Any = None) -> Any:
        """One signed request below the URL; ``data`` is sent and the answer returned as JSON.

        ``path`` begins with a slash and is already quoted; it may have a query.

        Raises:
            ChefError: see :mod:`hubdeploy.chef.failures`.
        """
        return self._decode(method, path, self._send(method, self._path + path, data))

    def request_root(self, method: str, path: str, data: Any = None) -> Any:
        """As :meth:`request`, but above the organisation (``/users``)."""
        return self._decode(method, path, self._send(method, path, data))

    def send_file(self, url: str, data: bytes, *, headers: dict[str, str]) -> None:
        """PUT a file to a URL that the server handed out (pre-signed; through the tunnel too)."""
        answer = self._transport.send("PUT", url, headers=headers, body=data)
        if not answer.ok:
            self._refuse("PUT", urlsplit(url).path, answer)

    def fetch_file(self, url: str) -> bytes:
        """GET a file from a URL that the server handed out."""
        answer = self._transport.send("GET", url, headers={})
        if not answer.ok:
            self._refuse("GET", urlsplit(url).path, answer)
        return answer.body

    def check(self) -> ServerInfo:
        """Reach the server, have certificate and key accepted; says who it is."""
        answer = self._send("GET", f"{self._path}/nodes", None)
        self._decode("GET", "/nodes", answer)
        if "X-Goiardi" in answer.headers:
            version = answer.headers.get("X-Goiardi-Version", "")
            return ServerInfo(flavour="goiardi", version=version)
        # X-Ops-API-Info: flavor=cs;version:12.0.0;oc_erchef:…
        said = answer.headers.get("X-Ops-API-Info", "").replace(":", "=").split(";")
        info = dict(part.split("=", 1) for part in said if "=" in part)
        return ServerInfo(flavour="chef-server", version=info.get("version", ""))

    def _send(self, method: str, path: str, data: Any) -> Answer:
        body = b"" if data is None else json.dumps(data).encode()
        headers = signing.sign(
            key=self._key, client=self.client, method=method, path=path, body=body
        )
        headers |= {"Accept": "application/json", "X-Chef-Version": _CHEF_VERSION}
        if data is not None:
            headers["Content-Type"] = "application/json"
        answer = self._transport.send(method, self._root + path, headers=headers, body=body)
        log.debug("%s %s -> %s", method, path, answer.status)
        return answer

    def _decode(self, method: str, path: str, answer: Answer) -> Any:
        if not answer.ok:
            self._refuse(method, path, answer)
        try:
            return json.loads(answer.body)
        except ValueError:
            self._stranger(method, path, answer)

    def _refuse(self, method: str, path: str, answer: Answer) -> NoReturn:
        words = failures.server_words(answer.body)
        known = "X-Ops-API-Info" in answer.headers or "X-Goiardi" in answer.headers
        if not (words or known or answer.status >= 500):
            self._stranger(method, path, answer)
        raise failures.from_status(
            status=answer.status,
            method=method,
            path=path,
            base=self.url,
            client=self.client,
            words=words,
        )

    def _stranger(self, method: str, path: str, answer: Answer) -> NoReturn:
        raise NotAChefServer(
            f"{self.url} answered {answer.status} to {method} {path}, "
            "but not as a Chef server does",
            hint="check the address, and the organisation's name in it",
        )
