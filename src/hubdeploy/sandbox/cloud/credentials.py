"""Who signs a request. Every access key is made up here; a real one is refused."""

from __future__ import annotations

import re
import secrets
import string
import threading
from dataclasses import dataclass, field
from typing import Any

from hubdeploy.sandbox.cloud.fault import AwsFault

_OPERATOR = re.compile(r"AKIAHUBD(\d{12})")
_LETTERS = string.ascii_uppercase + "234567"


@dataclass(frozen=True, kw_only=True)
class Principal:
    """``role`` is an IAM role's name, empty for the account's operator (who may do everything).

    ``policies`` restricts an operator to the given policy documents; None is no restriction.
    """

    account: str
    role: str = ""
    session: str = ""
    service: str = ""
    """Set for AWS itself: ``autoscaling``; may do everything."""
    policies: tuple[dict[str, Any], ...] | None = field(default=None, hash=False)
    user: str = "rehearsal"

    @property
    def arn(self) -> str:
        if self.role:
            return f"arn:aws:sts::{self.account}:assumed-role/{self.role}/{self.session}"
        if self.user == "root":
            return f"arn:aws:iam::{self.account}:root"
        return f"arn:aws:iam::{self.account}:user/{self.user}"

    @property
    def restricted(self) -> bool:
        """Whether calls are held against policies."""
        return bool(self.role) or self.policies is not None


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """Keys that only the embedded AWS knows."""

    access_key: str
    secret_key: str = field(repr=False, default="rehearsal")
    token: str | None = field(repr=False, default=None)

    def boto(self) -> dict[str, str | None]:
        """As keyword arguments of ``boto3.Session`` or ``client``."""
        return {
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
            "aws_session_token": self.token,
        }

    def environ(self) -> dict[str, str]:
        names = {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}
        return names | ({"AWS_SESSION_TOKEN": self.token} if self.token else {})


def operator(account: str) -> Credentials:
    """Keys of the operator of *account* (12 digits)."""
    return Credentials(access_key=f"AKIAHUBD{account}")


class KeyRing:
    """Issued access keys and whom they stand for."""

    def __init__(self) -> None:
        self._issued: dict[str, Principal] = {}
        self._expired: set[str] = set()
        self._lock = threading.Lock()

    def issue(self, principal: Principal) -> Credentials:
        letters = "".join(secrets.choice(_LETTERS) for _ in range(16))
        key = ("ASIA" if principal.role else "AKIA") + letters
        with self._lock:
            self._issued[key] = principal
        token = f"rehearsal-{letters}" if principal.role else None
        return Credentials(access_key=key, token=token)

    def expire(self, account: str) -> None:
        """From now on every key of *account* has expired, until :meth:`renew`."""
        with self._lock:
            self._expired.add(account)

    def renew(self, account: str) -> None:
        with self._lock:
            self._expired.discard(account)

    def forget(self, account: str) -> None:
        with self._lock:
            self._expired.discard(account)
            for key in [k for k, who in self._issued.items() if who.account == account]:
                del self._issued[key]

    def principal(self, access_key: str, *, service: str) -> Principal:
        """Whose key it is; AWS's own errors for strange and for expired keys."""
        match = _OPERATOR.fullmatch(access_key)
        found = Principal(account=match[1]) if match else self._issued.get(access_key)
        query = service in ("sts", "iam", "autoscaling", "cloudwatch")
        if found is None:
            if service == "ec2":
                code, status = "AuthFailure", 401
            elif service == "s3":
                code, status = "InvalidAccessKeyId", 403
            else:
                code = "InvalidClientTokenId" if query else "UnrecognizedClientException"
                status = 403 if query else 400
            text = "The security token included in the request is invalid."
            raise AwsFault(code, text, status=status)
        if found.account in self._expired:
            plain = query or service in ("s3", "ec2")
            code = {"ec2": "RequestExpired"}.get(
                service, "ExpiredToken" if plain else "ExpiredTokenException"
            )
            raise AwsFault(code, "The security token included in the request is expired")
        return found
