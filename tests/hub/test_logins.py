"""Whole logins with each provider, through a real hub: browser, provider and back."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.plugins.hubprocess import HubProcess, hub_settings
from tests.plugins.identity import CLIENT_ID, ISSUER, Provider

NO_DOCKER = "tcp://127.0.0.1:9"
IDP = "https://idp.school.test/shibboleth"


def oauth_urls(provider: Provider, name: str) -> str:
    """What an operator never sets: these providers' addresses are the libraries' own."""
    return f"""
c.{name}.authorize_url = "{provider.url}/authorize"
c.{name}.token_url = "{provider.url}/token"
c.{name}.userdata_url = "{provider.url}/me"
"""


@contextmanager
def hub_with(state: Path, extra: str, **authenticator: Any) -> Iterator[HubProcess]:
    settings = hub_settings(
        authenticator={"client_id": CLIENT_ID, **authenticator}, admins=["boss"]
    )
    hub = HubProcess(state, NO_DOCKER, settings, extra)
    # people come by the proxy's address here, and so does the provider's answer
    settings["hub_url"] = f"{hub.url}/hub/login"
    try:
        hub.start()
        yield hub
    finally:
        hub.stop()


def browser() -> requests.Session:
    session = requests.Session()
    # the hub is reached without TLS here, and some cookies ask for it
    session.cookies.get_policy().secure_protocols = ("https", "http")  # type: ignore[attr-defined]
    return session


def who(hub: HubProcess, session: requests.Session) -> str:
    """The user of *session* by the hub's own word; empty for nobody."""
    page = session.get(f"{hub.url}/hub/home")
    if page.url.split("?")[0] != f"{hub.url}/hub/home":
        return ""
    xsrf = next(c.value for c in session.cookies if c.name == "_xsrf" and c.path == "/hub/")
    answer = session.get(f"{hub.url}/hub/api/user", headers={"X-XSRFToken": str(xsrf)})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["name"])


def log_in(hub: HubProcess) -> tuple[requests.Session, requests.Response]:
    """By the button of the login page; the redirects go to the provider and back."""
    session = browser()
    page = session.get(f"{hub.url}/hub/login", params={"next": "/hub/home"})
    found = re.search(r'href=[\'"]([^\'"]*/hub/oauth_login[^\'"]*)[\'"]', page.text)
    assert found, page.text
    return session, session.get(f"{hub.url}{html.unescape(found[1])}")


def oidc(provider: Provider) -> tuple[str, dict[str, Any]]:
    about = {
        "kind": "oidc",
        "authorize_url": f"{provider.url}/authorize",
        "token_url": f"{provider.url}/token",
        "userdata_url": f"{provider.url}/me",
        "allowed_users": ["ann"],
    }
    return "", about


def github(provider: Provider) -> tuple[str, dict[str, Any]]:
    provider.members = {"school": {"ann"}}
    extra = f"""
c.GitHubOAuthenticator.github_url = "{provider.url}"
c.GitHubOAuthenticator.github_api = "{provider.url}/api"
"""
    return extra, {"kind": "github", "allowed_organizations": ["school"]}


def google(provider: Provider) -> tuple[str, dict[str, Any]]:
    extra = oauth_urls(provider, "GoogleOAuthenticator")
    return extra, {"kind": "google", "allowed_organizations": ["school.test"]}


def cilogon(provider: Provider) -> tuple[str, dict[str, Any]]:
    extra = oauth_urls(provider, "CILogonOAuthenticator")
    return extra, {"kind": "cilogon", "allowed_organizations": [IDP]}


ANN_OF_GOOGLE = {"email": "ann@school.test", "verified_email": True, "hd": "school.test"}
CASES: dict[str, tuple[Callable[[Provider], tuple[str, dict[str, Any]]], Any, str, list[Any]]] = {
    # how it is set up, who may come in and under which name, and people who may not
    "oidc": (oidc, {"preferred_username": "ann"}, "ann", [{"preferred_username": "eve"}]),
    "github": (github, {"login": "ann", "email": None}, "ann", [{"login": "eve", "email": None}]),
    "google": (
        google,
        ANN_OF_GOOGLE,
        "ann",
        [
            {"email": "ann@evil.test", "verified_email": True, "hd": "evil.test"},
            {"email": "ann@school.test", "verified_email": True, "hd": ""},
            {**ANN_OF_GOOGLE, "verified_email": False},
        ],
    ),
    "cilogon": (
        cilogon,
        {"email": "ann@school.test", "idp": IDP},
        "ann@school.test",
        [{"email": "ann@school.test", "idp": "https://idp.evil.test"}],
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_those_who_are_allowed_come_in_by_their_provider_and_others_do_not(
    tmp_path: Path, kind: str
) -> None:
    set_up, welcome, name, strangers = CASES[kind]
    with Provider(person=welcome) as provider:
        extra, about = set_up(provider)
        with hub_with(tmp_path, extra, **about) as hub:
            session, answer = log_in(hub)
            assert answer.status_code == 200, answer.text
            assert who(hub, session) == name
            (asked,) = provider.asked
            assert asked["redirect_uri"] == f"{hub.url}/hub/oauth_callback"
            if kind == "cilogon":
                assert asked["selected_idp"] == IDP
            for stranger in strangers:
                provider.person = stranger
                session, answer = log_in(hub)
                assert answer.status_code >= 400, stranger
                assert who(hub, session) == "", stranger
            # an answer that this browser did not ask for
            forged = browser().get(
                f"{hub.url}/hub/oauth_callback", params={"code": "x", "state": "y"}
            )
            assert forged.status_code == 400
            assert provider.refused == []
            # the provider knows the hub by another secret now
            provider.person, provider.secret = welcome, "changed"
            session, answer = log_in(hub)
            assert answer.status_code >= 400
            assert who(hub, session) == ""
            assert provider.refused == ["wrong client or secret"]
            assert "s3cret" not in hub.log.read_text()


LAUNCH = {"iss": ISSUER, "login_hint": "7"}


def launch(
    hub: HubProcess, *, spoil: Callable[[dict[str, str]], None] | None = None
) -> tuple[requests.Session, requests.Response]:
    """From the learning platform's link to the hub; *spoil* changes what the browser posts."""
    session = browser()
    data = {**LAUNCH, "target_link_uri": f"{hub.url}/hub/home", "client_id": CLIENT_ID}
    page = session.post(f"{hub.url}/hub/lti13/oauth_login", data=data)
    action = re.search(r'action="([^"]+)"', page.text)
    assert action, page.text
    form = {
        name: html.unescape(value)
        for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', page.text)
    }
    if spoil is not None:
        spoil(form)
    return session, session.post(html.unescape(action[1]), data=form)


def test_a_course_opens_the_hub_by_lti_and_a_forged_launch_does_not(tmp_path: Path) -> None:
    with Provider(person={"email": "ann@school.test"}) as provider:
        about = {
            "kind": "lti13",
            "issuer": ISSUER,
            "authorize_url": f"{provider.url}/lti",
            "jwks_url": f"{provider.url}/jwks",
            "username_claim": "email",
            "allowed_users": ["ann@school.test"],
        }
        # what stands before the hub speaks TLS elsewhere
        extra = 'c.LTI13Authenticator.uri_scheme = "http"'
        with hub_with(tmp_path, extra, **about) as hub:
            session, answer = launch(hub)
            assert answer.status_code == 200, answer.text
            assert who(hub, session) == "ann@school.test"

            other = rsa.generate_private_key(public_exponent=65537, key_size=2048)

            def sign(key: rsa.RSAPrivateKey | None = None, **more: Any) -> Callable[[Any], None]:
                def spoil(form: dict[str, str]) -> None:
                    claims = {**provider.claims(provider.asked[-1]), **more}
                    form["id_token"] = provider.sign(claims, key=key)

                return spoil

            # all else about these is as it should be
            session, answer = launch(hub, spoil=sign())
            assert who(hub, session) == "ann@school.test"
            forged = {
                "another key": sign(other),
                "another audience": sign(aud="somebody-else"),
                "another issuer": sign(iss="https://evil.test"),
                "expired": sign(exp=1),
                "replayed": sign(nonce="of-another-launch"),
                "another state": lambda form: form.update(state="x"),
            }
            for why, spoil in forged.items():
                session, answer = launch(hub, spoil=spoil)
                assert 400 <= answer.status_code < 500, (why, answer.status_code)
                assert who(hub, session) == "", why
            provider.person = {"email": "eve@school.test"}
            session, answer = launch(hub)
            assert answer.status_code == 403
            assert who(hub, session) == ""
