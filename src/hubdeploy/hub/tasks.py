"""What a server's swarm tasks say about it: one reading for starting, polling and progress.

Pure functions over the Docker API's JSON. Swarm keeps a service's ended tasks for a while, and a
task says both what it is (``Status.State``) and what swarm wants it to be (``DesiredState``).
With the restart policy 'none' swarm replaces nothing by itself, so each case has one meaning:

- ended by itself (complete, failed): the server stopped; it stays stopped
- rejected: the worker could not take it (image, mount, port)
- wanted down, shut down or orphaned, or on a machine that is down: it lost its place, and the hub
  finds it another
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hubdeploy.config.limits import show_size
from hubdeploy.hub.placement import pinned_to, request_of

Json = Mapping[str, Any]


class Stage(StrEnum):
    """Where a server is on its way, in the order it passes them."""

    GONE = "gone"
    """There is no such service."""
    MACHINE = "machine"
    """No machine has room yet."""
    PLACING = "placing"
    """A machine was chosen, its worker has not begun."""
    PULLING = "pulling"
    """The worker prepares: nearly all of it is the image's pull."""
    STARTING = "starting"
    RUNNING = "running"
    ENDED = "ended"
    """It stopped by itself or was killed on its machine."""
    REJECTED = "rejected"
    """The worker refused it, or could not start the container."""
    LOST = "lost"
    """Its machine went away or was drained."""


STAGES = {
    "new": Stage.PLACING,
    "allocated": Stage.PLACING,
    "pending": Stage.PLACING,
    "assigned": Stage.PLACING,
    "accepted": Stage.PLACING,
    "preparing": Stage.PULLING,
    "ready": Stage.STARTING,
    "starting": Stage.STARTING,
    "running": Stage.RUNNING,
    "complete": Stage.ENDED,
    "failed": Stage.ENDED,
    "rejected": Stage.REJECTED,
    "shutdown": Stage.LOST,
    "remove": Stage.LOST,
    "orphaned": Stage.LOST,
}
COMING = frozenset({Stage.MACHINE, Stage.PLACING, Stage.PULLING, Stage.STARTING})
#: states in which a task is still, or may still be, a process on its machine
ALIVE = frozenset(
    state for state, stage in STAGES.items() if stage in COMING or stage is Stage.RUNNING
)


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """What was seen of a server. ``words`` are swarm's own; ``address`` and ``port`` are set
    once the notebook can be reached; ``pinned``: the node it is constrained to, if any."""

    stage: Stage
    task: str = ""
    node: str = ""
    pinned: str = ""
    address: str = ""
    port: int = 0
    words: str = ""
    exit_code: int | None = None
    memory: int = 0
    """Bytes that it has."""


def sight(
    service: Json | None, tasks: Sequence[Json], nodes: Mapping[str, Json], *, port: int
) -> Sighting:
    """Read *service* (None: not there) by its own *tasks*; *port* is the one in the container."""
    if service is None:
        return Sighting(stage=Stage.GONE)
    spec = service.get("Spec") or {}
    pinned = pinned_to(spec.get("TaskTemplate") or {})
    if ((spec.get("Mode") or {}).get("Replicated") or {}).get("Replicas", 1) == 0:
        return Sighting(stage=Stage.ENDED, words="the service was scaled to zero")
    task = newest(tasks)
    if task is None:
        return Sighting(stage=Stage.PLACING if pinned else Stage.MACHINE, pinned=pinned)
    status = task.get("Status") or {}
    stage = STAGES.get(status.get("State", ""), Stage.PLACING)
    node = str(task.get("NodeID") or "")
    words = str(status.get("Err") or status.get("Message") or "")
    code = (status.get("ContainerStatus") or {}).get("ExitCode")
    if stage is Stage.PLACING and not node:
        stage = Stage.PLACING if pinned else Stage.MACHINE
    if stage is Stage.ENDED and _never_ran(words):
        stage = Stage.REJECTED
    if (stage in COMING or stage is Stage.RUNNING) and _lost(task, node, nodes):
        stage = Stage.LOST
    address, published = _published(task, nodes.get(node), port)
    if stage is Stage.RUNNING and not published:
        # running, but its port is not yet known: to the hub it is still on its way
        stage = Stage.STARTING
    return Sighting(
        stage=stage,
        task=str(task.get("ID", "")),
        node=node,
        pinned=pinned,
        address=address,
        port=published,
        words=words,
        exit_code=code,
        memory=request_of(task.get("Spec") or {}).memory,
    )


