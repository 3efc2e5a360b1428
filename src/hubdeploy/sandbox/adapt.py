"""What a rehearsal changes in the operator's configuration, so that one machine can hold it.

Names, network, storage, limits' logic, profiles and idle times stay as configured: they are what
is rehearsed. What needs the internet or a large machine is replaced, and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hubdeploy.config.model import Config
from hubdeploy.config.names import Names

if TYPE_CHECKING:
    from hubdeploy.sandbox.known import Sandbox

ACCOUNT = "123456789012"
"""The embedded AWS's only account."""
NOTEBOOK_TAG = "rehearsal"
"""Tag of the small notebook image that the sandbox builds and keeps in its registry."""
MACHINE = "t3.medium"
"""Two processors and 4 GiB: enough for a few small servers on each machine."""
WORKERS = (MACHINE, "t3a.medium", "t3.large", "t3a.large", "m5.large", "m5a.large", "m6i.large")
"""Stand for the configured types of workers, in their order; beyond these, the types themselves."""
MOST_AT_ONCE = 2
"""Workers that start with the rehearsal; more come as they are needed, as configured."""
MOST_MEMORY = 512 << 20
MOST_CPU = 0.2
ADMIN = "admin"


def notebook_image(*, deployment: str, region: str) -> str:
    """The notebook image under its real ECR name."""
    names = Names(deployment=deployment, region=region, account=ACCOUNT)
    return f"{names.registry}/{names.repository}:{NOTEBOOK_TAG}"


def adapted(config: Config, sandbox: Sandbox) -> Config:
    """The configuration of the rehearsal of ``config``."""
    del sandbox
    image = notebook_image(deployment=config.name, region=config.region)
    values: dict[str, Any] = config.model_dump()
    values["domain"] = None
    values["permissions_boundary"] = None
    values["images"] = {"debian": None, "chef_server": None}
    values["tls"] |= {"kind": "self-signed"}
    values["storage"] |= {"tls": False, "file_system": None}
    values["chef"] |= {
        "distribution": "goiardi",
        "licence_id": None,
        "instance_type": "t3.small",
        "workstation_type": "t3.small",
    }
    values["leader"] |= {"instance_type": MACHINE}
    workers = values["workers"]
    types = {
        kind: (*WORKERS, kind)[min(n, len(WORKERS))] for n, kind in enumerate(config.worker_types)
    }
    workers["instance_types"] = [types[kind] for kind in config.workers.instance_types]
    workers["spot_share"] = 0
    workers["min_nodes"] = min(workers["min_nodes"], MOST_AT_ONCE)
    workers["headroom"] = min(workers["headroom"], 2)
    hub = values["hub"]
    hub["image"] = image
    hub["memory"] = min(hub["memory"], MOST_MEMORY)
    hub["cpu"] = min(hub["cpu"], MOST_CPU)
    hub["admins"] = hub["admins"] or [ADMIN]
    if hub["authenticator"]["kind"] not in ("native", "shared-password", "dummy"):
        # sign-in with another provider needs the internet and a registered address
        hub["authenticator"] = {
            "kind": "native",
            "allowed_users": hub["authenticator"]["allowed_users"],
        }
    for profile in hub["profiles"]:
        profile["image"] = None
        profile["instance_type"] = types.get(profile["instance_type"])
        profile["memory"] = min(profile["memory"] or MOST_MEMORY, 2 * MOST_MEMORY)
        profile["cpu"] = min(profile["cpu"] or MOST_CPU, 2 * MOST_CPU)
    return Config.model_validate(values)
