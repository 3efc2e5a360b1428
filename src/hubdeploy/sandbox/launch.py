"""Start the sandbox's background server from any command."""

from __future__ import annotations

import logging
import os
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from hubdeploy.errors import SandboxError
from hubdeploy.sandbox.known import MODULE, Sandbox, directory_of, find, locked

log = logging.getLogger(__name__)
Say = Callable[[str], object]

START_DEADLINE = 60.0


def start(name: str, *, machines: str | None = None, say: Say = log.info) -> Sandbox:
    """The running sandbox of that name, or a new one.

    *machines* is ``docker``, ``simulated``, or None for containers where they can be had. Raises
    :class:`SandboxError` when the server does not come up, or runs with machines of another kind.
    """
    directory = directory_of(name)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    directory.chmod(0o700)
    with locked(directory):
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
                    *(sys.executable, "-m", MODULE, "--name", name, "--machines", kind),
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