def newest(tasks: Iterable[Json]) -> Json | None:
    """The task that swarm made last: after an update older ones linger, also running ones."""
    return max(tasks, key=lambda task: _when(task.get("CreatedAt", "")), default=None)


def _when(text: str) -> tuple[str, str]:
    # the API drops trailing zeros of the fraction, so the texts do not compare as they are
    whole, _, fraction = text.rstrip("Z").partition(".")
    return whole, fraction.ljust(9, "0")


def _lost(task: Json, node: str, nodes: Mapping[str, Json]) -> bool:
    if task.get("DesiredState") in ("shutdown", "remove"):
        return True
    if not node:
        return False
    there = nodes.get(node)
    # 'unknown' is what every node is just after the leader restarted, until its next heartbeat
    return there is None or (there.get("Status") or {}).get("State") == "down"


def _published(task: Json, node: Json | None, port: int) -> tuple[str, int]:
    ports = ((task.get("Status") or {}).get("PortStatus") or {}).get("Ports") or ()
    for published in ports:
        if published.get("TargetPort") == port and published.get("PublishedPort") and node:
            return str((node.get("Status") or {}).get("Addr", "")), int(published["PublishedPort"])
    return "", 0


def is_on(task: Json, nodes: Mapping[str, Json]) -> bool:
    """Whether *task* may still be a running container (its node being down, nobody can know)."""
    if (task.get("Status") or {}).get("State") not in ALIVE:
        return False
    node = nodes.get(str(task.get("NodeID") or ""))
    return node is not None and (node.get("Status") or {}).get("State") != "down"


# --- swarm's words, for people ------------------------------------------------------------------

_START_FAILED = re.compile(r"starting container failed|failed to create|oci runtime", re.I)
_IMAGE = re.compile(
    r"no such image|pull access denied|manifest (for .* )?(unknown|not found)|unauthorized"
    r"|no basic auth|toomanyrequests|pulling image|repository .* not found|denied: ",
    re.I,
)
_MOUNT = re.compile(r"bind source path does not exist|invalid mount", re.I)
_COMMAND = re.compile(r"executable file not found|no such file or directory|exec format", re.I)
_PORT = re.compile(r"port is already allocated|host-mode port already in use", re.I)
_NO_ROOM = re.compile(r"no suitable node", re.I)
KILLED = 137


def _never_ran(words: str) -> bool:
    return bool(_START_FAILED.search(words))


def is_hopeless(words: str) -> bool:
    """Whether another machine would refuse it just the same."""
    return bool(_COMMAND.search(words) and not _MOUNT.search(words))


def explain(seen: Sighting, *, image: str, memory: int) -> str:
    """One sentence or two for the user: what happened, with swarm's own words where they help."""
    words = seen.words.strip().rstrip(".")
    if seen.stage is Stage.ENDED and seen.exit_code == KILLED:
        return (
            f"The server was killed: most likely it ran out of memory (it had "
            f"{show_size(memory)}). Start it again with more memory or load less data."
        )
    if seen.stage is Stage.ENDED and seen.exit_code:
        return f"The server stopped with exit code {seen.exit_code} ({words})."
    if seen.stage is Stage.ENDED:
        return f"The server stopped ({words or 'complete'})."
    if seen.stage is Stage.GONE:
        return "The server was removed."
    if _IMAGE.search(words):
        return f"The image {image} could not be pulled ({words})."
    if _MOUNT.search(words):
        return f"Your files could not be reached from the machine ({words})."
    if _PORT.search(words):
        return f"The machine's port was taken ({words})."
    if _COMMAND.search(words):
        return f"The image {image} cannot start a notebook server ({words})."
    if _NO_ROOM.search(words):
        return f"No machine has room: swarm says '{words}'."
    if seen.stage is Stage.LOST:
        return f"The machine that it ran on went away ({words or 'no reason given'})."
    return f"The machine refused the server: '{words or 'no reason given'}'."


def too_late(seen: Sighting, *, image: str, memory: int) -> str:
    """Why a start that reached its deadline did not get further."""
    if seen.stage is Stage.MACHINE or (seen.stage is Stage.PLACING and not seen.node):
        words = f" Swarm says: '{seen.words}'." if seen.words else ""
        return f"No machine had room in time.{words}"
    if seen.stage is Stage.PULLING:
        return f"The image {image} was not there in time (the machine is still pulling it)."
    if seen.stage in COMING:
        return "The server's container did not start in time."
    return explain(seen, image=image, memory=memory)
