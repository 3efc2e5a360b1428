"""Keys and request signatures: Chef's signed header protocol, version 1.3.

Version 1.3 signs a canonical text with RSA PKCS#1 v1.5 over SHA-256; the older ones, which PyChef
has, need SHA-1. Every server of interest (Chef Server 12.4 and later, goiardi 0.11) takes 1.3.
"""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from hubdeploy.errors import ChefError

API_VERSION = "0"
"""The server API version asked for. 0 is what both goiardi and every Chef Server up to 15 speak,
and what Chef's own client registers with."""

KEY_BITS = 2048
_CHUNK = 60


def load_key(key: str | bytes | Path | rsa.RSAPrivateKey) -> rsa.RSAPrivateKey:
    """An RSA private key from PEM text, a file's path, or the key itself.

    Raises:
        ChefError: no such file, or no RSA private key in it. The message never quotes the key.
    """
    if isinstance(key, rsa.RSAPrivateKey):
        return key
    if isinstance(key, Path) or (isinstance(key, str) and "-----BEGIN" not in key):
        try:
            data = Path(key).read_bytes()
        except OSError as error:
            raise ChefError(
                f"The Chef private key cannot be read: {error.strerror or error}",
                hint=f"give a PEM text or the path of a PEM file; tried {key}",
            ) from None
    else:
        data = key.encode() if isinstance(key, str) else key
    try:
        loaded = serialization.load_pem_private_key(data.strip() + b"\n", password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ChefError(
            "The Chef private key is not a readable PEM key",
            hint="it must be an unencrypted RSA private key in PEM form",
        ) from None
    if not isinstance(loaded, rsa.RSAPrivateKey):
        raise ChefError("The Chef private key is not an RSA key", hint="Chef signs with RSA only")
    return loaded


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)


def private_pem(key: rsa.RSAPrivateKey) -> str:
    """PKCS#1 (``BEGIN RSA PRIVATE KEY``), the form that every Chef client reads."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()


def public_pem(key: rsa.RSAPrivateKey) -> str:
    """SubjectPublicKeyInfo (``BEGIN PUBLIC KEY``), the form that the servers store."""
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def canonical_path(path: str) -> str:
    """Without query, doubled slashes or a slash at the end, as the server computes it."""
    path = re.sub(r"/+", "/", path.split("?", 1)[0])
    return path.rstrip("/") if len(path) > 1 else path


def sign(
    *,
    key: rsa.RSAPrivateKey,
    client: str,
    method: str,
    path: str,
    body: bytes,
    at: datetime | None = None,
) -> dict[str, str]:
    """The headers that authenticate one request.

    ``path`` is the whole path on the server (with ``/organizations/NAME``); ``at`` must be within
    the server's tolerance, 15 minutes.
    """
    timestamp = (at or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    content = base64.b64encode(hashlib.sha256(body).digest()).decode()
    text = "\n".join(
        (
            f"Method:{method.upper()}",
            f"Path:{canonical_path(path)}",
            f"X-Ops-Content-Hash:{content}",
            "X-Ops-Sign:version=1.3",
            f"X-Ops-Timestamp:{timestamp}",
            f"X-Ops-UserId:{client}",
            f"X-Ops-Server-API-Version:{API_VERSION}",
        )
    )
    signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    encoded = base64.b64encode(signature).decode()
    headers = {
        "X-Ops-Sign": "algorithm=sha256;version=1.3;",
        "X-Ops-Userid": client,
        "X-Ops-Timestamp": timestamp,
        "X-Ops-Content-Hash": content,
        "X-Ops-Server-API-Version": API_VERSION,
    }
    lines = [encoded[start : start + _CHUNK] for start in range(0, len(encoded), _CHUNK)]
    headers.update({f"X-Ops-Authorization-{n}": line for n, line in enumerate(lines, start=1)})
    return headers
