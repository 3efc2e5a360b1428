"""Builds the images: once for the same inputs, by running their scripts and keeping the result.

A container is run from the parent with what the host knows of proxies and certificates, and then
committed. Unlike a Dockerfile's ``COPY``, none of that is left in a layer.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, ImageNotFound, NotFound

from hubdeploy.errors import SandboxError
from hubdeploy.sandbox.engine import SANDBOX_LABEL, system_path
from hubdeploy.sandbox.images import catalog
from hubdeploy.sandbox.images.recipe import REPOSITORY, Recipe
from hubdeploy.sandbox.images.surroundings import CA_MOUNT, Surroundings, survey
from hubdeploy.sandbox.machines import commands, registry

log = logging.getLogger(__name__)

Progress = Callable[[str], object]
_BUILDER_LABEL = "hubdeploy.image-build"
_KEPT = 3
"""Builds of one image that stay."""
_REGISTRY = "docker-registry serve /usr/local/etc/registry.yml"
_PULL_TIMEOUT = 30
"""Seconds for the registry's first word; where none answers, the base is debootstrapped."""


class Images:
    """The images in one engine. Safe to use from several threads and processes at a time."""

    def __init__(
        self,
        client: docker.DockerClient,
        *,
        progress: Progress = log.info,
        surroundings: Surroundings | None = None,
    ) -> None:
        self._client = client
        self._progress = progress
        self._surroundings = surroundings or survey(suite=catalog.SUITE)

    def missing(self, recipes: list[Recipe]) -> list[Recipe]:
        return [recipe for recipe in recipes if not self._has(recipe.tag)]

    def ensure_all(self) -> None:
        """All images of the rehearsal, two at a time (more only wait for the same two cores)."""
        with ThreadPoolExecutor(max_workers=2) as pool:
            # the longest first
            chains = (catalog.machine(), catalog.store())
            self.ensure(catalog.base())
            for future in [pool.submit(self.ensure, recipe) for recipe in chains]:
                future.result()

    def ensure(self, recipe: Recipe) -> str:
        """The tag of the recipe's image, which is built first if the engine has it not.

        Raises :class:`SandboxError` with the end of the build's output.
        """
        if self._has(recipe.tag):
            return recipe.tag
        for needed in (recipe.parent, *recipe.holds):
            if needed is not None:
                self.ensure(needed)
        with _lock(recipe.name):
            if not self._has(recipe.tag):
                started = time.monotonic()
                self._progress(f"building the {recipe.name} image")
                if recipe.parent is None:
                    self._make_base(recipe)
                elif recipe.holds:
                    self._fill(recipe, recipe.parent)
                else:
                    self._make(recipe, recipe.parent)
                took = time.monotonic() - started
                self._progress(f"built the {recipe.name} image in {took:.0f} s")
                self._forget_older(recipe)
        return recipe.tag

    def _has(self, tag: str) -> bool:
        try:
            self._client.images.get(tag)
        except ImageNotFound:
            return False
        return True

    def _make(self, recipe: Recipe, parent: Recipe) -> None:
        near = self._surroundings
        container = self._client.containers.create(
            parent.tag,
            ["sleep", "3600"],
            user="0",
            network_mode="host",
            tmpfs={"/run": "exec", "/tmp": "exec,mode=1777"},
            labels={_BUILDER_LABEL: recipe.name},
        )
        try:
            if recipe.files:
                container.put_archive("/", recipe.archive())
            container.start()
            if near.ca_file:
                # into the tmpfs, of which nothing is kept; even the mount point of a bind mount
                # would stay in the layer
                commands.execute(
                    self._client,
                    str(container.id),
                    ["/bin/sh", "-c", f"mkdir -p $(dirname {CA_MOUNT}) && cat > {CA_MOUNT}"],
                    Path(near.ca_file).read_bytes(),
                )
            done = container.exec_run(
                ["/bin/sh", "-c", recipe.script],
                environment={"HOME": "/root", **near.environment},
                workdir="/",
            )
            if done.exit_code != 0:
                output: Any = done.output
                raise SandboxError(
                    f"building the sandbox's {recipe.name} image failed: "
                    f"{_tail(output.decode(errors='replace'))}",
                    hint="its packages come from this host's Debian mirror, PyPI and npm",
                )
            container.commit(
                repository=recipe.tag.partition(":")[0],
                tag=recipe.digest,
                changes=_configuration(recipe),
            )
        finally:
            container.remove(force=True, v=True)

    def _fill(self, recipe: Recipe, parent: Recipe) -> None:
        """Run the parent's registry, push into it what it is to hold, and keep that."""
        container = self._client.containers.run(
            parent.tag,
            # not as the container's environment, which would stay in the image
            ["/bin/sh", "-c", f"REGISTRY_HTTP_ADDR=:5000 exec {_REGISTRY}"],
            detach=True,
            ports={"5000/tcp": ("127.0.0.1", 0)},
            labels={_BUILDER_LABEL: recipe.name},
        )
        try:
            container.reload()
            ports: Any = container.ports["5000/tcp"]
            port = int(ports[0]["HostPort"])
            registry.wait(port=port)
            for held in recipe.holds:
                place = catalog.stored(held.tag)
                assert place is not None
                registry.push(self._client, held.tag, place, port=port)
            container.commit(
                repository=recipe.tag.partition(":")[0],
                tag=recipe.digest,
                changes=[*_configuration(recipe), *parent.changes],
            )
        finally:
            container.remove(force=True, v=True)

    def _make_base(self, recipe: Recipe) -> None:
        """From a registry where one answers, else from the distribution's mirror."""
        repository = recipe.tag.partition(":")[0]
        try:
            quick = docker.from_env(timeout=_PULL_TIMEOUT)
            image = quick.images.pull("debian", tag=f"{catalog.SUITE}-slim")
            image.tag(repository, recipe.digest)
        except (APIError, NotFound, OSError) as error:
            log.info("no image registry (%s): making the base with debootstrap", _brief(error))
            self._debootstrap(repository, recipe.digest)

    def _debootstrap(self, repository: str, tag: str) -> None:
        if shutil.which("debootstrap", path=system_path()) is None or os.geteuid() != 0:
            raise SandboxError(
                "no image registry answers, and the base image cannot be made without "
                "debootstrap as root",
                hint="sudo apt-get install debootstrap, and run as root",
            )
        near = self._surroundings
        # not under /tmp, which may be in memory or mounted nodev
        with tempfile.TemporaryDirectory(prefix="hubdeploy-base-", dir="/var/tmp") as folder:
            root = Path(folder) / "root"
            command = ["debootstrap", "--variant=minbase", catalog.SUITE, str(root)]
            done = subprocess.run(
                [*command, near.mirror] if near.mirror else command,
                capture_output=True,
                text=True,
                check=False,
                env={
                    **os.environ,
                    **near.environment,
                    "SSL_CERT_FILE": near.ca_file or "",
                    "PATH": system_path(),
                },
            )
            if done.returncode != 0:
                raise SandboxError(
                    f"debootstrap failed: {_tail(done.stdout + done.stderr)}",
                    hint="is this host's Debian mirror reachable?",
                )
            if near.mirror and near.security_mirror:
                with (root / "etc/apt/sources.list").open("a") as sources:
                    sources.write(f"deb {near.security_mirror} {catalog.SUITE}-security main\n")
            for cache in (root / "var/cache/apt/archives").glob("*.deb"):
                cache.unlink()
            self._import(root, repository=repository, tag=tag)

    def _import(self, root: Path, *, repository: str, tag: str) -> None:
        with subprocess.Popen(
            ["tar", "-C", str(root), "--numeric-owner", "-c", "."], stdout=subprocess.PIPE
        ) as packing:
            assert packing.stdout is not None
            self._client.api.import_image_from_stream(
                packing.stdout, repository=repository, tag=tag, changes=['CMD ["/bin/sh"]']
            )

    def _forget_older(self, recipe: Recipe) -> None:
        """Of earlier builds of the same image only the last two stay, or what is in use.

        Two checkouts of the project on one host would else build in turns what the other removed.
        """
        images = self._client.images.list(f"{REPOSITORY}/{recipe.name}")
        images.sort(key=lambda image: str(image.attrs["Created"]), reverse=True)
        for image in images[_KEPT:]:
            for tag in image.tags:
                if tag.startswith(f"{REPOSITORY}/{recipe.name}:") and tag != recipe.tag:
                    with contextlib.suppress(APIError):
                        self._client.images.remove(tag)


def _configuration(recipe: Recipe) -> list[str]:
    """The image's configuration; ``CMD`` replaces the build's own."""
    return ["USER root", f"LABEL {SANDBOX_LABEL}.image={recipe.name}", *recipe.changes]


def _tail(output: str, *, lines: int = 8) -> str:
    return " / ".join(line.strip() for line in output.strip().splitlines()[-lines:])


def _brief(error: Exception) -> str:
    return str(getattr(error, "explanation", None) or error)[:200]


@contextlib.contextmanager
def _lock(name: str) -> Iterator[None]:
    """One build of an image at a time on this host."""
    path = Path(tempfile.gettempdir()) / f"hubdeploy-image-{os.getuid()}-{name}.lock"
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
