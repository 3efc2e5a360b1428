"""AWS's own endpoints as a program sees them, served on loopback.

A proxy that ends TLS with certificates of an authority of its own, trusted by ``AWS_CA_BUNDLE``,
hands every request for ``*.amazonaws.com`` to the embedded AWS. So the command line can be run as
on AWS, without ``--sandbox``, and nothing leaves this machine.
"""

from __future__ import annotations

import http.client
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_HOP = ("connection", "proxy-connection", "transfer-encoding", "content-length", "keep-alive")


class Authority:
    """Makes certificates for whatever host is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bundle = folder / "authority.pem"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("embedded AWS")
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._lock = threading.Lock()
        self.bundle.write_bytes(_pem(self._sign(self._name, ca=True)))

    def context(self, host: str) -> ssl.SSLContext:
        with self._lock:
            if host not in self._contexts:
                pair = self.folder / f"{len(self._contexts)}.pem"
                names = x509.SubjectAlternativeName([x509.DNSName(host)])
                secret = self._key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                )
                pair.write_bytes(_pem(self._sign(_named("service"), names)) + secret)
                self._contexts[host] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                self._contexts[host].load_cert_chain(pair)
            return self._contexts[host]

    def _sign(
        self, subject: x509.Name, names: x509.SubjectAlternativeName | None = None, ca: bool = False
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())


@contextmanager
def intercepted(endpoint_url: str, folder: Path) -> Iterator[dict[str, str]]:
    """The environment for a program whose calls to AWS are to go to ``endpoint_url``."""
    authority, target = Authority(folder), urlsplit(endpoint_url).netloc

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        bucket = ""

        def do_CONNECT(self) -> None:
            host = self.path.rpartition(":")[0]
            named = re.fullmatch(r"(.+)\.s3[.-].*", host)
            self.bucket = f"/{named[1]}" if named else ""
            self.send_response(200)
            self.end_headers()
            self.connection = authority.context(host).wrap_socket(self.connection, server_side=True)
            self.rfile = self.connection.makefile("rb")
            self.wfile = self.connection.makefile("wb", buffering=0)
            self.close_connection = False

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            upstream = http.client.HTTPConnection(target, timeout=60)
            headers = {**dict(self.headers.items()), "Host": target}
            upstream.request(self.command, self.bucket + self.path, body, headers)
            answer = upstream.getresponse()
            data = answer.read()
            upstream.close()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _pass_on

        def log_message(self, *_: Any) -> None:
            """The embedded AWS keeps a log."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that does not trust the authority hangs up: that is its business."""

    server = Server(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield {
            "HTTPS_PROXY": f"http://127.0.0.1:{server.server_port}",
            "AWS_CA_BUNDLE": str(authority.bundle),
        }
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
