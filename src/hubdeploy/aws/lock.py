"""One operator at a time: a lock in SSM with an owner and an expiry.

SSM's PutParameter without overwrite is atomic and needs nothing made before, so that it also
keeps two first runs apart. A lock whose process on this very machine is gone is taken over at
once: after a crash the same operator goes on without waiting for the expiry.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from hubdeploy.aws.session import Aws
from hubdeploy.config.names import Names
from hubdeploy.errors import AwsError, HubdeployError

EXPIRY = timedelta(hours=2)
"""At least; longer than a run's usual waits together."""


@contextmanager
def held(aws: Aws, names: Names, *, purpose: str, lasts: float = 0.0) -> Iterator[None]:
    """Hold the deployment's lock; :class:`HubdeployError` says who has it if another does.

    ``lasts``: seconds that the run may take at most, where its waits are configured longer.
    """
    name = names.parameters.lock
    mine = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "user": _user(),
        "purpose": purpose,
        "expires": (datetime.now(UTC) + max(EXPIRY, timedelta(seconds=lasts))).isoformat(
            timespec="seconds"
        ),
    }
    for last in (False, True):
        try:
            _put(aws, name, mine)
            break
        except AwsError as error:
            if error.code != "ParameterAlreadyExists":
                raise
        other = _read(aws, name)
        if last or (other and not _is_stale(other)):
            raise HubdeployError(
                f"deployment {names.deployment} is being changed: {other.get('purpose', '?')} by "
                f"{other.get('user', '?')} on {other.get('host', '?')}",
                hint=f"wait for it, or for the lock's expiry at {other.get('expires', '?')}",
            )
        _delete(aws, name)
    try:
        yield
    finally:
        _delete(aws, name)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"


def _put(aws: Aws, name: str, mine: dict[str, Any]) -> None:
    aws.call(
        "ssm", "put_parameter", Name=name, Value=json.dumps(mine), Type="String", Overwrite=False
    )


def _read(aws: Aws, name: str) -> dict[str, Any]:
    found = aws.call("ssm", "get_parameters", Names=[name])["Parameters"]
    try:
        value = json.loads(found[0]["Value"]) if found else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _is_stale(other: dict[str, Any]) -> bool:
    if str(other.get("expires", "")) < datetime.now(UTC).isoformat(timespec="seconds"):
        return True
    return other.get("host") == socket.gethostname() and not _alive(int(other.get("pid", 0)))


def _alive(pid: int) -> bool:
    if pid <= 0:
        return False
    if os.name == "nt":
        # signal 0 would end the process there: let the expiry decide
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _delete(aws: Aws, name: str) -> None:
    try:
        aws.call("ssm", "delete_parameter", Name=name)
    except AwsError as error:
        # `down` deletes every parameter of the deployment, this one too
        if error.code != "ParameterNotFound":
            raise
