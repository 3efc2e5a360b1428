"""The Docker engine's API as the hub uses it: docker-py, with registry credentials that may fail.

Swarm hands the creator's registry credentials to the workers, which is how they may pull a
private image. They come from the credential helper in Docker's configuration (an ECR token lasts
12 hours, so none is ever kept: moby/moby#24372) and go along with each creation and update. A
helper that fails must not keep users out, since workers have pulled the image before they take
servers: then the service is created without.
"""

from __future__ import annotations

import logging
from typing import Any

import docker
from docker.auth import AuthConfig
from docker.errors import APIError, DockerException
from docker.utils import kwargs_from_env

log = logging.getLogger(__name__)

TIMEOUT = 30


class Engine(docker.APIClient):
    """``create_service`` and ``update_service`` with the image's registry credentials."""

    _auth_configs: Any

    def create_service(self, *args: Any, **kwargs: Any) -> Any:
        return self._with_credentials(super().create_service, *args, **kwargs)

    def update_service(self, *args: Any, **kwargs: Any) -> Any:
        return self._with_credentials(super().update_service, *args, **kwargs)

    def _with_credentials(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except APIError:
            raise
        except (DockerException, OSError, ValueError) as error:
            if not self._is_credentials_trouble(error):
                raise
            log.warning("no registry credentials (%s); the service is made without", error)
        kept = self._auth_configs
        # an empty one would be read from the file again
        self._auth_configs = AuthConfig({"auths": {"none.invalid": {}}})
        try:
            return call(*args, **kwargs)
        finally:
            self._auth_configs = kept

    @staticmethod
    def _is_credentials_trouble(error: Exception) -> bool:
        # the helper's failure comes as a bare DockerException, or unwrapped when the program
        # cannot be run or prints something else than JSON
        text = str(error).lower()
        return (
            type(error) is DockerException or "credential" in text or isinstance(error, ValueError)
        )


def connect(**more: Any) -> Engine:
    """A client of the engine that the environment names (else the local socket)."""
    kwargs = {"version": "auto", "timeout": TIMEOUT, **kwargs_from_env(), **more}
    return Engine(**kwargs)
