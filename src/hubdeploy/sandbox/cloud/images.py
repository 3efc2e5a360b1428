"""Public machine images: the SSM parameters that name them, and EC2's view of them.

moto has neither Debian's nor Canonical's parameters. The ids are derived from the parameter's path
and the region, so that the machine builder can tell from an id which distribution is meant.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

_DEBIAN = re.compile(r"/aws/service/debian/release/(1[1-9])/latest/(amd64|arm64)")
_UBUNTU = re.compile(
    r"/aws/service/canonical/ubuntu/server/(2\d\.04)/stable/current/(amd64|arm64)"
    r"/hvm/ebs-gp[23]/ami-id"
)
_RELEASES = {"debian": ("12", "13"), "ubuntu": ("22.04", "24.04")}
_OWNER = {"debian": "136693071363", "ubuntu": "099720109477"}


@dataclass(frozen=True, kw_only=True)
class Image:
    ami: str
    distribution: str
    """``debian`` or ``ubuntu``."""
    release: str
    architecture: str
    """As EC2 spells it: ``x86_64`` or ``arm64``."""

    @property
    def root_device(self) -> str:
        return "/dev/xvda" if self.distribution == "debian" else "/dev/sda1"


def _image(distribution: str, release: str, arch: str, region: str) -> Image:
    digest = hashlib.sha256(f"{distribution}/{release}/{arch}/{region}".encode()).hexdigest()
    architecture = "x86_64" if arch == "amd64" else "arm64"
    return Image(
        ami=f"ami-{digest[:17]}",
        distribution=distribution,
        release=release,
        architecture=architecture,
    )


def by_parameter(name: str, *, region: str) -> Image | None:
    """The image that a public parameter names, or None."""
    for distribution, pattern in (("debian", _DEBIAN), ("ubuntu", _UBUNTU)):
        match = pattern.fullmatch(name)
        if match:
            return _image(distribution, match[1], match[2], region)
    return None


def known(region: str) -> dict[str, Image]:
    """All public images of a region, by id."""
    images = [
        _image(distribution, release, arch, region)
        for distribution, releases in _RELEASES.items()
        for release in releases
        for arch in ("amd64", "arm64")
    ]
    return {image.ami: image for image in images}


def register(backend: Any, *, region: str) -> None:
    """Make moto's EC2 know the public images, once per backend."""
    if getattr(backend, "hubdeploy_images", False):
        return
    from moto.ec2.models.amis import Ami

    for image in known(region).values():
        backend.amis[image.ami] = Ami(
            backend,
            image.ami,
            name=f"{image.distribution}-{image.release}-{image.architecture}",
            description="public image of the rehearsal",
            owner_id=_OWNER[image.distribution],
            public=True,
            virtualization_type="hvm",
            architecture=image.architecture,
            hypervisor="xen",
            root_device_type="ebs",
            root_device_name=image.root_device,
            region_name=f"{region}a",
        )
    backend.hubdeploy_images = True
