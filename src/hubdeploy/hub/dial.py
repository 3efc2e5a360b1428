"""Connections to a hub that may be reached at another address than its name says.

In the rehearsal, and before DNS points to a new hub, the address is known but the name does not
resolve to it. The name still goes into TLS and into the Host header, so that what is tested is
what people get.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter


class Dial:
    """How *url* is reached; see :class:`hubdeploy.hub.client.HubClient` for the arguments."""

    def __init__(
        self,
        url: str,
        *,
        verify: bool | str = True,
        connect: tuple[str, int] | None = None,
        timeout: float = 30.0,
    ) -> None:
        parts = urlsplit(url)
        self.secure = parts.scheme == "https"
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if self.secure else 80)
        self.netloc = parts.netloc
        self.verify = verify
        self.connect = connect
        self.timeout = timeout

    def session(self) -> requests.Session:
        """For plain HTTP requests; ignores proxies of the environment when *connect* is given."""
        session = requests.Session()
        session.verify = self.verify
        # the hub's proxy ends a connection that was idle for five seconds, maybe just as it is used
        session.headers["Connection"] = "close"
        if self.connect is not None:
            session.trust_env = False
            session.mount(f"{'https' if self.secure else 'http'}://{self.netloc}", _Elsewhere(self))
        return session

    def websocket(self, path: str, *, cookie: str, headers: Sequence[str], timeout: float) -> Any:
        """An open websocket to *path*."""
        import websocket

        raw = socket.create_connection(self.connect or (self.host, self.port), self.timeout)
        try:
            if self.secure:
                raw = self._context().wrap_socket(raw, server_hostname=self.host)
            raw.settimeout(timeout)
            return websocket.create_connection(
                f"{'wss' if self.secure else 'ws'}://{self.netloc}{path}",
                socket=raw,
                cookie=cookie or None,
                header=list(headers),
                origin=f"{'https' if self.secure else 'http'}://{self.netloc}",
                timeout=timeout,
            )
        except BaseException:
            raw.close()
            raise

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(
            cafile=self.verify if isinstance(self.verify, str) else None
        )
        if self.verify is False:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class _Elsewhere(HTTPAdapter):
    """Sends requests to ``dial.connect``, with the name in TLS and in the Host header."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        if self._dial.secure:
            kwargs["server_hostname"] = self._dial.host
            if self._dial.verify is not False:
                kwargs["assert_hostname"] = self._dial.host
        super().init_poolmanager(*args, **kwargs)

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        host["host"], host["port"] = self._dial.connect or (self._dial.host, self._dial.port)
        return host, pool

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        request.headers["Host"] = self._dial.netloc
        return super().send(request, stream, timeout, verify, cert, proxies)
