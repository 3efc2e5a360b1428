"""Warnings to people whose machine is taken away: a note in their own folder.

JupyterLab's file list shows new files within seconds, and a file reaches every kind of notebook
server. The folder belongs to the user, so it is not trusted: neither it nor anything in it is
followed where it is a link.
"""

from __future__ import annotations

import logging
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path

from hubdeploy.config.names import NOTEBOOK_GID, NOTEBOOK_UID
from hubdeploy.hub.homes import folder_name

log = logging.getLogger(__name__)

NAME = "SAVE-YOUR-WORK-this-machine-stops-soon.txt"
TEXT = """The machine that your server runs on is taken back at {at} UTC (a spot instance).

Save your work now. Files in this folder are safe. Unsaved changes and running programs are lost.
After that, start your server again from the hub: it will run on another machine.

You may delete this file.
"""


def tell(user: str, until: float, *, homes: Path) -> None:
    """Leave the note, in place of an older one; what keeps it from being written is only logged.

    It is written beside and moved there, so that nobody reads half of it and a link that the user
    put in its place is replaced, not followed.
    """
    at = datetime.fromtimestamp(until, tz=UTC).strftime("%H:%M:%S")
    try:
        inside = os.open(homes / folder_name(user), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            _write(inside, TEXT.format(at=at))
        finally:
            os.close(inside)
    except OSError as error:
        log.warning("%s cannot be told that the machine goes: %s", user, error)


def _write(inside: int, text: str) -> None:
    fresh = f".{NAME}.{secrets.token_hex(4)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(fresh, flags, 0o644, dir_fd=inside), "w") as file:
        file.write(text)
        if os.geteuid() == 0:
            os.fchown(file.fileno(), NOTEBOOK_UID, NOTEBOOK_GID)
    try:
        os.replace(fresh, NAME, src_dir_fd=inside, dst_dir_fd=inside)
    except OSError:
        os.unlink(fresh, dir_fd=inside)
        raise
