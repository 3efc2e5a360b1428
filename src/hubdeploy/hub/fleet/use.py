"""What each machine's servers really use, as the machines tell it on the shared file system.

For the page and the metrics only: no decision goes by it, since a machine that was taken over could
say anything. Files are read in a thread of their own, which may hang as long as the file system
does without holding up a tick.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from hubdeploy.config.use import LENGTH, Use

log = logging.getLogger(__name__)

EVERY = 30.0
STALE = 180.0
"""Seconds after which a figure's age is shown beside it: a machine tells it once a minute."""
OLD = 900.0
"""Seconds after which it is not shown at all."""
FORGET = 86_400.0


class Reader:
    """Reads ``FOLDER/INSTANCE.json`` for all *instances()*, again and again."""

    def __init__(
        self,
        folder: Path,
        instances: Callable[[], Collection[str]],
        *,
        every: float = EVERY,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = folder
        self.every = every
        self._instances = instances
        self._clock = clock
        self._use: Mapping[str, Use] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="use-reader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            # it may hang in the file system, and is a daemon
            self._thread.join(timeout=2)

    @property
    def use(self) -> dict[str, Use]:
        """By instance, what is not too old."""
        since = self._clock() - OLD
        return {name: use for name, use in self._use.items() if use.at >= since}

    def _run(self) -> None:
        while not self._stop.is_set():
            # nothing has been seen yet just after a start
            self._stop.wait(self.every if self.read() else 1.0)

    def read(self) -> int:
        """All machines' files once; how many machines there are."""
        found = {}
        instances = self._instances()
        for instance in instances:
            use = self._one(instance)
            if use is not None:
                found[instance] = use
        self._use = found
        self._tidy(instances)
        return len(instances)

    def _one(self, instance: str) -> Use | None:
        # none of it is trusted: no link, no pipe, no more than one figure
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            file = os.open(self.folder / f"{instance}.json", flags)
        except OSError:
            return None
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                return None
            use = Use.decode(os.read(file, LENGTH))
        except (OSError, ValueError) as error:
            log.info("%s says nothing of its use: %s", instance, error)
            return None
        finally:
            os.close(file)
        # a clock that runs ahead must not make a figure last
        return use if use.at <= self._clock() + STALE else None

    def _tidy(self, instances: Collection[str]) -> None:
        """Remove what ended machines have left."""
        try:
            with os.scandir(self.folder) as entries:
                old = [
                    entry.path
                    for entry in entries
                    if entry.name.removesuffix(".json") not in instances
                    and entry.stat(follow_symlinks=False).st_mtime < self._clock() - FORGET
                ]
            for path in old:
                os.unlink(path)
        except OSError as error:
            log.debug("%s: %s", self.folder, error)
