"""The Chef packages that machines will install: kept in the bucket, or to be had."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

import requests

from hubdeploy.doctor.check import Check, Stage
from hubdeploy.errors import AwsError
from hubdeploy.node import packages
from hubdeploy.node.packages import Package, Platform
from hubdeploy.pipeline.step import Finding

TIMEOUT = 8.0
"""Seconds for each of the publisher's answers; its service is slow at times."""
SERVER = Platform(name="ubuntu", version="22.04", machine="x86_64")
NODES = Platform(name="debian", version="12", machine="x86_64")
"""What the machines run, as :mod:`hubdeploy.steps.images` chooses it."""
ABSENT = ("404", "NoSuchKey", "NoSuchBucket", "NotFound")


class ChefPackages(Check):
    """Every pinned package is in the deployment's bucket, or its publisher serves it.

    A rehearsal's machine images bring Chef along, so that nothing is downloaded there.
    """

    name = "chef.packages"
    title = "Chef's packages can be had"
    stage: ClassVar[Stage] = Stage.ALWAYS
    deadline = 40.0

    def find(self) -> Iterable[Finding]:
        if self.ctx.sandbox:
            return
        for package, where in self._pinned():
            if self._kept(packages.kept_as(package, where)):
                continue
            what = f"{package.product} {package.version}"
            problem = self._problem(package, where)
            if problem:
                yield self.error(
                    f"{what} is not in the bucket, and {problem}",
                    hint="correct the version in [chef], or try again: the publisher is slow at "
                    "times; once fetched, a package is kept",
                    subject=package.product,
                )

    def _pinned(self) -> Iterator[tuple[Package, Platform]]:
        chef = self.ctx.config.chef
        product = packages.server_product(chef.distribution)
        if product:
            yield self._package(product, chef.server_version), SERVER
        yield self._package(packages.client_product(chef.distribution), chef.client_version), NODES

    def _package(self, product: str, version: str) -> Package:
        licence = self.ctx.config.chef.licence_id or ""
        return Package(product=product, version=version, licence=licence)

    def _kept(self, key: str) -> bool:
        try:
            for name in (key, f"{key}.sha256"):
                self.ctx.aws.call("s3", "head_object", Bucket=self.ctx.names.bucket, Key=name)
        except AwsError as error:
            if error.code in ABSENT:
                return False
            raise
        return True

    def _problem(self, package: Package, where: Platform) -> str:
        url = packages.metadata_url(package, where, publisher=self.ctx.publisher)
        try:
            said = requests.get(url, headers={"Accept": "application/json"}, timeout=TIMEOUT)
            if said.status_code == 404:
                return f"its publisher has no such version for {where.name} {where.version}"
            said.raise_for_status()
            file = requests.head(str(said.json()["url"]), timeout=TIMEOUT, allow_redirects=True)
        except requests.HTTPError as error:
            return f"its publisher answers {error.response.status_code}"
        except (ValueError, KeyError):
            return "its publisher answers nonsense"
        except requests.RequestException as error:
            # the address holds the licence: not shown
            return f"its publisher does not answer ({type(error).__name__})"
        return "" if file.ok else f"its publisher's file answers {file.status_code}"


CHECKS: tuple[type[Check], ...] = (ChefPackages,)
