"""Commands, files and units of the machine itself."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from hubdeploy.errors import HubdeployError
from hubdeploy.node.waiting import patiently

log = logging.getLogger(__name__)

_TAIL = 2000


class CommandError(HubdeployError):
    """A command on this machine failed. ``code`` is -1 when it ran out of time."""

    def __init__(self, message: str, *, code: int, output: str) -> None:
        super().__init__(message)
        self.code = code
        self.output = output


def run(
    command: Sequence[str],
    *,
    stdin: str = "",
    timeout: float = 300,
    environment: Mapping[str, str] | None = None,
    check: bool = True,
    cwd: str | Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command without a shell; output (both streams) is text in ``stdout``.

    No secret may stand in ``command`` (other users see process lists): use ``stdin``.

    Raises:
        CommandError: not found, too slow, or (with ``check``) another exit code than 0.
    """
    shown = " ".join(command)[:200]
    log.debug("run: %s", shown)
    env = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            list(command),
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            env={**env, **(environment or {})},
            check=False,
            cwd=cwd,
        )
    except FileNotFoundError as error:
        raise CommandError(f"{command[0]} is not installed", code=127, output="") from error
    except subprocess.TimeoutExpired as error:
        output = error.stdout.decode(errors="replace") if isinstance(error.stdout, bytes) else ""
        raise CommandError(
            f"'{shown}' did not end within {timeout:g} s", code=-1, output=output[-_TAIL:]
        ) from error
    if check and done.returncode != 0:
        tail = done.stdout.strip()[-_TAIL:]
        last = tail.splitlines()[-1] if tail else "no output"
        raise CommandError(
            f"'{shown}' ended with {done.returncode}: {last}", code=done.returncode, output=tail
        )
    return done


def write(path: Path, content: str | bytes, *, mode: int = 0o644) -> bool:
    """Put a file in place in one stroke; whether anything changed.

    It has its mode from the first moment, so that a secret is never readable in between.
    """
    data = content.encode() if isinstance(content, str) else content
    if path.is_file() and path.read_bytes() == data:
        if path.stat().st_mode & 0o777 == mode:
            return False
        path.chmod(mode)
        return True
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:  # made by mkstemp with mode 0600
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return True


def is_running(root: Path) -> bool:
    """Whether ``root`` is the running system, rather than an image being built or a test's."""
    return root == Path("/")


def systemctl(root: Path, *arguments: str, check: bool = True, timeout: float = 120) -> str:
    """Output of ``systemctl``; does nothing for another root, or where systemd is not the init."""
    if not is_running(root) or not Path("/run/systemd/system").is_dir():
        log.info("no systemd here: systemctl %s left out", " ".join(arguments))
        return ""
    return run(["systemctl", *arguments], check=check, timeout=timeout).stdout


def unit(root: Path, name: str, content: str, *, start: bool = True) -> bool:
    """Write, enable and (re)start a unit; whether its file changed.

    A running service whose file did not change is left alone.
    """
    changed = write(root / "etc/systemd/system" / name, content)
    if changed:
        systemctl(root, "daemon-reload")
    if "[Install]" in content:
        systemctl(root, "enable", "--quiet", name)
    if start:
        systemctl(root, "restart" if changed else "start", name)
    return changed


def apt_install(root: Path, *packages: str) -> None:
    """Install what is missing, patient with apt's lock; nothing is upgraded.

    Nothing is installed for another root than the running system's.

    Raises:
        CommandError: apt gave up.
    """
    missing = [name for name in packages if not _installed(name)]
    if not missing or not is_running(root):
        return
    apt = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"]
    dpkg("--configure", "-a")
    # the lock of the lists knows no waiting, and mirrors fail in passing
    patiently(lambda: run([*apt, "update"], timeout=600), on=(CommandError,), seconds=300)
    run([*apt, "install", "--no-install-recommends", *missing], timeout=1800)


class _Locked(Exception):
    """Another installation is at work; holds what dpkg said."""

    def __init__(self, error: CommandError) -> None:
        super().__init__(str(error))
        self.error = error


def dpkg(*words: str) -> None:
    """Run dpkg, patient with its lock: unlike apt it does not wait for that itself.

    Raises:
        CommandError: dpkg refused, or the lock was held for ten minutes.
    """

    def once() -> None:
        try:
            run(["dpkg", *words], timeout=1800)
        except CommandError as error:
            if "lock" in f"{error} {error.output}":
                raise _Locked(error) from error
            raise

    try:
        patiently(once, on=(_Locked,), seconds=600)
    except _Locked as locked:
        raise locked.error from None


def _installed(package: str) -> bool:
    if shutil.which("dpkg-query") is None:
        return False
    done = run(["dpkg-query", "-W", "-f", "${Status}", package], check=False)
    return done.returncode == 0 and done.stdout.strip() == "install ok installed"


def journal_tail(unit_name: str, *, lines: int = 40) -> str:
    """The last lines of a unit's log, plain characters only."""
    if shutil.which("journalctl") is None:
        return ""
    done = run(
        ["journalctl", "-u", unit_name, "-o", "cat", "-n", str(lines), "--no-pager"], check=False
    )
    return re.sub(r"[^ -~\n]", "?", done.stdout)
