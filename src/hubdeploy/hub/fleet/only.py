"""One fleet service at a time: a hub that restarts may start its own before the old one ended."""

from __future__ import annotations

import fcntl
from pathlib import Path


class OnlyOne:
    """A lock on a file in *folder*, held until the process ends."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = (folder / "lock").open("w")

    def take(self) -> bool:
        """Whether it is ours now; False while another process has it."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
