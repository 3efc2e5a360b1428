"""Who may log in: the ``[hub.authenticator]`` table as JupyterHub's configuration.

JupyterHub lets nobody in until somebody is named, and so it stays here: allowed users, members
of an organisation, approved sign-ups, or everybody if the operator says so in as many words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import bcrypt
from nativeauthenticator import NativeAuthenticator
from nativeauthenticator.orm import UserInfo
from oauthenticator.google import GoogleOAuthenticator
from traitlets import Unicode

from hubdeploy.errors import ConfigError
from hubdeploy.hub.native_login import HubLoginHandler
from hubdeploy.hub.secrets import Secrets

DEFAULT_ADMIN = "admin"
SHORTEST_ADMIN_PASSWORD = 32
SHORTEST_PASSWORD = 8
#: kinds whose admins log in with the password in secrets/admin-password
WITH_PASSWORD = ("native", "shared-password", "dummy")


class HubNativeAuthenticator(NativeAuthenticator):  # type: ignore[misc]
    """Own accounts. A sign-up that an admin approved is thereby allowed to log in."""

    admin_password_file = Unicode(
        "", config=True, help="Password of the admins' accounts that are not there yet."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ensure_admins()

    def _ensure_admins(self) -> None:
        """Accounts for the configured admins; one that exists keeps its own password."""
        if not self.admin_password_file:
            return
        path = Path(self.admin_password_file)
        password = Secrets(path.parent).get(path.name)
        if not password:
            return
        for name in sorted(self.admin_users):
            known = self.get_user(name)
            if known is None:
                digest = bcrypt.hashpw(_bounded(password), bcrypt.gensalt())
                self.db.add(UserInfo(username=name, password=digest, is_authorized=True))
                self.log.info("Made the account of admin %s", name)
            elif not known.is_authorized:
                # somebody signed up with an admin's name before the admin had an account
                known.password = bcrypt.hashpw(_bounded(password), bcrypt.gensalt())
                known.is_authorized = True
        self.db.commit()

    def get_handlers(self, app: Any) -> list[tuple[str, Any]]:
        """The library's pages, with a login form that works on this JupyterHub."""
        return [
            (path, HubLoginHandler if path == "/login" else handler)
            for path, handler in super().get_handlers(app)
        ]

    async def check_allowed(self, username: str, authentication: Any = None) -> bool:
        known = self.get_user(username)
        if known is not None and known.is_authorized:
            return True
        return bool(super().check_allowed(username, authentication))


class HubGoogleAuthenticator(GoogleOAuthenticator):  # type: ignore[misc]
    """Google's accounts. An address that Google has not verified is nobody's.

    The library looks at that where it asks whether somebody is allowed, which JupyterHub does not
    ask while everybody (of a domain) is.
    """

    def check_blocked_users(self, username: str, auth_model: Any) -> bool:
        about = ((auth_model or {}).get("auth_state") or {}).get(self.user_auth_state_key) or {}
        if auth_model is not None and not about.get("verified_email"):
            self.log.warning("%s is kept out: Google has not verified the address", username)
            return False
        return bool(super().check_blocked_users(username, auth_model))


def _bounded(password: str) -> bytes:
    data = password.encode()
    if len(data) > 72:
        raise ConfigError(
            "hub secret admin-password: longer than 72 bytes, which bcrypt cannot tell apart",
            hint="run: hubdeploy secret set hub/admin-password",
        )
    return data


def admins(hub: Mapping[str, Any], secrets: Secrets) -> set[str]:
    """The configured admins; where none is named but there is a password for one: ``admin``."""
    named = set(hub.get("admins") or ())
    if (
        not named
        and hub["authenticator"]["kind"] in WITH_PASSWORD
        and secrets.get("admin-password")
    ):
        return {DEFAULT_ADMIN}
    return named


def configure(c: Any, hub: Mapping[str, Any], secrets: Secrets, *, origin: str) -> None:
    """Set up the authenticator of the ``[hub]`` settings on the traitlets config *c*.

    ``origin``: scheme and host that browsers use, for OAuth's way back. Raises ConfigError or
    SecretError when something is missing.
    """
    auth = hub["authenticator"]
    # a name that is taken out of the configuration has to lose its access
    c.Authenticator.allow_existing_users = False
    c.Authenticator.allowed_users = set(auth.get("allowed_users") or ())
    c.Authenticator.admin_users = admins(hub, secrets)
    c.Authenticator.allow_all = bool(auth.get("allow_all"))
    kind = auth["kind"]
    try:
        apply = KINDS[kind]
    except KeyError:
        raise ConfigError(
            f"hub.authenticator.kind: {kind!r} is not known", hint="one of " + ", ".join(KINDS)
        ) from None
    apply(c, auth, secrets, origin)


