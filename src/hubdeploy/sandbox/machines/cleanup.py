"""Ends what a sandbox made in the Docker engine, found by labels alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import docker
from docker.errors import APIError, NotFound

from hubdeploy.errors import SandboxError
from hubdeploy.sandbox.engine import SANDBOX_LABEL

log = logging.getLogger(__name__)


def leftovers(client: docker.DockerClient, *, sandbox: str) -> list[str]:
    """What is there of the sandbox, one line each; images are kept for the next rehearsal."""
    query: dict[str, str | list[str] | bool] = {"label": f"{SANDBOX_LABEL}={sandbox}"}
    return [
        *(f"container {found.name}" for found in client.containers.list(all=True, filters=query)),
        *(f"network {found.name}" for found in client.networks.list(filters=query)),
        *(f"volume {found.name}" for found in client.volumes.list(filters=query)),
    ]


def remove_all(client: docker.DockerClient, *, sandbox: str) -> None:
    """End containers, then networks and volumes. Nothing to do is fine, and so is a second try.

    Raises :class:`SandboxError` with a list if anything stays.
    """
    query: dict[str, str | list[str] | bool] = {"label": f"{SANDBOX_LABEL}={sandbox}"}
    _each(
        client.containers.list(all=True, filters=query),
        lambda found: found.remove(force=True, v=True),
    )
    _each(client.networks.list(filters=query), lambda found: found.remove())
    _each(client.volumes.list(filters=query), lambda found: found.remove(force=True))
    left = leftovers(client, sandbox=sandbox)
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
