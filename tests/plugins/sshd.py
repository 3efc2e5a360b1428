"""A real sshd on loopback, as a machine's: its host key published, the operator's key admitted."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hubdeploy.remote.keys import key_file, public_key


@dataclass(frozen=True, kw_only=True)
class Sshd:
    """A running sshd and what its machine would have published."""

    port: int
    host_key: str
    key: Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    folder = tmp_path_factory.mktemp("sshd")
    folder.chmod(0o700)
    key = key_file(folder / "operator", "demo")
    host = key_file(folder / "host", "host")
    authorized = folder / "authorized_keys"
    authorized.write_text(public_key(key) + "\n")
    port = free_port()
    # sshd insists on this directory when it runs as root
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    binary = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    assert binary, "openssh-server is missing: run `make test`"
    process = subprocess.Popen(
        [
            *(binary, "-D", "-e", "-f", "/dev/null", "-p", str(port), "-h", str(host)),
            *("-o", "ListenAddress=127.0.0.1", "-o", f"AuthorizedKeysFile={authorized}"),
            *("-o", "StrictModes=no", "-o", "UsePAM=no", "-o", "PidFile=none"),
            *("-o", "PasswordAuthentication=no"),
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
        yield Sshd(port=port, host_key=public_key(host), key=key)
    finally:
        process.terminate()
        process.wait(10)
