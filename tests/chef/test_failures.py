"""Every way in which a Chef server can fail us is one clear line and a hint."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hubdeploy.chef import signing
from hubdeploy.chef.failures import (
    ChefCertificateError,
    ChefRefused,
    ChefTimeout,
    ChefUnreachable,
    NotAChefServer,
)
from hubdeploy.chef.server import ChefServer
from hubdeploy.errors import ChefError
from tests.plugins.goiardi import HOST, Goiardi, free_port, make_certificate, start_goiardi

pytestmark = pytest.mark.goiardi

Handle = Callable[[BaseHTTPRequestHandler], None]
KEY = signing.new_key()


class Stranger:
    """Something that answers on TLS with the right certificate, as ``handle`` says."""

    def __init__(self, folder: Path, handle: Handle) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Quiet."""

            def do_GET(self) -> None:
                handle(self)

        self.certificate = make_certificate(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def server(self, *, timeout: float = 5) -> ChefServer:
        return ChefServer(
            f"https://{HOST}:{self.port}",
            client="admin",
            key=KEY,
            trust=self.certificate,
            connect=f"127.0.0.1:{self.port}",
            timeout=timeout,
        )

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[Callable[[Handle], Stranger]]:
    started: list[Stranger] = []

    def start(handle: Handle) -> Stranger:
        started.append(Stranger(tmp_path, handle))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def test_a_wrong_key_is_named_as_such(goiardi: Goiardi) -> None:
    wrong = goiardi.server(key=signing.private_pem(KEY))
    with pytest.raises(ChefRefused, match="does not accept the key of 'admin'") as caught:
        wrong.nodes()
    assert caught.value.status == 401
    assert "private key" in caught.value.hint
    assert caught.value.words, "the server's own text is kept"


def test_an_unknown_client_is_not_accepted(goiardi: Goiardi) -> None:
    with pytest.raises(ChefRefused) as caught:
        goiardi.server(client="never-registered").nodes()
    assert caught.value.status == 401


def test_a_validator_may_not_list_nodes(goiardi: Goiardi) -> None:
    validator = goiardi.server(client="chef-validator", key=goiardi.validator_key)
    with pytest.raises(ChefRefused, match=r"may not do that .*not allowed") as caught:
        validator.nodes()
    assert caught.value.status == 403


def test_an_expired_certificate_is_named_as_such(tmp_path: Path) -> None:
    old = start_goiardi(tmp_path, days=(-30, -1))
    try:
        with pytest.raises(ChefCertificateError, match="has expired"):
            old.server().nodes()
    finally:
        old.stop()


def test_a_certificate_that_was_not_published_is_refused(goiardi: Goiardi, tmp_path: Path) -> None:
    with pytest.raises(ChefCertificateError, match="is not the trusted one"):
        ChefServer(
            goiardi.url,
            client="admin",
            key=goiardi.admin_key,
            trust=make_certificate(tmp_path),
            connect=goiardi.connect,
        ).nodes()


def test_the_certificate_must_bear_the_urls_name_even_through_a_tunnel(goiardi: Goiardi) -> None:
    with pytest.raises(ChefCertificateError, match="bears another name"):
        ChefServer(
            f"https://chef.other.internal:{goiardi.port}",
            client="admin",
            key=goiardi.admin_key,
            trust=goiardi.certificate,
            connect=goiardi.connect,
        ).nodes()


def test_a_server_that_is_down_is_said_to_be_down() -> None:
    port = free_port()
    began = time.monotonic()
    with pytest.raises(ChefUnreachable, match=f"down: nothing listens at 127.0.0.1:{port}"):
        ChefServer(
            f"https://{HOST}:{port}", client="admin", key=KEY, connect=f"127.0.0.1:{port}"
        ).nodes()
    assert time.monotonic() - began < 5


def test_a_name_that_does_not_resolve_points_to_the_tunnel() -> None:
    with pytest.raises(ChefUnreachable, match="cannot be resolved") as caught:
        ChefServer("https://chef.nowhere.invalid", client="admin", key=KEY).nodes()
    assert "tunnel" in caught.value.hint


def test_a_server_that_accepts_and_never_answers_runs_into_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        began = time.monotonic()
        with pytest.raises(ChefTimeout, match=r"did not answer within 0\.5 s"):
            ChefServer(
                f"https://{HOST}:{port}",
                client="admin",
                key=KEY,
                connect=f"127.0.0.1:{port}",
                timeout=0.5,
            ).nodes()
        assert time.monotonic() - began < 3


def test_a_server_that_drips_its_answer_runs_into_the_deadline(
    stranger: Callable[[Handle], Stranger],
) -> None:
    gone = threading.Event()

    def drip(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "100000")
        request.end_headers()
        try:
            while not gone.wait(0.1):
                request.wfile.write(b" ")
        except OSError:
            return

    slow = stranger(drip)
    with pytest.raises(ChefTimeout, match="did not answer within 1 s"):
        slow.server(timeout=1).nodes()
    gone.set()


def test_a_web_server_is_not_taken_for_a_chef_server(
    stranger: Callable[[Handle], Stranger],
) -> None:
    def page(request: BaseHTTPRequestHandler) -> None:
        body = b"<html>It works</html>"
        request.send_response(200 if request.path == "/nodes" else 404)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    web = stranger(page)
    with pytest.raises(NotAChefServer, match="not as a Chef server does"):
        web.server().nodes()
    with pytest.raises(NotAChefServer, match="answered 404"):
        web.server().roles()


def test_plain_http_where_tls_is_expected_is_no_chef_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:
        port = plain.getsockname()[1]

        def answer() -> None:
            connection, _ = plain.accept()
            connection.recv(100)
            connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
            connection.close()

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(NotAChefServer, match="No TLS at"):
            ChefServer(
                f"https://{HOST}:{port}", client="admin", key=KEY, connect=f"127.0.0.1:{port}"
            ).nodes()


def test_a_starting_server_is_asked_again_before_giving_up(
    stranger: Callable[[Handle], Stranger],
) -> None:
    answers = [502, 503, 200]

    def starting(request: BaseHTTPRequestHandler) -> None:
        status = answers.pop(0)
        body = b'{"one": "url"}' if status == 200 else b"<html>nginx</html>"
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    assert stranger(starting).server().nodes() == ["one"]
    answers += [504, 504, 504]
    with pytest.raises(ChefRefused) as caught:
        stranger(starting).server().nodes()
    assert caught.value.status == 504
    assert "try again" in caught.value.hint


def test_a_clock_that_is_off_is_named_in_the_hint(
    goiardi: Goiardi, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign = signing.sign
    late = datetime.now(UTC) - timedelta(hours=1)
    monkeypatch.setattr(signing, "sign", lambda **given: sign(**given, at=late))
    with pytest.raises(ChefRefused) as caught:
        goiardi.server().nodes()
    assert "clock" in caught.value.hint


@pytest.mark.parametrize(
    "key",
    ["/nowhere/key.pem", "-----BEGIN RSA PRIVATE KEY-----\nc2VjcmV0\n-----END", b"nonsense"],
)
def test_an_unreadable_key_is_refused_without_being_quoted(key: str | bytes) -> None:
    with pytest.raises(ChefError) as caught:
        ChefServer(f"https://{HOST}", client="admin", key=key)
    assert "c2VjcmV0" not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize("url", ["chef.demo.internal", "ftp://chef", ""])
def test_an_address_without_a_scheme_is_refused(url: str) -> None:
    with pytest.raises(ChefError, match="Not a Chef server's address"):
        ChefServer(url, client="admin", key=KEY)


def test_trust_may_be_text_a_file_or_a_folder(goiardi: Goiardi, tmp_path: Path) -> None:
    file = tmp_path / "chef.crt"
    file.write_text(goiardi.certificate)
    for trust in (goiardi.certificate, file, str(file), tmp_path):
        ChefServer(
            goiardi.url,
            client="admin",
            key=goiardi.admin_key,
            trust=trust,
            connect=goiardi.connect,
        ).check()
    empty = tmp_path / "empty"
    empty.mkdir()
    for nothing in (empty, tmp_path / "missing.pem", "-----BEGIN CERTIFICATE-----\nx"):
        with pytest.raises(ChefError, match=r"no certificate|cannot be read"):
            ChefServer(goiardi.url, client="admin", key=KEY, trust=nothing)
