"""The sandbox's own certificate authority and the certificate of its container registry."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAYS = 30


@dataclass(frozen=True, kw_only=True)
class Authority:
    """``ca.crt`` and ``ca.key`` in a folder, made when they are not there."""

    folder: Path

    @property
    def certificate(self) -> bytes:
        self._ensure()
        return (self.folder / "ca.crt").read_bytes()

    def issue(self, hosts: Iterable[str], *, name: str) -> None:
        """Write ``NAME.crt`` and ``NAME.key`` for these host names."""
        self._ensure()
        issuer = x509.load_pem_x509_certificate((self.folder / "ca.crt").read_bytes())
        signer = serialization.load_pem_private_key((self.folder / "ca.key").read_bytes(), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName(host) for host in sorted(set(hosts))]
        certificate = (
            _builder("hubdeploy sandbox registry", issuer.subject, key)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(signer, hashes.SHA256())
        )
        self._write(f"{name}.key", _pem(key))
        self._write(f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM))

    def _ensure(self) -> None:
        if (self.folder / "ca.crt").exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name("hubdeploy sandbox")
        certificate = (
            _builder("hubdeploy sandbox", subject, key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        self._write("ca.key", _pem(key))
        self._write("ca.crt", certificate.public_bytes(serialization.Encoding.PEM))

    def _write(self, name: str, content: bytes) -> None:
        """Whole or not at all, closed to others."""
        draft = self.folder / f".{name}"
        draft.touch(mode=0o600)
        draft.write_bytes(content)
        draft.replace(self.folder / name)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(
    common: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(common))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