def _native(c: Any, auth: Mapping[str, Any], secrets: Secrets, _origin: str) -> None:
    c.JupyterHub.authenticator_class = HubNativeAuthenticator
    native = c.HubNativeAuthenticator
    native.admin_password_file = str(secrets.folder / "admin-password")
    native.open_signup = bool(auth.get("open_signup"))
    native.check_common_password = True
    native.minimum_password_length = 10
    native.allowed_failed_logins = 5
    native.seconds_before_next_try = 600


def _shared_password(c: Any, _auth: Mapping[str, Any], secrets: Secrets, _origin: str) -> None:
    c.JupyterHub.authenticator_class = "shared-password"
    shared = c.SharedPasswordAuthenticator
    shared.user_password = _long_enough(
        secrets.need("shared-password"), "shared-password", SHORTEST_PASSWORD
    )
    admin = secrets.get("admin-password")
    if admin:
        shared.admin_password = _long_enough(admin, "admin-password", SHORTEST_ADMIN_PASSWORD)


def _long_enough(value: str, name: str, least: int) -> str:
    if len(value) < least:
        raise ConfigError(
            f"hub secret {name}: {len(value)} characters, at least {least} are needed",
            hint=f"run: hubdeploy secret set hub/{name}",
        )
    return value


def _dummy(c: Any, _auth: Mapping[str, Any], secrets: Secrets, _origin: str) -> None:
    c.JupyterHub.authenticator_class = "dummy"
    c.Authenticator.allow_all = True
    password = secrets.get("shared-password") or secrets.get("admin-password")
    if password:
        c.DummyAuthenticator.password = password


def _oauth(c: Any, auth: Mapping[str, Any], secrets: Secrets, origin: str, *, name: str) -> Any:
    section = c[name]
    section.client_id = auth["client_id"]
    section.client_secret = secrets.need("oauth-client-secret")
    section.oauth_callback_url = f"{origin}/hub/oauth_callback"
    return section


def _github(c: Any, auth: Mapping[str, Any], secrets: Secrets, origin: str) -> None:
    c.JupyterHub.authenticator_class = "github"
    github = _oauth(c, auth, secrets, origin, name="GitHubOAuthenticator")
    organizations = set(auth.get("allowed_organizations") or ())
    if organizations:
        github.allowed_organizations = organizations
        # without it only public memberships would be seen
        github.scope = ["read:org"]


def _google(c: Any, auth: Mapping[str, Any], secrets: Secrets, origin: str) -> None:
    c.JupyterHub.authenticator_class = HubGoogleAuthenticator
    google = _oauth(c, auth, secrets, origin, name="GoogleOAuthenticator")
    domains = list(auth.get("allowed_organizations") or ())
    if domains:
        # this bounds who may log in; within the domains everybody may, unless users are named
        google.hosted_domain = domains
        c.Authenticator.allow_all = bool(auth.get("allow_all")) or not auth.get("allowed_users")


def _oidc(c: Any, auth: Mapping[str, Any], secrets: Secrets, origin: str) -> None:
    c.JupyterHub.authenticator_class = "generic-oauth"
    oidc = _oauth(c, auth, secrets, origin, name="GenericOAuthenticator")
    oidc.authorize_url = auth["authorize_url"]
    oidc.token_url = auth["token_url"]
    oidc.userdata_url = auth["userdata_url"]
    oidc.username_claim = auth.get("username_claim") or "preferred_username"
    oidc.scope = list(auth.get("scopes") or ["openid", "profile"])
    oidc.login_service = "single sign-on"


def _cilogon(c: Any, auth: Mapping[str, Any], secrets: Secrets, origin: str) -> None:
    c.JupyterHub.authenticator_class = "cilogon"
    cilogon = _oauth(c, auth, secrets, origin, name="CILogonOAuthenticator")
    everybody = bool(auth.get("allow_all")) or not auth.get("allowed_users")
    cilogon.idps = {
        provider: {"username_derivation": {"username_claim": "email"}, "allow_all": everybody}
        for provider in auth["allowed_organizations"]
    }


def _lti13(c: Any, auth: Mapping[str, Any], _secrets: Secrets, _origin: str) -> None:
    c.JupyterHub.authenticator_class = "ltiauthenticator.lti13.auth.LTI13Authenticator"
    lti = c.LTI13Authenticator
    lti.client_id = {auth["client_id"]}
    lti.issuer = auth["issuer"]
    lti.authorize_url = auth["authorize_url"]
    lti.jwks_endpoint = auth["jwks_url"]
    lti.username_key = auth.get("username_claim") or "email"
    lti.uri_scheme = "https"


KINDS: Mapping[str, Callable[[Any, Mapping[str, Any], Secrets, str], None]] = {
    "native": _native,
    "github": _github,
    "google": _google,
    "oidc": _oidc,
    "cilogon": _cilogon,
    "lti13": _lti13,
    "shared-password": _shared_password,
    "dummy": _dummy,
}
