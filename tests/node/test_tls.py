"""The hub's certificate: own, Let's Encrypt's, self-signed, and what stands in for it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hubdeploy.config.names import STATE_DIR, Role
from hubdeploy.errors import HubdeployError
from hubdeploy.node import certificates, tls
from hubdeploy.node.aws import Cloud
from hubdeploy.node.waiting import wait_for
from tests.cookbooks.test_templates import nginx_config
from tests.plugins.deployment import Site
from tests.plugins.hubprocess import free_port

HOST = "notebooks.example.org"
ZONE = "Z123"


def use(site: Site, kind: str, host: str = HOST, **more: object) -> None:
    """Settings with this certificate."""
    site.settings["tls"] = {"kind": kind, "challenge": "dns", "staging": False, **more}
    site.settings["hub_host"] = host
    site.publish()


@pytest.fixture
def leader(site: Site) -> Iterator[Cloud]:
    with site.machine(Role.LEADER, "i-0a", zone=ZONE) as cloud:
        yield cloud


def shown(cloud: Cloud) -> str:
    return (cloud.machine.path(tls.FOLDER) / "fullchain.pem").read_text()


class Certbot:
    """In place of certbot, whose CA cannot be reached here: issues, or refuses."""

    _CHALLENGE = (
        "mkdir -p $root/.well-known/acme-challenge; echo proof > "
        "$root/.well-known/acme-challenge/token; curl -sf $(cat {folder}/asks)/"
        ".well-known/acme-challenge/token | grep -qx proof || "
        '{{ echo "the challenge was not answered"; exit 1; }};'
    )

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        pair = certificates.issue([HOST], days=90, issuer="CA")
        (folder / "chain.pem").write_text(pair.chain)
        (folder / "key.pem").write_text(pair.key)
        program = folder / "certbot"
        program.write_text(
            f'#!/bin/sh\necho "$@" >> {folder}/called\n'
            f'[ -e {folder}/refuse ] && {{ echo "too many certificates"; exit 1; }}\n'
            'while [ $# -gt 0 ]; do case "$1" in --config-dir) home=$2;; -w) root=$2;; esac\n'
            "shift; done\n"
            f"[ -e {folder}/asks ] && {{ {self._CHALLENGE.format(folder=folder)} }}\n"
            f"mkdir -p $home/live/hub && cp {folder}/chain.pem $home/live/hub/fullchain.pem\n"
            f"cp {folder}/key.pem $home/live/hub/privkey.pem\n"
        )
        program.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        file = self.folder / "called"
        return file.read_text().splitlines() if file.exists() else []

    def come_to(self, url: str) -> None:
        """As a CA does: issue only once the challenge is answered there."""
        (self.folder / "asks").write_text(url)

    def refuse(self, yes: bool = True) -> None:
        file = self.folder / "refuse"
        file.touch() if yes else file.unlink()


@pytest.fixture
def certbot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certbot:
    folder = tmp_path / "certbot-bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return Certbot(folder)


# ------------------------------------------------------------------------------ self-signed


@pytest.mark.parametrize("host", [HOST, "10.42.0.4", "203.0.113.7"])
def test_a_self_signed_certificate_is_for_the_name_or_address(
    site: Site, leader: Cloud, host: str
) -> None:
    use(site, "self-signed", host)
    assert tls.ensure(leader) is True
    assert certificates.covers(shown(leader), host)
    assert not certificates.covers(shown(leader), "other.example.org")
    assert tls.in_place(leader)
    assert tls.ensure(leader) is False
    key = leader.machine.path(tls.FOLDER) / "privkey.pem"
    assert key.stat().st_mode & 0o777 == 0o600


def test_openssl_loads_the_pair_and_trusts_the_chain(site: Site, leader: Cloud) -> None:
    use(site, "self-signed")
    tls.ensure(leader)
    folder = leader.machine.path(tls.FOLDER)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
        folder / "fullchain.pem", folder / "privkey.pem"
    )


def test_a_rebuilt_leader_shows_the_same_self_signed_certificate(site: Site, leader: Cloud) -> None:
    use(site, "self-signed")
    tls.ensure(leader)
    before = shown(leader)
    with site.machine(Role.LEADER, "i-0b", zone=ZONE) as rebuilt:
        tls.ensure(rebuilt)
        assert shown(rebuilt) == before


def test_another_host_name_gets_another_certificate(site: Site, leader: Cloud) -> None:
    use(site, "self-signed")
    tls.ensure(leader)
    use(site, "self-signed", "hub.example.org")
    assert not tls.in_place(leader)
    assert tls.ensure(leader) is True
    assert certificates.covers(shown(leader), "hub.example.org")


@pytest.mark.parametrize("host", ["203.0.113.7", "localhost"])
def test_no_authority_is_asked_for_what_none_would_sign(
    site: Site, leader: Cloud, host: str, certbot: Certbot
) -> None:
    use(site, "letsencrypt", host)
    tls.ensure(leader)
    assert tls.note(leader)["kind"] == "self-signed"
    assert certbot.calls == []


# ------------------------------------------------------------------------------------- own


def store(site: Site, *, host: str = HOST, days: int = 30, key: str = "") -> None:
    pair = certificates.issue([host], days=days)
    site.put(site.names.parameters.tls_secret("certificate"), pair.chain, secret=True)
    site.put(site.names.parameters.tls_secret("key"), key or pair.key, secret=True)


def test_an_own_certificate_is_taken_from_ssm_and_followed(site: Site, leader: Cloud) -> None:
    use(site, "own")
    store(site)
    tls.ensure(leader)
    assert tls.note(leader)["kind"] == "own"
    assert tls.in_place(leader)
    store(site)
    assert not tls.in_place(leader)
    assert tls.ensure(leader) is True
    assert shown(leader) == site.get(site.names.parameters.tls_secret("certificate"))


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ({}, "No own certificate is stored"),
        ({"host": "www.example.org"}, f"not for {HOST}"),
        ({"key": certificates.issue(["x"], days=1).key}, "not the certificate's"),
        ({"key": "nonsense"}, "cannot be read"),
    ],
)
def test_an_unusable_own_certificate_is_stood_in_for_and_said_so(
    site: Site, leader: Cloud, what: dict[str, str], why: str
) -> None:
    use(site, "own")
    if what:
        store(site, **what)  # type: ignore[arg-type]
    tls.ensure(leader)
    said = tls.note(leader)
    assert (said["kind"], said["wanted"]) == ("self-signed", "own")
    assert why in said["why"]
    assert "PRIVATE" not in json.dumps(said)


# ---------------------------------------------------------------------------- Let's Encrypt


def test_a_certificate_is_issued_once_and_kept_for_a_rebuilt_leader(
    site: Site, leader: Cloud, certbot: Certbot
) -> None:
    use(site, "letsencrypt", email="ada@example.org")
    assert tls.ensure(leader) is True
    assert tls.note(leader)["kind"] == "letsencrypt"
    assert tls.ensure(leader) is False
    with site.machine(Role.LEADER, "i-0b", zone=ZONE) as rebuilt:
        tls.ensure(rebuilt)
        assert shown(rebuilt) == shown(leader)
    assert len(certbot.calls) == 1
    assert "--dns-route53" in certbot.calls[0]
    assert "--email ada@example.org" in certbot.calls[0]


def test_a_refusing_authority_leaves_a_stand_in_and_is_not_asked_at_once_again(
    site: Site, leader: Cloud, certbot: Certbot
) -> None:
    use(site, "letsencrypt")
    certbot.refuse()
    assert tls.ensure(leader) is True
    said = tls.note(leader)
    assert (said["kind"], said["wanted"]) == ("self-signed", "letsencrypt")
    assert "too many certificates" in said["why"]
    assert tls.in_place(leader)  # for an hour
    tls.ensure(leader)
    assert len(certbot.calls) == 1
    certbot.refuse(False)
    assert tls.ensure(leader, renew=True) is True
    assert tls.note(leader)["kind"] == "letsencrypt"


def test_staging_and_real_certificates_are_not_mixed_up(
    site: Site, leader: Cloud, certbot: Certbot
) -> None:
    use(site, "letsencrypt", staging=True)
    tls.ensure(leader)
    assert "--staging" in certbot.calls[0]
    use(site, "letsencrypt", staging=False)
    assert not tls.in_place(leader)
    tls.ensure(leader)
    assert "--staging" not in certbot.calls[1]
    assert tls.note(leader)["kind"] == "letsencrypt"


def test_the_http_challenge_waits_for_name_and_listener(
    site: Site, leader: Cloud, certbot: Certbot
) -> None:
    use(site, "letsencrypt", "notebooks.invalid", challenge="http")
    tls.ensure(leader)
    assert "notebooks.invalid does not resolve yet" in tls.note(leader)["why"]
    assert certbot.calls == []
    # nobody was asked, so nothing is gained by waiting
    assert not tls.in_place(leader)


@contextmanager
def nginx(cloud: Cloud, folder: Path) -> Iterator[int]:
    """nginx with the leader's configuration, on free ports; the one for plain HTTP."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "nginx is not installed (Debian package nginx-light)"
    http, https = free_port(), free_port()
    text = nginx_config({"kind": "self-signed"}, state=cloud.machine.path(STATE_DIR), folder=folder)
    for here, there in (
        ("listen 80 ", f"listen 127.0.0.1:{http} "),
        ("listen 443 ", f"listen 127.0.0.1:{https} "),
        ("pid /run/nginx.pid", f"pid {folder}/nginx.pid"),
        ("_path /tmp/", f"_path {folder}/"),
        ("/dev/stdout", "/dev/null"),
        # pytest's folders are this user's alone
        ("user nobody nogroup;", "user root;" if os.geteuid() == 0 else ""),
    ):
        assert here in text
        text = text.replace(here, there)
    (folder / "nginx.conf").write_text(text)
    command = [program, "-e", "stderr", "-c", str(folder / "nginx.conf")]
    server = subprocess.Popen(command)
    try:
        yield http
    finally:
        server.terminate()
        server.wait(20)


