"""End a sandbox, or what a crashed one left."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import shutil
import signal
from collections.abc import Collection
from pathlib import Path

from hubdeploy.errors import SandboxError
from hubdeploy.sandbox.cloud import kept
from hubdeploy.sandbox.known import Sandbox, directory_of, find, lives, locked, root

log = logging.getLogger(__name__)

STOP_DEADLINE = 120.0
"""Machines that are containers are shut down in order, which takes them up to half a minute."""


def stop(name: str, *, keep_files: bool = True) -> bool:
    """End the sandbox's server and machines; true if one ran.

    With *keep_files* what `down` kept stays, and the next :func:`start` has it again.
    What is left of a crashed server goes too.
    """
    directory = directory_of(name)
    if not directory.exists():
        return False
    with locked(directory):
        running = find(name)
        if running is not None:
            _end(running, keep_files=keep_files)
        record = directory / kept.RECORD
        # a server that crashed has recorded nothing: users' files stay all the same
        spared = {"efs", *kept.parts(record)} if keep_files else set[str]()
        _remove_containers(name, directory, spared=spared)
        _stop_engine(directory)
    (directory / "state.json").unlink(missing_ok=True)
    shutil.rmtree(directory / "keys", ignore_errors=True)
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


def sweep(name: str = "", *, delete_files: bool = False) -> list[str]:
    """Remove what crashed sandboxes left, found by their state and labels; what was removed.

    The one called *name* is found by its labels alone, also when its state is lost. Users' files
    stay, but for those of *name* with *delete_files*.
    """
    removed: list[str] = []
    if name and not directory_of(name).exists() and not lives(name):
        spared = frozenset[str]() if delete_files else frozenset({"efs"})
        removed += _remove_containers(name, directory_of(name), spared=spared, unknown=True)
    if not root().exists():
        return removed
    for directory in sorted(root().iterdir()):
        if not directory.is_dir() or find(directory.name) is not None:
            continue
        with locked(directory):
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
