"""A real Chef server for tests: goiardi on loopback, TLS, signed requests, a fresh data set."""

from __future__ import annotations

import datetime
import ipaddress
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import tenacity
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from hubdeploy.chef.server import ChefServer

HOST = "chef.demo.internal"
"""What the certificate bears; resolvable nowhere, so every test goes through ``connect``."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def make_certificate(folder: Path, *, host: str = HOST, days: tuple[int, int] = (-1, 30)) -> str:
    """A self-signed certificate, valid from ``days[0]`` to ``days[1]`` from now; PEM.

    Writes ``folder/tls.crt`` and ``folder/tls.key``.
    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    now = datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName(host), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    (folder / "tls.crt").write_text(pem)
    (folder / "tls.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    return pem


@dataclass
class Goiardi:
    """A running goiardi. ``url`` bears the certificate's name, ``connect`` is where it listens."""

    folder: Path
    port: int
    certificate: str
    process: subprocess.Popen[bytes]
    host: str = HOST

    @property
    def url(self) -> str:
        return f"https://{self.host}:{self.port}"

    @property
    def connect(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def admin_key(self) -> str:
        return (self.folder / "admin.pem").read_text()

    @property
    def validator_key(self) -> str:
        return (self.folder / "chef-validator.pem").read_text()

    def server(self, *, client: str = "admin", key: str = "", timeout: float = 10) -> ChefServer:
        """The server as seen by the admin, or by another client."""
        return ChefServer(
            self.url,
            client=client,
            key=key or self.admin_key,
            trust=self.certificate,
            connect=self.connect,
            timeout=timeout,
        )

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


def start_goiardi(folder: Path, *, days: tuple[int, int] = (-1, 30), host: str = HOST) -> Goiardi:
    """Start one with empty data in ``folder``; ``days`` as of :func:`make_certificate`.

    ``host`` is its name, ``localhost`` for clients that cannot be told another address.
    """
    binary = shutil.which("goiardi")
    assert binary, "goiardi is not installed: apt-get install goiardi"
    folder.mkdir(parents=True, exist_ok=True)
    certificate = make_certificate(folder, host=host, days=days)
    port = free_port()
    with (folder / "goiardi.log").open("wb") as log:
        process = subprocess.Popen(
            [
                binary,
                "--hostname", host,
                "--ipaddress", "127.0.0.1",
                "--port", str(port),
                "--conf-root", str(folder),
                "--use-auth",
                "--use-ssl",
                "--ssl-cert", str(folder / "tls.crt"),
                "--ssl-key", str(folder / "tls.key"),
                "--local-filestore-dir", str(folder),
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )  # fmt: skip
    running = Goiardi(folder=folder, port=port, certificate=certificate, process=process, host=host)

    @tenacity.retry(
        stop=tenacity.stop_after_delay(20),
        wait=tenacity.wait_fixed(0.05),
        retry=tenacity.retry_if_exception_type(OSError),
        reraise=True,
    )
    def answers() -> None:
        assert process.poll() is None, (folder / "goiardi.log").read_text()
        context = ssl.create_default_context(cadata=certificate)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # an expired certificate is what some tests want
        with socket.create_connection(("127.0.0.1", port), 1) as plain:
            context.wrap_socket(plain).close()
        if not (folder / "chef-validator.pem").exists():
            raise FileNotFoundError("goiardi has not written its keys yet")

    try:
        answers()
    except BaseException:
        running.stop()
        raise
    return running


@pytest.fixture(scope="module")
def goiardi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Goiardi]:
    """One server with empty data for each test module."""
    running = start_goiardi(tmp_path_factory.mktemp("goiardi"))
    yield running
    running.stop()
