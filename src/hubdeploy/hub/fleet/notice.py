"""Warnings to people whose machine is taken away: a note in their own folder.

JupyterLab's file list shows new files within seconds, and a file reaches every kind of notebook
server. The folder belongs to the user, so it is not trusted: it is opened without following
links and the note is made only where no such name exists.
"""

from __future__ import annotations

import logging
import os
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
    """Leave the note; what keeps it from being written is only logged."""
    at = datetime.fromtimestamp(until, tz=UTC).strftime("%H:%M:%S")
    folder = homes / folder_name(user)
    try:
        inside = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        log.warning("%s cannot be told that the machine goes: %s", user, error)
        return
    try:
        note = os.open(
            NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644, dir_fd=inside
        )
    except FileExistsError:
        return
    except OSError as error:
        log.warning("%s cannot be told that the machine goes: %s", user, error)
        return
    finally:
        os.close(inside)
    with os.fdopen(note, "w") as file:
        file.write(TEXT.format(at=at))
        if os.geteuid() == 0:
            os.fchown(file.fileno(), NOTEBOOK_UID, NOTEBOOK_GID)
