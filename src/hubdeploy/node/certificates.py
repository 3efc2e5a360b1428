"""X.509: certificates of our own, and questions to certificates of others."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hubdeploy.errors import HubdeployError

_BEFORE = dt.timedelta(hours=1)
"""Clocks differ a little."""

_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """PEM texts. ``chain``: the server's certificate and what it hangs on; ``trust``: what
    clients are to trust; ``key``: the private key (secret)."""

    chain: str
    key: str
    trust: str


def _name(common: str) -> x509.Name:
    # a common name holds 64 characters; the names that count are the alternative ones
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def issue(hosts: Sequence[str], *, days: int, issuer: str = "hubdeploy") -> Pair:
    """A server certificate for names or addresses, signed by an authority made for it alone.

    The authority's key is thrown away: nothing else can ever be signed by what clients trust.
    (A bare self-signed server certificate is refused as an anchor by some TLS libraries.)
    """
    now = dt.datetime.now(dt.UTC)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    authority = _name(f"{issuer} authority for {hosts[0]}")
    usage = dict.fromkeys(_USAGES, False)
    anchor_id = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    root = (
        x509.CertificateBuilder()
        .subject_name(authority)
        .issuer_name(authority)
        .public_key(authority_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**{**usage, "key_cert_sign": True}), critical=True)
        .add_extension(anchor_id, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    leaf = (
        x509.CertificateBuilder()
        .subject_name(_name(hosts[0]))
        .issuer_name(authority)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**{**usage, "digital_signature": True}), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([_alternative(host) for host in hosts]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(anchor_id),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    return Pair(chain=_pem(leaf) + _pem(root), key=secret, trust=_pem(root))


def load(pem: str, *, what: str = "certificate") -> x509.Certificate:
    """The first certificate of a PEM text.

    Raises:
        HubdeployError: there is none.
    """
    try:
        return x509.load_pem_x509_certificates(pem.encode())[0]
    except ValueError as error:
        raise HubdeployError(
            f"The {what} cannot be read: {error}",
            hint="it must be PEM text: the server's certificate first, then its chain",
        ) from None


def days_left(pem: str) -> float:
    """Days until the first certificate of a PEM text expires; negative when it has."""
    left = load(pem).not_valid_after_utc - dt.datetime.now(dt.UTC)
    return left.total_seconds() / 86400


def covers(pem: str, host: str) -> bool:
    """Whether the first certificate is for this name (a wildcard counts) or address."""
    try:
        names = load(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    try:
        return ipaddress.ip_address(host) in names.get_values_for_type(x509.IPAddress)
    except ValueError:
        known = [name.lower() for name in names.get_values_for_type(x509.DNSName)]
        parent = host.lower().partition(".")[2]
        return host.lower() in known or f"*.{parent}" in known


def belongs(*, chain: str, key: str) -> bool:
    """Whether a private key is the one of a certificate.

    Raises:
        HubdeployError: one of them cannot be read.
    """
    try:
        private = serialization.load_pem_private_key(key.encode(), password=None)
    except (ValueError, TypeError):
        raise HubdeployError(
            "The certificate's private key cannot be read",
            hint="it must be PEM text without a passphrase",
        ) from None

    def raw(public: object) -> bytes:
        encoded: bytes = public.public_bytes(  # type: ignore[attr-defined]
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return encoded

    return raw(private.public_key()) == raw(load(chain).public_key())
