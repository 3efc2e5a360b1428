"""Leader and workers as Chef nodes: the client's package, registration, leaving."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass, replace

from hubdeploy.chef import runlist, signing
from hubdeploy.chef.failures import ChefConflict, ChefNotFound, ChefRefused
from hubdeploy.chef.objects import Node
from hubdeploy.chef.server import ChefServer
from hubdeploy.chef.transport import Transport
from hubdeploy.errors import ChefError, HubdeployError
from hubdeploy.node import packages, release, system
from hubdeploy.node.aws import Cloud
from hubdeploy.node.waiting import patiently, wait_for

log = logging.getLogger(__name__)

FOLDER = "/etc/cinc"
CONFIG = f"{FOLDER}/client.rb"
_ANSWER = 15.0
"""Seconds in which a Chef server that works answers."""


@dataclass(frozen=True, kw_only=True)
class Converger:
    """What converges this machine: a program and how it is called."""

    name: str
    program: str

    @property
    def command(self) -> list[str]:
        return [self.program, "--once", "-c", CONFIG]


def found() -> Converger | None:
    """The Chef client of this machine, or the adapter where an image brings only that."""
    for name in ("cinc-client", "chef-client", "hubdeploy-converge"):
        program = shutil.which(name)
        if program:
            return Converger(name=name, program=program)
    return None


def install(cloud: Cloud) -> None:
    """Have a client; the pinned package where there is none.

    Raises:
        HubdeployError: it cannot be had or installed.
    """
    if found() is not None:
        return
    settings = release.settings(cloud)
    packages.install(packages.fetch(cloud, packages.client(settings)))
    if found() is None:
        raise HubdeployError(
            "The Chef client's package brought neither cinc-client nor chef-client",
            hint="look at chef.client_version in hubdeploy.toml",
        )


def wait_for_workstation(cloud: Cloud) -> None:
    """Until the Chef server has this release's cookbooks and settings.

    Raises:
        WaitTimeout: it took too long.
    """
    name = cloud.machine.names.parameters.workstation_state
    last = "nothing published yet"

    def published() -> bool:
        nonlocal last
        state = cloud.parameter_json(name)
        if state is None:
            return False
        wanted = release.read(cloud)
        if state.get("cookbooks") != wanted.cookbooks.sha256:
            last = "other cookbooks than the release's"
            return False
        if state.get("settings") != wanted.settings.sha256:
            last = "other settings than the release's"
            return False
        return True

    wait_for(
        "the workstation's cookbooks and roles",
        published,
        seconds=release.patience(cloud, "chef_server", "workstation"),
        every=3,
        seen=lambda: last,
    )


def wait_for_chef(cloud: Cloud) -> None:
    """Until the Chef server that is published by then answers.

    It may be down or being rebuilt for a while; a machine that boots meanwhile waits and says so,
    instead of failing and being replaced by another one that fails.

    Raises:
        WaitTimeout: it took too long.
    """
    names = cloud.machine.names.parameters
    last = "it has published nothing"

    def answers() -> bool:
        nonlocal last
        state = cloud.parameter_json(names.chef_state)
        trust = cloud.parameter(names.chef_certificate) if state else None
        if not state or not trust:
            return False
        try:
            server = Transport(state["url"], trust=trust, timeout=_ANSWER)
            # unsigned: any word of the server itself, a refusal too, says that it works
            answer = server.send("GET", f"{server.url}/nodes", headers={})
            server.close()
        except ChefError as error:
            last = error.message
            return False
        last = f"it answered {answer.status}"
        return answer.status < 500

    seconds = release.patience(cloud, "chef_server")
    wait_for("the Chef server", answers, seconds=seconds, every=3, seen=lambda: last)


# ------------------------------------------------------------------------- registration


def _config(cloud: Cloud, url: str, *, licence: bool) -> str:
    lines = [
        "# Written by hubdeploy-node.",
        f"chef_server_url '{url}'",
        f"node_name '{cloud.machine.node_name}'",
        f"client_key '{FOLDER}/client.pem'",
        f"trusted_certs_dir '{FOLDER}/trusted_certs'",
        "ssl_verify_mode :verify_peer",
        "log_location STDOUT",
        "force_formatter true",
        *(["chef_license 'accept-no-persist'"] if licence else []),
        "",
    ]
    return "\n".join(lines)


def _files(cloud: Cloud) -> str:
    """Configuration and trust as the Chef server publishes them now; its URL."""
    names = cloud.machine.names.parameters
    state = wait_for("the Chef server", lambda: cloud.parameter_json(names.chef_state), seconds=600)
    trust = cloud.parameter(names.chef_certificate)
    if trust is None:
        raise ChefError(
            "The Chef server's certificate is not published",
            hint=f"it belongs into the parameter {names.chef_certificate}",
        )
    url = str(state["url"])
    folder = cloud.machine.path(FOLDER)
    licence = release.settings(cloud)["chef_distribution"] == "chef"
    system.write(folder / "trusted_certs/chef.crt", trust)
    system.write(cloud.machine.path(CONFIG), _config(cloud, url, licence=licence))
    return url


def connect(cloud: Cloud, url: str) -> ChefServer:
    """As this node, with its own key."""
    folder = cloud.machine.path(FOLDER)
    return ChefServer(
        url,
        client=cloud.machine.node_name,
        key=folder / "client.pem",
        trust=folder / "trusted_certs/chef.crt",
    )


def _known(cloud: Cloud, url: str) -> bool:
    """Whether the server accepts this node's key."""
    if not cloud.machine.path(f"{FOLDER}/client.pem").is_file():
        return False

    def ask() -> bool:
        with connect(cloud, url) as server:
            try:
                server.request("GET", f"/nodes/{cloud.machine.node_name}")
            except ChefNotFound:
                return True
            except ChefRefused as error:
                if error.status in (401, 403):
                    return False
                raise
        return True

    return patiently(ask, on=(ChefError,), seconds=180)


