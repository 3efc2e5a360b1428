"""Secrets that people hand over: kept in SSM as SecureString, never in the configuration."""

from __future__ import annotations

from hubdeploy.aws.session import Aws
from hubdeploy.config.names import Names
from hubdeploy.errors import ConfigError

NAMES = {
    "hub/oauth-client-secret": "client secret of github, google, oidc or cilogon",
    "hub/shared-password": "the password of authenticator 'shared-password'",
    "hub/admin-password": "first password of the admins (authenticator 'native')",
    "tls/certificate": "own certificate with its chain, PEM",
    "tls/key": "the certificate's private key, PEM",
}
"""What can be set, and what it is."""


def parameter(name: str, names: Names) -> str:
    """The SSM parameter of a secret; :class:`ConfigError` lists those that exist."""
    if name not in NAMES:
        raise ConfigError(
            f"{name!r} is no secret that hubdeploy knows",
            hint=f"one of: {', '.join(sorted(NAMES))}",
        )
    kind, _, rest = name.partition("/")
    return names.parameters.hub_secret(rest) if kind == "hub" else names.parameters.tls_secret(rest)


def store(name: str, value: str, *, aws: Aws, names: Names) -> None:
    """Write a secret; the machines take it over at their next converge."""
    aws.call(
        "ssm",
        "put_parameter",
        Name=parameter(name, names),
        Value=value,
        Type="SecureString",
        Overwrite=True,
    )


def read(name: str, *, aws: Aws, names: Names) -> str | None:
    """A secret's value, or None if it is not set."""
    found = aws.call("ssm", "get_parameters", Names=[parameter(name, names)], WithDecryption=True)[
        "Parameters"
    ]
    return str(found[0]["Value"]) if found else None


def present(*, aws: Aws, names: Names) -> list[str]:
    """Which of the known secrets are set."""
    by_parameter = {parameter(name, names): name for name in NAMES}
    found = aws.call("ssm", "get_parameters", Names=list(by_parameter))["Parameters"]
    return sorted(by_parameter[item["Name"]] for item in found)
