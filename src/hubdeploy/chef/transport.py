"""HTTP to one Chef server: TLS trust, deadlines, tunnels; no knowledge of what is asked.

The server's certificate is checked against the one that the deployment published and nothing
else; there is no way to switch the check off. The address that is dialled may differ from the name
in the URL (a port forwarded by SSH or SSM): the certificate is still checked for the name.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
)
from urllib3.util.connection import create_connection

from hubdeploy.chef import failures
from hubdeploy.errors import ChefError

CONNECT_SECONDS = 10.0
_ATTEMPTS = 3
_PASSING = (502, 503, 504)
_REPEATABLE = ("GET", "HEAD", "PUT", "DELETE")


def trust_context(trust: str | Path | None) -> ssl.SSLContext:
    """A TLS context that believes only ``trust``: PEM text, a PEM file, or a folder of them.

    ``None`` means the system's own authorities. TLS 1.2 is the least.

    Raises:
        ChefError: nothing readable there.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # the published certificate may be the server's own rather than its authority's
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        if trust is None:
            context.load_default_certs()
        elif isinstance(trust, str) and "-----BEGIN" in trust:
            context.load_verify_locations(cadata=trust)
        elif Path(trust).is_dir():
            files = sorted(p for p in Path(trust).iterdir() if p.suffix in (".crt", ".pem"))
            if not files:
                raise ChefError(
                    f"There is no certificate in {trust}",
                    hint="put the Chef server's certificate there (.crt or .pem)",
                )
            for file in files:
                context.load_verify_locations(cafile=file)
        else:
            context.load_verify_locations(cafile=Path(trust))
    except OSError as error:  # ssl.SSLError is one
        raise ChefError(
            f"The Chef server's certificate cannot be read: {error}",
            hint="it must be the PEM text that the Chef server published, or a file with it",
        ) from None
    return context


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A complete answer: HTTP status, headers, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        return self.status < 400


def _detour(connection: HTTPConnection, there: tuple[str, int]) -> socket.socket:
    """Dial ``there`` for ``connection``, with urllib3's own errors."""
    try:
        return create_connection(
            there, connection.timeout, socket_options=connection.socket_options
        )
    except socket.gaierror as error:
        raise NameResolutionError(there[0], connection, error) from error
    except TimeoutError as error:
        raise ConnectTimeoutError(connection, f"no answer from {there[0]}:{there[1]}") from error
    except OSError as error:
        raise NewConnectionError(connection, str(error)) from error


class _Adapter(HTTPAdapter):
    """Our trust alone, and the detour for the server's own host and port."""

    def __init__(
        self, *, context: ssl.SSLContext, name: tuple[str, int], there: tuple[str, int]
    ) -> None:
        self._context = context
        self._name = name
        self._there = there
        super().__init__(pool_connections=4, pool_maxsize=16)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        kwargs["ssl_context"] = self._context
        super().init_poolmanager(*args, **kwargs)
        name, there = self._name, self._there
        if name == there:
            return

        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                ours = (self.host, self.port) == name
                return _detour(self, there) if ours else super()._new_conn()

        class Secure(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                ours = (self.host, self.port) == name
                return _detour(self, there) if ours else super()._new_conn()

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = Secure

        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        # requests would add its own bundle of public authorities to our context
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {"cert_reqs": "CERT_REQUIRED"}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Nothing to add: the context holds all there is to trust."""


def _host_port(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ChefError(f"Not a Chef server's address: {url!r}", hint="it begins with https://")
    return parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def parse_address(address: str) -> tuple[str, int]:
    """``HOST:PORT`` or ``[IPv6]:PORT``.

    Raises:
        ChefError: no port, or no number.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ChefError(f"Not an address to connect to: {address!r}", hint="HOST:PORT")
    return host.strip("[]"), int(port)


class Transport:
    """Sends bytes to one server and brings the answer back within a deadline.

    Safe to use from several threads. ``connect`` is the ``HOST:PORT`` to dial instead of the URL's
    own; ``timeout`` is in seconds for a whole call, answer included.
    """

    def __init__(
        self,
        url: str,
        *,
        trust: str | Path | None = None,
        connect: str | None = None,
        timeout: float = 30.0,
    ) -> None:
        self.url = url.rstrip("/")
        self.timeout = timeout
        self._name = _host_port(self.url)
        self._there = parse_address(connect) if connect else self._name
        self._session = requests.Session()
        # neither a proxy nor ~/.netrc comes between a machine and its own Chef server
        self._session.trust_env = False
        adapter = _Adapter(context=trust_context(trust), name=self._name, there=self._there)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    @property
    def at(self) -> str:
        """``HOST:PORT`` that is really dialled, for messages."""
        return f"{self._there[0]}:{self._there[1]}"

    def close(self) -> None:
        self._session.close()

    def send(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes = b""
    ) -> Answer:
        """One request; an interrupted or 502/503/504 one is repeated where that does no harm.

        Raises:
            ChefError: no usable answer within the deadline (see :mod:`hubdeploy.chef.failures`).
        """
        end = time.monotonic() + self.timeout
        attempts = _ATTEMPTS if method in _REPEATABLE else 1
        for attempt in range(1, attempts + 1):
            last = attempt == attempts or time.monotonic() >= end
            try:
                answer = self._once(method, url, headers=headers, body=body, end=end)
            except requests.RequestException as error:
                if last or not _was_cut_off(error):
                    raise failures.from_transport(
                        error, base=self.url, at=self._dialled(url), seconds=self.timeout
                    ) from error
                continue
            if last or answer.status not in _PASSING:
                return answer
        raise AssertionError("the last attempt returns or raises")

    def _dialled(self, url: str) -> str:
        host, port = _host_port(url)
        return self.at if (host, port) == self._name else f"{host}:{port}"

    def _once(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes, end: float
    ) -> Answer:
        left = max(0.05, end - time.monotonic())
        with self._session.request(
            method,
            url,
            headers=dict(headers),
            data=body or None,
            timeout=(min(CONNECT_SECONDS, left), left),
            allow_redirects=False,
            stream=True,
        ) as response:
            return Answer(
                status=response.status_code,
                headers=response.headers,
                body=_read(response, end=end),
            )


def _read(response: requests.Response, *, end: float) -> bytes:
    """The whole body, or :class:`requests.ReadTimeout` when ``end`` (monotonic) has passed.

    Read as it comes: a server that drips bytes never runs into the socket's own timeout.
    """
    parts: list[bytes] = []
    try:
        while part := response.raw.read1(64 * 1024, decode_content=True):
            parts.append(part)
            if time.monotonic() > end:
                raise requests.ReadTimeout("the answer took too long")
    except (ReadTimeoutError, TimeoutError) as error:
        raise requests.ReadTimeout(str(error)) from error
    except HTTPError as error:
        raise requests.ConnectionError(error) from error
    return b"".join(parts)


def _was_cut_off(error: requests.RequestException) -> bool:
    """A connection that the server closed while idle: worth another try at once."""
    text = str(error)
    return isinstance(error, requests.ConnectionError) and (
        "RemoteDisconnected" in text or "Connection aborted" in text or "reset by peer" in text
    )
