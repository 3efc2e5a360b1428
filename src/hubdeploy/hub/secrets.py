"""The hub's secrets on the leader: files of mode 0600 in one folder, read once at start.

``python -m hubdeploy.hub.secrets FOLDER`` makes those that only this machine needs to know and
that are not there yet; it runs before the proxy and the hub, as often as you like.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from hubdeploy.errors import HubdeployError

LOCAL = ("cookie-secret", "proxy-token", "fleet-token", "culler-token")
PROXY_ENV = "proxy.env"
PROXY_VARIABLE = "CONFIGPROXY_AUTH_TOKEN"


class SecretError(HubdeployError):
    """A secret's file is missing or of no use."""


class Secrets:
    """The files of one folder, by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, name: str) -> str:
        """The secret without surrounding white space; empty when there is none."""
        path = self.folder / name
        try:
            return path.read_text().strip()
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise SecretError(f"cannot read {path}: {error.strerror}") from error

    def need(self, name: str, *, hint: str = "") -> str:
        """The secret; SecretError when there is none."""
        value = self.get(name)
        if not value:
            raise SecretError(
                f"{self.folder / name} is missing or empty",
                hint=hint or f"run: hubdeploy secret set hub/{name}, then: hubdeploy up",
            )
        return value

    def key(self, name: str) -> bytes:
        """32 bytes made from the secret, whatever its length and alphabet."""
        return hashlib.sha256(self.need(name).encode()).digest()


def ensure(folder: Path) -> list[str]:
    """Make what is missing of the local secrets, and the proxy's environment file.

    Returns the names of the files that were written. An existing secret is never changed.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    written = []
    present = Secrets(folder)
    for name in LOCAL:
        if not present.get(name):
            _write(folder / name, secrets.token_hex(32))
            written.append(name)
    environment = f"{PROXY_VARIABLE}={present.need('proxy-token')}"
    if present.get(PROXY_ENV) != environment:
        _write(folder / PROXY_ENV, environment + "\n")
        written.append(PROXY_ENV)
    return written


def _write(path: Path, text: str) -> None:
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    os.replace(new, path)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m hubdeploy.hub.secrets", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the secrets are kept")
    for name in ensure(parser.parse_args(argv).folder):
        sys.stderr.write(f"made {name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
