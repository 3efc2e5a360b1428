"""One deployment for the two files that look at what its machines have become."""

from __future__ import annotations

from collections.abc import Iterator

import docker
import pytest

from hubdeploy.sandbox.cloud.server import Cloud
from hubdeploy.sandbox.images import catalog
from hubdeploy.sandbox.images.build import Images
from hubdeploy.sandbox.images.surroundings import survey
from hubdeploy.sandbox.machines.simulated import SimulatedMachines
from tests.cookbooks import bare
from tests.cookbooks.bare import Newborn
from tests.plugins.aws import CloudAccount
from tests.plugins.machines import docker_engine, open_lab, sandbox_images

__all__ = ["docker_engine", "sandbox_images"]


@pytest.fixture(scope="package")
def newborn(
    docker_engine: docker.DockerClient,
    sandbox_images: Images,
    cloud_server: tuple[Cloud, SimulatedMachines, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Newborn]:
    """Booted from nothing, and converged twice."""
    recipe = bare.debian(survey(suite=catalog.SUITE))
    sandbox_images.ensure(recipe)
    try:
        with open_lab(docker_engine, sandbox_images) as lab:
            lab.amis[bare.AMI] = recipe
            account = CloudAccount(*cloud_server)
            made = Newborn(lab, account, tmp_path_factory.mktemp("site"))
            made.boot_all()
            yield made
            made.metadata.close()
            cloud_server[0].forget(account.account)
    finally:
        # it may name a proxy, with a password; no machine is of it any more
        docker_engine.images.remove(recipe.tag)
