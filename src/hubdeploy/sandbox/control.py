"""Start, find and stop the sandbox's background server from any command.

What is known of a running sandbox stands in ``$XDG_STATE_HOME/hubdeploy/sandbox/NAME`` (mode
0700): ``state.json`` with the endpoint, the pid and a token, ``server.log``, and what outlives the
server (the record of what `down` kept).
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import ipaddress
import json
import logging
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hubdeploy.errors import SandboxError
from hubdeploy.sandbox.cloud import kept

log = logging.getLogger(__name__)
Say = Callable[[str], object]

START_DEADLINE = 60.0
STOP_DEADLINE = 120.0
"""Machines that are containers are shut down in order, which takes them up to half a minute."""
_MODULE = "hubdeploy.sandbox.server"


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """A running sandbox."""

    name: str
    kind: str
    """``docker`` or ``simulated``: what its machines are."""
    endpoint_url: str
    directory: Path
    pid: int
    why: str = ""
    """Why the machines are only simulated, if they are and nobody asked for that."""
    access_key: str
    token: str = field(repr=False)

    @property
    def credentials(self) -> tuple[str, str, str | None]:
        """For :class:`hubdeploy.aws.session.Aws`; they open nothing but this sandbox."""
        return self.access_key, "rehearsal", None

    @property
    def log(self) -> Path:
        return self.directory / "server.log"

    def request(
        self, path: str, body: dict[str, Any] | None = None, *, timeout: float = 30.0
    ) -> dict[str, Any]:
        """One of the server's own requests (``/describe``, ``/stop``)."""
        refuse_real_aws(self.endpoint_url)
        parts = urlsplit(self.endpoint_url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
        try:
            connection.request(
                "POST",
                f"/_sandbox{path}",
                body=json.dumps(body or {}),
                headers={"X-Sandbox-Token": self.token},
            )
            response = connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise SandboxError(
                f"the sandbox {self.name} does not answer: {error}", hint=f"its log is {self.log}"
            ) from error
        finally:
            connection.close()
        if response.status != 200:
            raise SandboxError(f"the sandbox {self.name} refused {path}: {answer.get('error')}")
        return answer

    def shell(self, instance_id: str) -> list[str]:
        """The program that opens a shell in a machine."""
        if self.kind == "simulated":
            raise SandboxError(
                "simulated machines have no shell",
                hint="hubdeploy run --sandbox tries the few commands that they know",
            )
        return ["docker", "exec", "-it", f"{self.name}-{instance_id}", "bash", "-l"]

    def directions(self) -> list[str]:
        """Where to go once the deployment is up, one line each."""
        if self.kind == "simulated":
            why = self.why or "as asked for"
            return [
                f"The machines are simulated ({why}): no hub answers.",
                "Everything else is real: try hubdeploy status, scale and down with --sandbox.",
            ]
        lines: list[str] = list(self.request("/directions")["lines"])
        return lines


def refuse_real_aws(endpoint_url: str) -> None:
    """Raise unless the endpoint is on this machine."""
    host = urlsplit(endpoint_url).hostname or ""
    try:
        inside = ipaddress.ip_address(host).is_loopback
    except ValueError:
        inside = False
    if not inside:
        raise SandboxError(
            f"the sandbox does not use the endpoint {endpoint_url}",
            hint="it runs on loopback only; unset AWS_ENDPOINT_URL",
        )


def root() -> Path:
    """Where sandboxes keep what is known of them."""
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "hubdeploy" / "sandbox"


def directory_of(name: str) -> Path:
    return root() / name


def find(name: str) -> Sandbox | None:
    """The running sandbox of that name; what a crashed one left of its state is passed over."""
    directory = directory_of(name)
    try:
        state = json.loads((directory / "state.json").read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise SandboxError(f"the state of sandbox {name} cannot be read: {error}") from error
    if not _is_server(int(state["pid"]), name):
        return None
    refuse_real_aws(state["endpoint_url"])
    return Sandbox(
        name=name,
        kind=state["kind"],
        endpoint_url=state["endpoint_url"],
        directory=directory,
        pid=int(state["pid"]),
        why=state.get("why", ""),
        access_key=state["access_key"],
        token=state["token"],
    )


def _is_server(pid: int, name: str) -> bool:
    """Whether that process is the sandbox's server, and not one that got its number later."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    return _MODULE in words and name in words


def start(name: str, *, machines: str | None = None, say: Say = log.info) -> Sandbox:
    """The running sandbox of that name, or a new one.

    *machines* is ``docker``, ``simulated``, or None for containers where they can be had. Raises
    :class:`SandboxError` when the server does not come up, or runs with machines of another kind.
    """
    directory = directory_of(name)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    directory.chmod(0o700)
    with _locked(directory):
        running = find(name)
        if running is not None:
            if machines not in (None, running.kind):
                raise SandboxError(
                    f"the sandbox {name} runs with {running.kind} machines",
                    hint="hubdeploy down --sandbox ends it",
                )
            return running
        kind, why = _choose(machines, directory=directory, say=say)
        _launch(name, kind=kind, why=why, directory=directory)
    found = find(name)
    if found is None:
        raise SandboxError(f"the sandbox {name} ended at once", hint=_last_words(directory))
    return found


def _choose(machines: str | None, *, directory: Path, say: Say) -> tuple[str, str]:
    """(kind, why it is only a simulation); prepares what containers need."""
    if machines == "simulated":
        return "simulated", ""
    try:
        from hubdeploy.sandbox.engine import connect
        from hubdeploy.sandbox.images import catalog
        from hubdeploy.sandbox.images.build import Images
        from hubdeploy.sandbox.machines import trial
    except ImportError as error:
        if machines == "docker":
            raise SandboxError(
                f"machines as containers need {error.name}", hint="pip install hubdeploy[sandbox]"
            ) from error
        return "simulated", f"{error.name} is not installed"
    try:
        engine = connect(state=directory, progress=say)
        Images(engine.client, progress=say).ensure_all()
        trial.check(engine.client, image=catalog.machine().tag)
    except SandboxError as error:
        if machines == "docker":
            raise
        say(f"machines are simulated: {error.message}")
        return "simulated", error.message
    return "docker", ""


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Two commands that start a sandbox at the same time get the same one."""
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _environment() -> dict[str, str]:
    """Without anything that names a real account."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "MOTO_")) and name != "BOTO_CONFIG"
    }


def _launch(name: str, *, kind: str, why: str, directory: Path) -> None:
    (directory / "state.json").unlink(missing_ok=True)
    reader, writer = os.pipe()
    try:
        with (directory / "server.log").open("ab") as output:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", _MODULE, "--name", name, "--machines", kind),
                    *("--directory", str(directory), "--ready", str(writer), "--why", why),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(writer,),
                start_new_session=True,
                cwd="/",
                env=_environment(),
            )
        os.close(writer)
        writer = -1
        # the pipe is written when the server listens and closed when it dies
        ready, _, _ = select.select([reader], [], [], START_DEADLINE)
        if not ready or not os.read(reader, 16):
            process.kill()
            process.wait()
            raise SandboxError(
                f"the sandbox {name} did not start", hint=_last_words(directory) or "no word of it"
            )
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)


def _last_words(directory: Path) -> str:
    path = directory / "server.log"
    try:
        lines = path.read_text(errors="replace").strip().splitlines()
    except OSError:
        return f"it wrote no log {path}"
    return f"{path} ends: {lines[-1][-300:]}" if lines else f"{path} is empty"


def stop(name: str, *, keep_files: bool = True) -> bool:
    """End the sandbox's server and machines; true if one ran.

    With *keep_files* what `down` kept stays, and the next :func:`start` has it again.
    What is left of a crashed server goes too.
    """
    directory = directory_of(name)
    if not directory.exists():
        return False
    with _locked(directory):
        running = find(name)
        if running is not None:
            _end(running, keep_files=keep_files)
        record = directory / kept.RECORD
        # a server that crashed has recorded nothing: users' files stay all the same
        spared = {"efs", *kept.parts(record)} if keep_files else set[str]()
        _remove_containers(name, directory, spared=spared)
        _stop_engine(directory)
    (directory / "state.json").unlink(missing_ok=True)
    if not (keep_files and record.exists()):
        shutil.rmtree(directory, ignore_errors=True)
    return running is not None


def _end(sandbox: Sandbox, *, keep_files: bool) -> None:
    descriptor = os.pidfd_open(sandbox.pid)
    try:
        try:
            sandbox.request("/stop", {"keep_files": keep_files})
        except SandboxError as error:
            log.warning("%s; ending its process", error.message)
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        if not select.select([descriptor], [], [], STOP_DEADLINE)[0]:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            select.select([descriptor], [], [], 5)
    except ProcessLookupError:
        log.debug("the sandbox's server %d has ended", sandbox.pid)
    finally:
        os.close(descriptor)
    _reap(sandbox.pid)


def _reap(pid: int) -> None:
    """Where this very process started the server, its entry in the process table has to go."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _remove_containers(
    name: str, directory: Path, *, spared: Collection[str] = (), unknown: bool = False
) -> list[str]:
    """Containers, networks and volumes that still carry the sandbox's label.

    Only of a sandbox that is known to have had some (then the engine is even started for it), or,
    with *unknown*, of one whose state is lost.
    """
    used = (directory / "docker").exists() or (directory / "dockerd.json").exists()
    if not used and not unknown:
        return []
    try:
        from hubdeploy.sandbox import engine
        from hubdeploy.sandbox.machines import cleanup
    except ImportError as error:
        log.debug("no Docker here: %s", error)
        return []
    try:
        client = engine.connect(state=directory).client if used else engine.running()
    except SandboxError as error:
        log.info("nothing to remove from Docker: %s", error.message)
        return []
    if client is None:
        return []
    left = cleanup.leftovers(client, sandbox=name, spared=spared)
    if left:
        cleanup.remove_all(client, sandbox=name, spared=spared)
    return left


def _stop_engine(directory: Path) -> None:
    if (directory / "dockerd.json").exists():
        from hubdeploy.sandbox.engine import stop_started

        stop_started(state=directory)


def _lives(name: str) -> bool:
    """Whether a server of that name runs, wherever its state is kept."""
    return any(
        _is_server(int(entry.name), name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit()
    )


def sweep(name: str = "", *, delete_files: bool = False) -> list[str]:
    """Remove what crashed sandboxes left, found by their state and labels; what was removed.

    The one called *name* is found by its labels alone, also when its state is lost. Users' files
    stay, but for those of *name* with *delete_files*.
    """
    removed: list[str] = []
    if name and not directory_of(name).exists() and not _lives(name):
        spared = frozenset[str]() if delete_files else frozenset({"efs"})
        removed += _remove_containers(name, directory_of(name), spared=spared, unknown=True)
    if not root().exists():
        return removed
    for directory in sorted(root().iterdir()):
        if not directory.is_dir() or find(directory.name) is not None:
            continue
        with _locked(directory):
            if find(directory.name) is not None:
                continue  # it was only just starting
            if delete_files and directory.name == name:
                (directory / kept.RECORD).unlink(missing_ok=True)
            spared = kept.parts(directory / kept.RECORD)
            removed += _remove_containers(directory.name, directory, spared=spared)
            _stop_engine(directory)
        if (directory / "state.json").exists():
            removed.append(f"state of sandbox {directory.name}")
            (directory / "state.json").unlink()
        if not spared:
            shutil.rmtree(directory, ignore_errors=True)
    return removed
