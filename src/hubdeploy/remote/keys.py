"""SSH keys of the operator and pinned host keys of the machines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from hubdeploy.aws.session import Aws
from hubdeploy.config.names import Names
from hubdeploy.errors import RemoteError

if TYPE_CHECKING:
    import paramiko


def state_dir() -> Path:
    """Where hubdeploy keeps keys on the operator's machine."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "hubdeploy"


def key_file(folder: Path, deployment: str) -> Path:
    """The private key that hubdeploy made for a deployment (0600), made on first use."""
    path = folder / "keys" / f"{deployment}.ed25519"
    if not path.exists():
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
        )

        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        body = Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()
        )
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as out:
            out.write(body)
    return path


def public_key(path: Path) -> str:
    """The ``ssh-ed25519 AAAA…`` line of a private key file."""
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_ssh_private_key,
    )

    key = load_ssh_private_key(path.read_bytes(), password=None)
    line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return line.decode("ascii")


def pinned(instance_ids: list[str], *, aws: Aws, names: Names) -> dict[str, str]:
    """Host key lines that the machines published of themselves, by instance id."""
    wanted = {names.parameters.ssh_host_key(i): i for i in instance_ids}
    found: dict[str, str] = {}
    every = list(wanted)
    for start in range(0, len(every), 10):
        got = aws.call("ssm", "get_parameters", Names=every[start : start + 10])
        found |= {wanted[p["Name"]]: p["Value"].strip() for p in got["Parameters"]}
    return found


def parse_host_key(line: str) -> paramiko.PKey:
    """A paramiko key from ``ssh-ed25519 AAAA… [comment]``."""
    import base64

    import paramiko

    kind, _, rest = line.partition(" ")
    try:
        return paramiko.PKey.from_type_string(kind, base64.b64decode(rest.split()[0]))
    except (paramiko.SSHException, ValueError, IndexError) as error:
        raise RemoteError(f"the published host key cannot be read: {error}") from None