def test_the_http_challenge_is_answered_by_nginx_once_it_listens(
    site: Site,
    leader: Cloud,
    certbot: Certbot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(site, "letsencrypt", challenge="http")
    # the name leads to this machine, as it would if it were the leader's
    monkeypatch.setattr("socket.getaddrinfo", _everything_is_here(socket.getaddrinfo))
    monkeypatch.setattr(tls, "HTTP", free_port())
    tls.ensure(leader)
    assert "nginx does not listen on port" in tls.note(leader)["why"]
    assert certbot.calls == []
    folder = tmp_path / "nginx"
    folder.mkdir()
    with nginx(leader, folder) as port:
        monkeypatch.setattr(tls, "HTTP", port)
        certbot.come_to(f"http://127.0.0.1:{port}")
        # the timer's next round, some minutes later; nginx may be starting still
        wait_for("the certificate", lambda: tls.ensure(leader) or None, seconds=30, every=0.2)
    said = tls.note(leader)
    assert (said["kind"], said["why"]) == ("letsencrypt", "")
    (call,) = certbot.calls
    assert f"--webroot -w {leader.machine.path(tls.ACME)}" in call
    assert "--dns-route53" not in call


def _everything_is_here(look_up: Callable[..., Any]) -> Callable[..., Any]:
    return lambda host, *more, **named: look_up(
        "127.0.0.1" if host == HOST else host, *more, **named
    )


def test_a_worker_may_not_read_the_kept_certificate(site: Site, leader: Cloud) -> None:
    use(site, "self-signed")
    tls.ensure(leader)
    with site.machine(Role.WORKER, "i-0b") as worker, pytest.raises(HubdeployError) as refused:
        worker.object(f"tls/{HOST}/self-signed.json")
    assert "AccessDenied" in str(refused.value)


# ------------------------------------------------------------------------------ certificates


def test_wildcards_cover_one_level() -> None:
    pem = certificates.issue(["*.example.org"], days=1).chain
    assert certificates.covers(pem, HOST)
    assert not certificates.covers(pem, "a.b.example.org")
    assert not certificates.covers(pem, "example.org")


def test_days_left_are_counted() -> None:
    assert 9.9 < certificates.days_left(certificates.issue(["x"], days=10).chain) <= 10
    with pytest.raises(HubdeployError, match="cannot be read"):
        certificates.days_left("nonsense")
