"""User data of the machines: one small bash script each, without a secret.

The script only brings the machine to where ``hubdeploy-node boot ROLE`` can run; everything it does
not know it reads from SSM and the bucket, so that a launch template need not change with a release.
"""

from __future__ import annotations

import re

from hubdeploy.config.assets import userdata_dir
from hubdeploy.config.names import MACHINE_ENV, MACHINE_HOME, Names, Role
from hubdeploy.errors import ConfigError

LIMIT = 16 * 1024
"""Bytes that EC2 takes as user data (before base64)."""

_VALUE = re.compile(r"[A-Za-z0-9._-]+")
"""What may be put into the script: nothing here needs quoting in bash or JSON."""


def render(role: Role, names: Names, *, bucket: str = "") -> str:
    """The user data of one kind of machine.

    The same arguments give the same text, which lets the launch template's step compare it.
    ``bucket`` defaults to the deployment's own.

    Raises:
        ConfigError: a value is no plain name, or the script has outgrown EC2's limit.
    """
    import jinja2

    values = {
        "deployment": names.deployment,
        "region": names.region,
        "account": names.account,
        "bucket": bucket or names.bucket,
        "role": role.value,
    }
    for key, value in values.items():
        if not _VALUE.fullmatch(value):
            raise ConfigError(f"user data: {key} {value!r} is not a plain name")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(userdata_dir()),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # bash; every value is checked above
    )
    text = environment.get_template(f"{role.value}.sh.j2").render(
        **values,
        root=names.parameters.root,
        home=MACHINE_HOME,
        machine_json=MACHINE_ENV,
    )
    size = len(text.encode())
    if size >= LIMIT:
        raise ConfigError(
            f"user data of {role.value} has {size} bytes; EC2 takes fewer than {LIMIT}",
            hint="move logic from userdata/ into hubdeploy-node",
        )
    return text
