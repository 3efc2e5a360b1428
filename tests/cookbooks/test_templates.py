"""What the templates make of every combination of settings, read by the programs they are for."""

from __future__ import annotations

import itertools
import os
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.cookbooks.rendering import call, render

TLS = [
    {"kind": kind, "challenge": challenge, "staging": staging, "email": None, "zone": ""}
    for kind, challenge, staging in itertools.product(
        ("letsencrypt", "own", "self-signed"), ("dns", "http"), (False, True)
    )
]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a self-signed certificate, laid out as the leader's state is."""
    state = tmp_path_factory.mktemp("state")
    (state / "tls").mkdir()
    make = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=notebooks.example.org -keyout privkey.pem -out fullchain.pem"
    )
    subprocess.run(make.split(), cwd=state / "tls", check=True, capture_output=True)
    x509.load_pem_x509_certificate((state / "tls/fullchain.pem").read_bytes())
    return state


def nginx_config(tls: dict[str, Any], *, state: Path, folder: Path) -> str:
    return render(
        "hub_leader/nginx.conf.erb",
        folder=str(folder),
        state=str(state),
        max_body="4g",
        hsts=call("HubLeader::Tls.hsts", tls, 63072000),
    )


@pytest.mark.parametrize("tls", TLS, ids=lambda t: f"{t['kind']}-{t['challenge']}-{t['staging']}")
def test_nginx_accepts_its_configuration(
    tls: dict[str, Any], certificate: Path, tmp_path: Path
) -> None:
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert nginx, "nginx is not installed (Debian package nginx-light)"
    text = nginx_config(tls, state=certificate, folder=tmp_path)
    # what only root or a container has
    text = text.replace("pid /run/nginx.pid", f"pid {tmp_path}/nginx.pid")
    text = text.replace("_path /tmp/", f"_path {tmp_path}/").replace("/dev/stdout", "/dev/null")
    config = tmp_path / "nginx.conf"
    config.write_text(text)
    done = subprocess.run(
        [nginx, "-t", "-q", "-e", "stderr", "-c", str(config)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    trusted = tls["kind"] != "self-signed" and not tls["staging"]
    assert ("Strict-Transport-Security" in text) is trusted


def test_browsers_are_offered_nothing_below_tls_1_2_with_forward_secrecy(tmp_path: Path) -> None:
    text = nginx_config(TLS[0], state=tmp_path, folder=tmp_path)
    assert "ssl_protocols TLSv1.2 TLSv1.3;" in text
    ciphers = text.split("ssl_ciphers ")[1].split(";")[0]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(ciphers)
    for cipher in context.get_ciphers():
        assert cipher["aead"], cipher
        assert cipher["name"].startswith(("ECDHE-", "TLS_")), cipher


def test_nothing_that_a_client_claims_is_passed_on_as_its_address(tmp_path: Path) -> None:
    text = nginx_config(TLS[0], state=tmp_path, folder=tmp_path)
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in text


def test_tokens_in_queries_are_not_logged(tmp_path: Path) -> None:
    text = nginx_config(TLS[0], state=tmp_path, folder=tmp_path)
    formats = text.split("log_format")[1].split(";")[0]
    for variable in ("$request ", '$request"', "$request_uri", "$args", "$query_string"):
        assert variable not in formats


def test_a_title_cannot_break_the_starting_page() -> None:
    page = render("hub_leader/starting.html.erb", title="<script>alert(1)</script> & Co")
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_the_tunnel_checks_whom_it_speaks_to() -> None:
    text = render(
        "hub_base/tunnel.conf.erb",
        dns_name="fs-1.efs.eu-central-1.amazonaws.com",
        port=20049,
        ca_file="/etc/ssl/certs/ca-certificates.crt",
    )
    assert "verifyChain = yes" in text
    assert "checkHost = fs-1.efs.eu-central-1.amazonaws.com" in text
    assert "accept = 127.0.0.1:20049" in text


def test_the_guards_script_is_clean() -> None:
    script = render("hub_base/notebook-guard.erb", chain="HUBDEPLOY-NOTEBOOKS")
    checked = subprocess.run(
        ["shellcheck", "-"], input=script, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout
