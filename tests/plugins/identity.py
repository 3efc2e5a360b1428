"""A small identity provider on loopback: OpenID Connect, GitHub's and Google's forms of it, LTI.

It holds clients to the rules that real ones enforce: the client's secret, a code that works once
and only for the address it was given for, PKCE, bearer tokens, signed tokens. ``person`` is who
sits at the browser; ``refused`` collects why requests were turned down.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT_ID = "the-hub"
ISSUER = "https://idp.example.test"
LTI = "https://purl.imsglobal.org/spec/lti/claim/"


class RefusedError(Exception):
    """The provider turns a request down; the HTTP status, then why."""


@dataclass
class Answer:
    """``location``: a redirect; otherwise a body with its type."""

    status: int = 200
    body: str = ""
    kind: str = "application/json"
    location: str = ""


@dataclass
class Provider:
    """``with Provider() as provider: provider.url``; ``person``: claims of who logs in."""

    secret: str = "s3cret"
    person: dict[str, Any] = field(default_factory=dict)
    members: dict[str, set[str]] = field(default_factory=dict)
    """GitHub organisation to logins of its members."""
    refused: list[str] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    """Parameters of the requests for authorisation."""

    def __post_init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._codes: dict[str, dict[str, str]] = {}
        self._tokens: dict[str, dict[str, Any]] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer({})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                self._answer(_flat(body))

            def _answer(self, form: dict[str, str]) -> None:
                try:
                    said = provider.answer(self.path, form, dict(self.headers.items()))
                except RefusedError as error:
                    status, why = error.args
                    provider.refused.append(why)
                    said = Answer(status=status, body=json.dumps({"error": why}))
                self.send_response(said.status)
                self.send_header("Content-Type", said.kind)
                if said.location:
                    self.send_header("Location", said.location)
                self.end_headers()
                self.wfile.write(said.body.encode())

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> Provider:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, form: dict[str, str], headers: dict[str, str]) -> Answer:
        parts = urlsplit(path)
        query = _flat(parts.query)
        routes: dict[str, Callable[[], Answer]] = {
            "/authorize": lambda: self._authorize(query),
            "/login/oauth/authorize": lambda: self._authorize(query),
            "/token": lambda: self._token(form, headers),
            "/login/oauth/access_token": lambda: self._token(form, headers),
            "/me": lambda: _json(self._bearer(headers)),
            "/api/user": lambda: _json(self._bearer(headers)),
            "/jwks": lambda: _json({"keys": [self._public()]}),
            "/lti": lambda: self._launch(query),
        }
        if parts.path in routes:
            return routes[parts.path]()
        match parts.path.split("/"):
            case ["", "api", "orgs", organization, "members", login]:
                self._bearer(headers)
                there = login in self.members.get(organization, ())
                return Answer(status=204 if there else 404)
        raise RefusedError(404, f"no such page: {parts.path}")

    # --- OAuth ----------------------------------------------------------------------------------

    def _authorize(self, query: dict[str, str]) -> Answer:
        self.asked.append(query)
        if query.get("client_id") != CLIENT_ID or query.get("response_type") != "code":
            raise RefusedError(400, "unknown client or response type")
        code = secrets.token_urlsafe(16)
        self._codes[code] = query
        back = urlencode({"code": code, "state": query["state"]})
        return Answer(status=302, location=f"{query['redirect_uri']}?{back}")

    def _token(self, form: dict[str, str], headers: dict[str, str]) -> Answer:
        given = (form.get("client_id"), form.get("client_secret"))
        kind, _, basic = headers.get("Authorization", "").partition(" ")
        if kind.lower() == "basic":
            name, _, word = base64.b64decode(basic).decode().partition(":")
            given = (name, word)
        if given != (CLIENT_ID, self.secret):
            raise RefusedError(401, "wrong client or secret")
        asked = self._codes.pop(form.get("code", ""), None)
        if asked is None:
            raise RefusedError(400, "unknown or used code")
        if form.get("redirect_uri") != asked["redirect_uri"]:
            raise RefusedError(400, "another redirect address")
        challenge = asked.get("code_challenge")
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if challenge and base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != challenge:
            raise RefusedError(400, "the code's verifier is wrong")
        token = secrets.token_urlsafe(16)
        self._tokens[token] = self.person
        return _json(
            {
                "access_token": token,
                "token_type": "Bearer",
                "scope": asked.get("scope", ""),
                "id_token": self.sign({"aud": CLIENT_ID, "sub": "7", **self.person}),
            }
        )

    def _bearer(self, headers: dict[str, str]) -> dict[str, Any]:
        kind, _, token = headers.get("Authorization", "").partition(" ")
        if kind.lower() not in ("bearer", "token") or token not in self._tokens:
            raise RefusedError(401, "no valid token")
        return self._tokens[token]

    # --- LTI 1.3 --------------------------------------------------------------------------------

    def _launch(self, query: dict[str, str]) -> Answer:
        """The platform's answer to the tool: a form that a browser would post by itself."""
        self.asked.append(query)
        if query.get("client_id") != CLIENT_ID or query.get("response_mode") != "form_post":
            raise RefusedError(400, "unknown client or response mode")
        fields = {"id_token": self.sign(self.claims(query)), "state": query["state"]}
        inputs = "".join(
            f'<input type="hidden" name="{name}" value="{html.escape(value)}">'
            for name, value in fields.items()
        )
        action = html.escape(query["redirect_uri"])
        return Answer(
            body=f'<form method="post" action="{action}">{inputs}</form>', kind="text/html"
        )

    def claims(self, query: dict[str, str]) -> dict[str, Any]:
        """What a launch says, in answer to a tool's request."""
        return {
            "aud": CLIENT_ID,
            "sub": "7",
            "nonce": query["nonce"],
            f"{LTI}version": "1.3.0",
            f"{LTI}message_type": "LtiResourceLinkRequest",
            f"{LTI}deployment_id": "1",
            f"{LTI}target_link_uri": query["redirect_uri"],
            f"{LTI}resource_link": {"id": "1"},
            f"{LTI}roles": ["http://purl.imsglobal.org/vocab/lis/v2/membership#Learner"],
            **self.person,
        }

    def sign(self, claims: dict[str, Any], *, key: rsa.RSAPrivateKey | None = None) -> str:
        """A token of this provider, good for five minutes unless *claims* say otherwise."""
        now = int(time.time())
        full = {"iss": ISSUER, "iat": now, "exp": now + 300, **claims}
        return jwt.encode(full, key or self.key, algorithm="RS256", headers={"kid": "one"})

    def _public(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key())
        )
        return {**found, "kid": "one", "use": "sig", "alg": "RS256"}


def _flat(text: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(text).items()}


def _json(data: Any) -> Answer:
    return Answer(body=json.dumps(data))
