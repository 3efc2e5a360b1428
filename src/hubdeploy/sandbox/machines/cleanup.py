"""Ends what a sandbox made in the Docker engine, found by labels alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import docker
from docker.errors import APIError, NotFound

from hubdeploy.errors import SandboxError
from hubdeploy.sandbox.engine import SANDBOX_LABEL

log = logging.getLogger(__name__)


def contents(sandbox: str, part: str) -> str:
    """The volume with what the sandbox's file systems (``efs``) or volumes (``ebs``) hold."""
    return f"{sandbox}-{part}"


def leftovers(
    client: docker.DockerClient, *, sandbox: str, spared: Collection[str] = ()
) -> list[str]:
    """What is there of the sandbox, one line each; images are kept for the next rehearsal.

    The contents of the parts *spared* do not count.
    """
    query: dict[str, str | list[str] | bool] = {"label": f"{SANDBOX_LABEL}={sandbox}"}
    kept = {contents(sandbox, part) for part in spared}
    volumes = [found.name for found in client.volumes.list(filters=query) if found.name not in kept]
    return [
        *(f"container {found.name}" for found in client.containers.list(all=True, filters=query)),
        *(f"network {found.name}" for found in client.networks.list(filters=query)),
        *(f"volume {name}" for name in volumes),
    ]


def remove_all(client: docker.DockerClient, *, sandbox: str, spared: Collection[str] = ()) -> None:
    """End containers, then networks and volumes. Nothing to do is fine, and so is a second try.

    Raises :class:`SandboxError` with a list if anything stays that should not.
    """
    query: dict[str, str | list[str] | bool] = {"label": f"{SANDBOX_LABEL}={sandbox}"}
    kept = {contents(sandbox, part) for part in spared}
    _each(
        client.containers.list(all=True, filters=query),
        lambda found: found.remove(force=True, v=True),
    )
    _each(client.networks.list(filters=query), lambda found: found.remove())
    _each(
        (found for found in client.volumes.list(filters=query) if found.name not in kept),
        lambda found: found.remove(force=True),
    )
    left = leftovers(client, sandbox=sandbox, spared=spared)
    if left:
        raise SandboxError(
            f"the sandbox left behind: {', '.join(left)}", hint="docker rm -f, or try again"
        )


def _each(things: Iterable[Any], remove: Callable[[Any], object]) -> None:
    def one(thing: Any) -> None:
        try:
            remove(thing)
        except NotFound:
            return
        except APIError as error:
            log.warning("could not remove %s: %s", thing.name, error.explanation)

    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(one, things))
