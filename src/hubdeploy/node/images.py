"""The notebook images that a worker has before a notebook may come."""

from __future__ import annotations

import logging
from typing import Any

from hubdeploy.config.settings import Settings
from hubdeploy.errors import HubdeployError
from hubdeploy.node import system
from hubdeploy.node.waiting import patiently

log = logging.getLogger(__name__)

DOCKER_CONFIG = "/etc/hubdeploy/docker"
"""Names the credential helper for ECR."""
_PULL = 1800


class ImageError(HubdeployError):
    """An image cannot be had."""


def wanted(settings: Settings) -> list[str]:
    """Every notebook image that users may choose, the hub's own first."""
    hub = settings["hub"]
    every = [hub["image"], *(profile.get("image") for profile in hub.get("profiles", []))]
    return list(dict.fromkeys(str(image) for image in every if image))


def missing(docker: Any, settings: Settings) -> list[str]:
    """Those that this machine's engine (a docker.DockerClient) has not."""
    from docker.errors import ImageNotFound

    absent = []
    for image in wanted(settings):
        try:
            docker.images.get(image)
        except ImageNotFound:
            absent.append(image)
    return absent


def pull(image: str) -> None:
    """Pull an image, patiently; with the ECR credential helper where its config is there.

    Raises:
        ImageError: it cannot be had.
    """
    log.info("pulling %s", image)
    command = ["docker", "--config", DOCKER_CONFIG, "pull", "--quiet", image]
    try:
        patiently(
            lambda: system.run(command, timeout=_PULL), on=(system.CommandError,), seconds=600
        )
    except system.CommandError as error:
        raise ImageError(
            f"The image {image} cannot be pulled: {error}",
            hint="does it exist, and may this machine's role pull it?",
        ) from error