def _become_known(cloud: Cloud, url: str) -> None:
    """Register with the validator's key, which stays in memory.

    This node's own key is on disk before the server hears of it: a crash in between is harmless.
    """
    names = cloud.machine.names.parameters
    folder = cloud.machine.path(FOLDER)
    secret = cloud.parameter(names.chef_validator)
    try:
        validator = json.loads(secret or "")
        name, key = validator["name"], validator["key"]
    except (ValueError, KeyError):
        raise ChefError(
            "The validator's key is not published",
            hint=f"the Chef server writes it to {names.chef_validator}",
        ) from None
    own = signing.new_key()
    system.write(folder / "client.pem", signing.private_pem(own), mode=0o600)
    trust = folder / "trusted_certs/chef.crt"
    with ChefServer(url, client=name, key=key, trust=trust) as server:
        try:
            server.create_client(cloud.machine.node_name, key=own)
        except ChefConflict:
            (folder / "client.pem").unlink()
            raise


def is_registered(cloud: Cloud) -> bool:
    """Whether the Chef server has this node and accepts its key."""
    state = cloud.parameter_json(cloud.machine.names.parameters.chef_state)
    if state is None or not cloud.machine.path(CONFIG).is_file():
        return False
    url = str(state["url"])
    if f"chef_server_url '{url}'" not in cloud.machine.path(CONFIG).read_text():
        return False
    if not _known(cloud, url):
        return False
    with connect(cloud, url) as server:
        return _role(cloud) in _run_list(server, cloud.machine.node_name)


def _role(cloud: Cloud) -> str:
    return f"role[{cloud.machine.role.value}]"


def _run_list(server: ChefServer, name: str) -> list[str]:
    try:
        return server.node(name).run_list
    except ChefNotFound:
        return []


def facts(cloud: Cloud) -> dict[str, str]:
    """``node['hubdeploy']['machine']``: what EC2 says of this machine.

    The engine gets each as a label, ``hubdeploy.instance`` and so on.
    """
    me = cloud.machine.identity
    return {"instance": me.instance_id, "type": me.instance_type, "zone": me.zone}


def register(cloud: Cloud) -> bool:
    """Be a node of the Chef server that is there now; whether anything had to be done.

    The node has its run list and, as a normal attribute, what EC2 says of it (:func:`facts`).
    After the Chef server was rebuilt without its data, the node registers anew.

    Raises:
        ChefConflict: a left-over client of this name blocks it.
        ChefError: the server cannot be reached or refuses.
    """
    url = _files(cloud)
    changed = False
    if not _known(cloud, url):
        _become_known(cloud, url)
        changed = True
    name = cloud.machine.node_name
    with connect(cloud, url) as server:
        try:
            node = server.node(name)
        except ChefNotFound:
            node = Node(name=name)
        role = _role(cloud)
        wanted = replace(
            node,
            run_list=node.run_list if role in node.run_list else [role, *node.run_list],
            normal=runlist.deep_merge(node.normal, {"hubdeploy": {"machine": facts(cloud)}}),
        )
        if wanted != node:
            server.save_node(wanted)
            changed = True
    return changed


def forget(cloud: Cloud) -> None:
    """Remove this machine's node and client from the Chef server, by its own key."""
    state = cloud.parameter_json(cloud.machine.names.parameters.chef_state)
    if state is None or not cloud.machine.path(f"{FOLDER}/client.pem").is_file():
        return
    with connect(cloud, str(state["url"])) as server:
        gone = server.forget(cloud.machine.node_name)
    log.info("removed from the Chef server: node %s, client %s", gone.node, gone.client)
