"""Machine images: the distributions' newest, unless the configuration names one."""

from __future__ import annotations

from functools import partial
from typing import Any

from hubdeploy.config.names import Role
from hubdeploy.errors import AwsError
from hubdeploy.steps.base import Part

DEBIAN = "/aws/service/debian/release/12/latest/amd64"
UBUNTU = "/aws/service/canonical/ubuntu/server/22.04/stable/current/amd64/hvm/ebs-gp2/ami-id"
"""Public SSM parameters. The Chef server's package is made for Ubuntu 22.04 and not for Debian."""
ROOT_DEVICES = {DEBIAN: "/dev/xvda", UBUNTU: "/dev/sda1"}


def source(part: Part[Any], role: Role) -> str:
    """The public parameter that names the newest image for a kind of machine."""
    own_server = role is Role.CHEF and part.config.chef.distribution != "goiardi"
    return UBUNTU if own_server else DEBIAN


def chosen(part: Part[Any], role: Role) -> str | None:
    """The image that the configuration names, if any."""
    images = part.config.images
    if role is Role.CHEF:
        return images.chef_server or (images.debian if source(part, role) == DEBIAN else None)
    return images.debian


def image(part: Part[Any], role: Role) -> str:
    """The image for a new machine; the look-up is made once a run.

    A standing machine keeps the image that it was made with, however many newer ones appear.
    """
    named = chosen(part, role)
    if named:
        return named
    parameter = source(part, role)
    return part.ctx.inventory.once(parameter, partial(_look_up, part, parameter))


def _look_up(part: Part[Any], parameter: str) -> str:
    try:
        return str(part.call("ssm", "get_parameter", Name=parameter)["Parameter"]["Value"])
    except AwsError as error:
        if error.code != "ParameterNotFound":
            raise
        raise AwsError(
            f"no machine image is published for {part.config.region} ({parameter})",
            hint='name one in hubdeploy.toml: [images] debian = "ami-…", chef_server = "ami-…"',
            code=error.code,
            operation=error.operation,
        ) from error


def described(part: Part[Any], ami: str) -> dict[str, Any]:
    """What EC2 knows of an image; empty for one that was withdrawn."""

    def ask() -> dict[str, Any]:
        try:
            found = part.call("ec2", "describe_images", ImageIds=[ami])["Images"]
        except AwsError as error:
            if error.code in ("InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"):
                return {}
            raise
        return dict(found[0]) if found else {}

    return part.ctx.inventory.once(f"image {ami}", ask)


def root_device(part: Part[Any], role: Role, ami: str) -> str:
    """The name of the image's root disk, under which its size and encryption are set."""
    named = described(part, ami).get("RootDeviceName")
    return str(named or ROOT_DEVICES[source(part, role)])
