"""What can go wrong between us and a Chef server, each as one clear line and a hint.

``requests`` wraps a TLS or socket failure in several layers; :func:`from_transport` finds the
innermost reason. The server's own words (its JSON ``error``) always reach the message.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator

import requests

from hubdeploy.errors import ChefError

_EXPIRED = 10
_NOT_YET_VALID = 9
_NAME_MISMATCH = 62
_ADDRESS_MISMATCH = 64
"""OpenSSL's ``X509_V_ERR_…`` numbers, stable since 1.0."""


class ChefRefused(ChefError):
    """The server answered with an error. ``status`` is HTTP's, ``words`` the server's own text."""

    def __init__(self, message: str, *, hint: str = "", status: int, words: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.words = words


class ChefNotFound(ChefRefused):
    """No such object on the server (404)."""


class ChefConflict(ChefRefused):
    """An object of that name is there already, or a cookbook version is frozen (409)."""


class ChefUnreachable(ChefError):
    """Nothing usable answered: down, no such name, refused, or cut off."""


class ChefTimeout(ChefUnreachable):
    """The server did not answer within the deadline."""


class ChefCertificateError(ChefError):
    """The server's certificate is not the trusted one, has expired, or bears another name."""


class NotAChefServer(ChefError):
    """Something answered at that address, but not as a Chef server does."""


def server_words(body: bytes) -> str:
    """The text of a Chef error body (``{"error": ["…"]}``), else ``""``."""
    try:
        data = json.loads(body)
    except ValueError:
        return ""
    if not isinstance(data, dict):
        return ""
    error = data.get("error", data.get("message", ""))
    parts = error if isinstance(error, list) else [error]
    # the dependency solver answers with an object
    said = [part.get("message", part) if isinstance(part, dict) else part for part in parts]
    return "; ".join(str(part) for part in said if part)


def from_status(
    *, status: int, method: str, path: str, base: str, client: str, words: str
) -> ChefRefused:
    """The error for an answered request with an HTTP status of 400 or more."""
    said = f": {words}" if words else ""
    what = f"{method} {path} on {base}"
    if status == 401:
        clock = "clock" in words.lower() or "time" in words.lower()
        hint = (
            "set this machine's clock: requests may be at most 15 minutes off the server's time"
            if clock
            else f"is the private key the one registered for '{client}'? Register the client "
            "anew (delete it first), and check this machine's clock"
        )
        return ChefRefused(
            f"The Chef server does not accept the key of '{client}' (401) for {what}{said}",
            hint=hint,
            status=status,
            words=words,
        )
    if status == 403:
        return ChefRefused(
            f"'{client}' may not do that on the Chef server (403): {what}{said}",
            hint="use a client with the right to do it (nodes may change only themselves)",
            status=status,
            words=words,
        )
    if status == 404:
        return ChefNotFound(
            f"The Chef server has no such object (404): {what}{said}", status=status, words=words
        )
    if status == 409:
        return ChefConflict(
            f"It exists already on the Chef server (409): {what}{said}",
            hint="a left-over client or a frozen cookbook version has to be deleted first",
            status=status,
            words=words,
        )
    if status == 413:
        return ChefRefused(
            f"Too big for the Chef server (413): {what}{said}",
            hint="a node object or cookbook file exceeds the server's limit",
            status=status,
            words=words,
        )
    hint = "look at the Chef server's own log" if status >= 500 else ""
    if status in (502, 503, 504):
        hint = "the Chef server is starting or overloaded: try again in a minute"
    return ChefRefused(
        f"The Chef server answered {status} to {what}{said}",
        hint=hint,
        status=status,
        words=words,
    )


def _reasons(error: BaseException) -> Iterator[BaseException]:
    """The error and everything wrapped in it, outermost first."""
    seen: set[int] = set()
    todo: list[BaseException] = [error]
    while todo:
        one = todo.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
        todo.extend(part for part in inner if isinstance(part, BaseException))


def _certificate_error(error: ssl.SSLCertVerificationError, *, base: str) -> ChefCertificateError:
    why = error.verify_message or str(error)
    if error.verify_code == _EXPIRED:
        return ChefCertificateError(
            f"The Chef server's certificate has expired ({base})",
            hint="let the Chef server make and publish a new one, or check this machine's clock",
        )
    if error.verify_code == _NOT_YET_VALID:
        return ChefCertificateError(
            f"The Chef server's certificate is not valid yet ({base})",
            hint="check the clocks of this machine and of the Chef server",
        )
    if error.verify_code in (_NAME_MISMATCH, _ADDRESS_MISMATCH):
        return ChefCertificateError(
            f"The Chef server's certificate bears another name than {base}: {why}",
            hint="use the name in the certificate; through a tunnel give the address to connect to",
        )
    return ChefCertificateError(
        f"The Chef server's certificate is not the trusted one ({base}): {why}",
        hint="trust the certificate that this deployment's Chef server published last",
    )


def from_transport(
    error: requests.RequestException, *, base: str, at: str, seconds: float
) -> ChefError:
    """The error for a request that got no usable answer.

    ``base`` is the server's URL, ``at`` the ``host:port`` that was really dialled, ``seconds``
    the deadline.
    """
    reasons = list(_reasons(error))
    for one in reasons:
        if isinstance(one, ssl.SSLCertVerificationError):
            return _certificate_error(one, base=base)
    if isinstance(error, requests.Timeout) or any(isinstance(r, TimeoutError) for r in reasons):
        return slow(base=base, at=at, seconds=seconds)
    for one in reasons:
        if isinstance(one, ssl.SSLError):
            return NotAChefServer(
                f"No TLS at {at}: {one.reason or one}",
                hint=f"is {base} the right address and port?",
            )
        if isinstance(one, socket.gaierror):
            return ChefUnreachable(
                f"The Chef server's name cannot be resolved ({base})",
                hint="from outside the deployment's network, reach it through a tunnel",
            )
        if isinstance(one, ConnectionRefusedError):
            return ChefUnreachable(
                f"The Chef server is down: nothing listens at {at}",
                hint="look at the Chef server's phase and log",
            )
    innermost = reasons[-1]
    return ChefUnreachable(
        f"The Chef server at {at} cannot be reached: {innermost}",
        hint="is the machine up, and does its security group admit this one?",
    )


def slow(*, base: str, at: str, seconds: float) -> ChefTimeout:
    """The deadline has passed."""
    return ChefTimeout(
        f"The Chef server at {at} did not answer within {seconds:g} s ({base})",
        hint="it may be starting or overloaded, or a firewall drops the packets",
    )
