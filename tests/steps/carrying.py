"""Carries boto3's calls to an embedded AWS without HTTP: in this process or by a Unix socket."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Client
from typing import Any
from urllib.parse import unquote, urlsplit

Request = tuple[str, str, dict[str, str], bytes]
"""Method, URL, headers, body."""
Response = tuple[int, list[tuple[str, str]], bytes]
"""Status, headers, body."""
Send = Callable[[Request], Response]


class _Raw(io.BytesIO):
    """A body as urllib3 gives it."""

    def stream(self, **_: Any) -> Any:
        data = self.read()
        while data:
            yield data
            data = self.read()


def carry(aws: Any, send: Send) -> None:
    """Let the calls of this session go through ``send``."""
    from botocore.awsrequest import AWSResponse

    def before_send(request: Any, **_: Any) -> Any:
        body = request.body
        if hasattr(body, "read"):
            body = body.read()
        if isinstance(body, str):
            body = body.encode()
        headers = {
            name: value.decode() if isinstance(value, bytes) else value
            for name, value in request.headers.items()
        }
        status, answered, data = send((request.method, request.url, headers, body or b""))
        return AWSResponse(request.url, status, dict(answered), _Raw(data))

    aws._session.events.register("before-send", before_send)


def through(address: str) -> Send:
    """Through the socket at ``address``, by a connection for each thread."""
    mine = threading.local()

    def send(request: Request) -> Response:
        if not hasattr(mine, "connection"):
            mine.connection = Client(address, family="AF_UNIX")
        mine.connection.send(request)
        answer: Response = mine.connection.recv()
        return answer

    return send


def into(cloud: Any) -> Send:
    """Straight into the embedded AWS of this process."""

    def send(request: Request) -> Response:
        method, url, headers, body = request
        parts = urlsplit(url)
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote(parts.path, "latin-1") or "/",
            "RAW_URI": url.removeprefix(f"{parts.scheme}://{parts.netloc}") or "/",
            "REQUEST_URI": url.removeprefix(f"{parts.scheme}://{parts.netloc}") or "/",
            "QUERY_STRING": parts.query,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in headers.items():
            key = name.upper().replace("-", "_")
            environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
        environ["CONTENT_LENGTH"] = str(len(body))
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        environ["HTTP_HOST"] = parts.netloc
        heads: list[Any] = []

        def start(status: str, answered: list[tuple[str, str]], *_: Any) -> None:
            heads[:] = [int(status.split()[0]), answered]

        data = b"".join(cloud.app(environ, start))
        return heads[0], heads[1], data

    return send
