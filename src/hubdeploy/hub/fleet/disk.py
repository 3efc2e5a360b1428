"""Who uses how much of the file system: looked up gently, in the background.

EFS meters the whole but says nothing of the users. One thread with the lowest priority walks the
users' folders at a bounded rate, so that a scan of millions of files takes hours and disturbs
nobody. Symbolic links are not followed and nothing is opened: only directory entries are read.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

ENTRIES_A_SECOND = 2000.0
PAUSE_BETWEEN_SCANS = 6 * 3600.0
LOWEST_PRIORITY = 19


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Bytes and files below one user's folder, and when it was scanned."""

    folder: str
    size: int
    files: int
    at: float


class Scanner:
    """Scans *homes* again and again. ``wait(seconds)`` answers True when it is to stop."""

    def __init__(
        self,
        homes: Path,
        keep: Path,
        *,
        rate: float = ENTRIES_A_SECOND,
        pause: float = PAUSE_BETWEEN_SCANS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.homes = homes
        self.keep = keep
        self.rate = rate
        self.pause = pause
        self._clock = clock
        self._stop = threading.Event()
        self._usage: dict[str, Usage] = self._load()
        self._thread = threading.Thread(target=self._run, name="disk-scanner", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    @property
    def usage(self) -> list[Usage]:
        """The biggest first."""
        return sorted(self._usage.values(), key=lambda use: (-use.size, use.folder))

    @property
    def total(self) -> int:
        return sum(use.size for use in self._usage.values())

    def _run(self) -> None:
        try:
            # on Linux a thread has a priority of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
        except OSError as error:
            log.info("the disk scan runs at normal priority: %s", error)
        while not self._stop.is_set():
            try:
                self.scan()
            except OSError as error:
                log.warning("scanning %s: %s", self.homes, error)
            self._stop.wait(self.pause)

    def scan(self) -> None:
        """All users' folders once; each is kept as soon as it is done."""
        present = set()
        for entry in self._entries(self.homes):
            if entry.is_dir(follow_symlinks=False):
                present.add(entry.name)
                size, files = self._measure(Path(entry.path))
                if self._stop.is_set():
                    return
                self._usage[entry.name] = Usage(
                    folder=entry.name, size=size, files=files, at=self._clock()
                )
        self._usage = {name: use for name, use in self._usage.items() if name in present}
        self._save()

    def _measure(self, folder: Path) -> tuple[int, int]:
        size = files = 0
        left = [folder]
        while left and not self._stop.is_set():
            for entry in self._entries(left.pop()):
                try:
                    if entry.is_dir(follow_symlinks=False):
                        left.append(Path(entry.path))
                    else:
                        about = entry.stat(follow_symlinks=False)
                        # what EFS meters, also for sparse files; never less than nothing
                        size += about.st_blocks * 512
                        files += 1
                except OSError:
                    continue  # removed meanwhile
        return size, files

    def _entries(self, folder: Path) -> Iterator[os.DirEntry[str]]:
        """Entries at no more than ``rate`` a second; none of a folder that cannot be read."""
        count = 0
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    count += 1
                    yield entry
        except OSError as error:
            log.debug("scanning %s: %s", folder, error)
        if self.rate:
            self._stop.wait((count + 1) / self.rate)

    def _load(self) -> dict[str, Usage]:
        try:
            raw = json.loads(self.keep.read_text())
            return {each["folder"]: Usage(**each) for each in raw}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.warning("%s cannot be read (%s): scanned anew", self.keep, error)
            return {}

    def _save(self) -> None:
        text = json.dumps([vars_of(use) for use in self._usage.values()])
        fresh = self.keep.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.keep)


def vars_of(use: Usage) -> dict[str, object]:
    return {"folder": use.folder, "size": use.size, "files": use.files, "at": use.at}
