"""What the notebooks on this worker use, not only reserve: told to the fleet's page.

It goes into a small file on the users' file system, which leader and workers have mounted anyway: a
right in AWS, an open port or a metric for each machine would cost more and say no more. Docker is
asked, as ``docker stats`` is, so that it counts what the reservations count.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubdeploy.config.names import LABEL_USER, USE_DIR
from hubdeploy.config.use import Use
from hubdeploy.node import swarm
from hubdeploy.node.aws import Cloud

log = logging.getLogger(__name__)

EVERY = 60.0


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One look: memory in bytes, CPU time in nanoseconds so far by container; ``at``: monotonic."""

    at: float
    memory: int
    cpu: Mapping[str, int]


def look(docker: Any, *, clock: Callable[[], float] = time.monotonic) -> Sample:
    """The notebooks' containers (docker.DockerClient); one that ends meanwhile is left out."""
    from docker.errors import APIError

    memory, cpu = 0, dict[str, int]()
    for found in docker.api.containers(filters={"label": LABEL_USER}):
        try:
            said = docker.api.stats(found["Id"], stream=False, one_shot=True)
        except APIError as error:
            log.info("%s: %s", found["Id"][:12], error)
            continue
        memory += memory_of(said.get("memory_stats") or {})
        usage = (said.get("cpu_stats") or {}).get("cpu_usage") or {}
        cpu[found["Id"]] = int(usage.get("total_usage") or 0)
    return Sample(at=clock(), memory=memory, cpu=cpu)


def memory_of(stats: Mapping[str, Any]) -> int:
    """Bytes in use without the page cache that the kernel would give back at once."""
    parts = stats.get("stats") or {}
    # by the second version of control groups, else by the first
    cache = parts.get("inactive_file", parts.get("total_inactive_file", 0))
    return max(0, int(stats.get("usage") or 0) - int(cache or 0))


def between(before: Sample, after: Sample, *, now: float) -> Use:
    """CPU is what was used between the two; a container that is new began after *before*."""
    spent = sum(max(0, total - before.cpu.get(name, 0)) for name, total in after.cpu.items())
    elapsed = max(1.0, after.at - before.at)
    return Use(at=now, memory=after.memory, cpu=int(spent / elapsed))


def tell(folder: Path, instance: str, use: Use) -> None:
    """In one write of constant length, so that nobody reads half of it. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
    file = os.open(folder / f"{instance}.json", flags, 0o600)
    try:
        os.pwrite(file, use.encode(), 0)
    finally:
        os.close(file)


def watch(cloud: Cloud, *, folder: Path = Path(USE_DIR), every: float = EVERY) -> None:
    """Look and tell; does not end."""
    from docker.errors import DockerException

    docker = swarm.engine()
    instance = cloud.machine.identity.instance_id
    before: Sample | None = None
    while True:
        try:
            after = look(docker)
            if before is not None:
                tell(folder, instance, between(before, after, now=time.time()))
            before = after
        except (DockerException, OSError) as error:
            log.warning("%s", error)
        time.sleep(every)
