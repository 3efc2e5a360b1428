"""The workstation: brings cookbooks and roles of each release to the Chef server."""

from __future__ import annotations

import json
import logging
import shutil
import time
from dataclasses import dataclass
from typing import Any

from hubdeploy.chef.archive import unpack
from hubdeploy.chef.cookbooks import load_cookbooks, upload
from hubdeploy.chef.objects import Role as ChefRole
from hubdeploy.chef.server import ChefServer
from hubdeploy.config.names import Phase
from hubdeploy.config.settings import Settings
from hubdeploy.errors import ChefError, HubdeployError
from hubdeploy.node import client, packages, phases, release, system
from hubdeploy.node.aws import Cloud
from hubdeploy.node.chefserver import Actor
from hubdeploy.node.release import Release
from hubdeploy.node.waiting import patiently, wait_for

log = logging.getLogger(__name__)

_POLL = 10
KNIFE = "26"
"""Major version of the publisher's workstation package, for people; nothing depends on it."""


@dataclass(frozen=True, kw_only=True)
class ChefAccess:
    """How to reach the Chef server, as it published itself."""

    url: str
    instance: str
    trust: str
    """PEM."""


def chef_access(cloud: Cloud) -> ChefAccess | None:
    """None until the Chef server is ready."""
    names = cloud.machine.names.parameters
    state = cloud.parameter_json(names.chef_state)
    trust = cloud.parameter(names.chef_certificate) if state else None
    if not state or not trust:
        return None
    return ChefAccess(url=state["url"], instance=state["instance"], trust=trust)


def keep_client(cloud: Cloud) -> None:
    """Bring the nodes' Chef client into the bucket: one download for all of them.

    A publisher that does not answer is no reason to fail: the nodes then try it themselves.
    """
    if client.found() is not None:
        return  # the image brings one
    try:
        packages.fetch(cloud, packages.client(release.settings(cloud)))
    except HubdeployError as error:
        log.warning("%s %s", error, error.hint)


def wait_for_chef(cloud: Cloud) -> ChefAccess:
    """Raises WaitTimeout an hour after ``up`` would have given up."""
    seconds = release.patience(cloud, "chef_server")
    return wait_for("the Chef server", lambda: chef_access(cloud), seconds=seconds, every=3)


def roles(settings: Settings) -> list[ChefRole]:
    """The two roles, their run lists, and what every recipe reads as ``node['hubdeploy']``."""
    return [
        ChefRole(
            name=name,
            description=f"{title} of the deployment {settings['deployment']} (by hubdeploy)",
            run_list=[f"recipe[hub_{name}]"],
            default_attributes={"hubdeploy": dict(settings)},
        )
        for name, title in (("leader", "Hub leader"), ("worker", "Worker"))
    ]


def publish(cloud: Cloud) -> bool:
    """Bring the Chef server up to the release and say so; whether anything was written there.

    Raises:
        HubdeployError: artifact or server not to be had.
    """
    wanted = release.read(cloud)
    access = wait_for_chef(cloud)
    names = cloud.machine.names.parameters
    admin = Actor.decode(cloud.parameter(names.chef_admin))
    if admin is None:
        raise ChefError(
            "The Chef server has published no admin key",
            hint=f"it belongs into the parameter {names.chef_admin}",
        )
    settings = release.settings(cloud, wanted)
    _knife_config(cloud, access, admin)
    folder = cloud.machine.state("cookbooks")
    shutil.rmtree(folder, ignore_errors=True)
    body = cloud.artifact(wanted.cookbooks.key, sha256=wanted.cookbooks.sha256)
    unpack(body, folder, sha256=wanted.cookbooks.sha256)
    server = ChefServer(access.url, client=admin.name, key=admin.key, trust=access.trust)
    with server:
        # the name may not have reached this machine's resolver yet
        patiently(server.check, on=(ChefError,), seconds=180)
        uploaded = [upload(server, cookbook) for cookbook in load_cookbooks(folder)]
        changed = [server.ensure_role(role) for role in roles(settings)]
    _say(cloud, wanted, access)
    return any(changed) or any(one.changed for one in uploaded)


def _say(cloud: Cloud, wanted: Release, access: ChefAccess) -> None:
    said: dict[str, Any] = {
        "cookbooks": wanted.cookbooks.sha256,
        "settings": wanted.settings.sha256,
        "instance": cloud.machine.identity.instance_id,
    }
    name = cloud.machine.names.parameters.workstation_state
    before = cloud.parameter_json(name) or {}
    if {key: before.get(key) for key in said} != said:
        cloud.put_parameter(name, json.dumps({**said, "at": phases.now()}))
    kept = {**said, "chef": access.instance}
    system.write(cloud.machine.state("published.json"), json.dumps(kept))


def _knife_config(cloud: Cloud, access: ChefAccess, admin: Actor) -> None:
    """``knife`` of root works at once; the key is readable by root alone."""
    home = cloud.machine.path("/root/.chef")
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    system.write(home / "admin.pem", admin.key, mode=0o600)
    system.write(home / "trusted_certs/chef.crt", access.trust)
    lines = [
        "# Written by hubdeploy-node.",
        "[default]",
        f'client_name = "{admin.name}"',
        'client_key = "/root/.chef/admin.pem"',
        f'chef_server_url = "{access.url}"',
        "",
    ]
    system.write(home / "credentials", "\n".join(lines), mode=0o600)
    system.write(home / "config.rb", "trusted_certs_dir '/root/.chef/trusted_certs'\n")


def knife(cloud: Cloud) -> None:
    """Install the publisher's workstation package, which brings ``knife``.

    Raises:
        HubdeployError: not to be had.
    """
    if shutil.which("knife"):
        return
    settings = release.settings(cloud)
    paid = settings["chef_distribution"] == "chef"
    package = packages.Package(
        product="chef-workstation" if paid else "cinc-workstation",
        version=KNIFE,
        licence=settings["chef_licence_id"],
    )
    packages.install(packages.fetch(cloud, package))


def is_published(cloud: Cloud) -> bool:
    """Whether the Chef server that is there now has the release that is wanted now."""
    wanted = release.read(cloud)
    access = chef_access(cloud)
    try:
        kept = json.loads(cloud.machine.state("published.json").read_text())
    except (FileNotFoundError, ValueError):
        return False
    return bool(
        access
        and kept.get("cookbooks") == wanted.cookbooks.sha256
        and kept.get("settings") == wanted.settings.sha256
        and kept.get("chef") == access.instance
    )


def watch(cloud: Cloud) -> None:
    """Publish whenever the release or the Chef server is another, and sweep; never returns.

    A failure becomes this machine's phase, and is tried again.
    """
    from hubdeploy.node.sweeping import Sweeper

    sweeper = Sweeper(cloud)
    failed = False
    while True:
        sweeper.tick(time.monotonic())
        try:
            if not is_published(cloud):
                log.info("publishing the release")
                release.update(cloud, release.read(cloud))
                publish(cloud)
                failed = True
            if failed:
                phases.put(cloud, Phase.READY)
                failed = False
        except HubdeployError as error:
            log.warning("%s %s", error, error.hint)
            if not failed:
                _tell(cloud, error)
            failed = True
        time.sleep(_POLL)


def _tell(cloud: Cloud, error: HubdeployError) -> None:
    try:
        # not `failed`: that would mean that only a new machine can help
        phases.put(cloud, Phase.CONFIGURING, f"again in a moment, after: {error}")
    except HubdeployError as another:
        log.warning("the phase could not be written: %s", another)
