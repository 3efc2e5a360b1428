"""The settings in ``client.rb`` that a converge needs, read without running Ruby."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from pathlib import Path

from hubdeploy.errors import ChefError

_LINE = re.compile(
    r"""\s*([a-z_]+)\s*[ (]\s*(?:'([^'#]*)'|"([^"#\\]*)"|:(\w+))\s*\)?\s*(?:\#.*)?\Z"""
)


@dataclass(frozen=True, kw_only=True)
class ClientSettings:
    """What Chef's client takes from the same file; defaults are the client's own."""

    chef_server_url: str
    node_name: str
    client_key: Path
    trust: Path | None
    """File or folder of certificates; ``None`` for the system's authorities."""
    validation_client_name: str
    validation_key: Path
    environment: str
    cache: Path


def read_client_rb(file: Path) -> ClientSettings:
    """Lines of one literal value each; others are passed over.

    Raises:
        ChefError: the file is missing or names no server.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ChefError(
            f"{file} cannot be read: {error.strerror}",
            hint="register the machine first, or give another file by --config",
        ) from None
    found = parse_client_rb(text)
    if "chef_server_url" not in found:
        raise ChefError(f"{file} names no chef_server_url", hint="register the machine first")
    folder = file.parent
    certificates = Path(found.get("trusted_certs_dir", folder / "trusted_certs"))
    trust = Path(found["ssl_ca_file"]) if "ssl_ca_file" in found else certificates
    return ClientSettings(
        chef_server_url=found["chef_server_url"],
        node_name=found.get("node_name") or socket.getfqdn(),
        client_key=Path(found.get("client_key", folder / "client.pem")),
        trust=trust if trust.exists() else None,
        validation_client_name=found.get("validation_client_name", "chef-validator"),
        validation_key=Path(found.get("validation_key", folder / "validation.pem")),
        environment=found.get("environment", "_default"),
        cache=Path(found.get("file_cache_path", "/var/cache/hubdeploy-converge")),
    )


def parse_client_rb(text: str) -> dict[str, str]:
    """Settings with one literal string or symbol."""
    matches = (_LINE.match(line) for line in text.splitlines())
    return {m[1]: next(v for v in m.groups()[1:] if v is not None) for m in matches if m}
