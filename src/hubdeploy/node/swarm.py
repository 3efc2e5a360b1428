"""Docker Swarm: the leader starts it, workers join it and come again when it is another.

A worker joins with availability ``drain``, so that no notebook lands on it before its image is
there. Only a manager can change that: the hub's fleet service does, once the worker's phase is
``ready`` and its address is one of the group's instances, so that a stranger who got hold of the
token is never given work.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import logging
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hubdeploy.config.names import Phase, Port, Role
from hubdeploy.errors import HubdeployError, WaitTimeout
from hubdeploy.node import cloudmap, images, phases, release, system
from hubdeploy.node.aws import Cloud
from hubdeploy.node.waiting import patiently, wait_for

log = logging.getLogger(__name__)

_SETTLE = 120.0
"""Seconds; a leader's reboot is over within one minute."""
_EVERY = {Role.LEADER: 30.0, Role.WORKER: 30.0}
"""Seconds between two looks; some hundred workers stay below SSM's 40 reads a second."""


class SwarmError(HubdeployError):
    """Docker did not do what was asked."""


def engine() -> Any:
    """This machine's Docker engine (a docker.DockerClient); waits for it to answer.

    Raises:
        SwarmError: it does not within two minutes.
    """
    import docker
    from docker.errors import DockerException

    def connect() -> Any:
        found = docker.from_env(timeout=120)
        found.ping()
        return found

    try:
        return patiently(connect, on=(DockerException, OSError), seconds=120, most=5)
    except (DockerException, OSError) as error:
        raise SwarmError(
            f"Docker does not answer: {error}", hint="systemctl status docker; journalctl -u docker"
        ) from error


@contextmanager
def _alone(cloud: Cloud) -> Iterator[None]:
    """The boot and the watching unit do the same things: one at a time."""
    file = cloud.machine.state("swarm.lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _local(docker: Any) -> dict[str, Any]:
    found: dict[str, Any] = docker.info()["Swarm"]
    return found


def upper_half(pool: str) -> str:
    """The part of Docker's addresses that is swarm's; the lower one is its bridges'."""
    return str(list(ipaddress.ip_network(pool).subnets(prefixlen_diff=1))[1])


# ----------------------------------------------------------------------------- leader


def _published(cloud: Cloud, cluster: str, token: str) -> bool:
    names = cloud.machine.names.parameters
    state = cloud.parameter_json(names.swarm_state) or {}
    me = cloud.machine.identity
    return (
        state.get("cluster") == cluster
        and state.get("address") == f"{me.private_ip}:{Port.SWARM}"
        and state.get("instance") == me.instance_id
        and cloud.parameter(names.swarm_token) == token
        and cloudmap.is_registered(cloud, "leader")
    )


def is_leading(cloud: Cloud) -> bool:
    """Whether this machine is the drained manager, and the others can know it."""
    docker = engine()
    local = _local(docker)
    if local["LocalNodeState"] != "active" or not local["ControlAvailable"]:
        return False
    if docker.nodes.get(local["NodeID"]).attrs["Spec"]["Availability"] != "drain":
        return False
    swarm = docker.swarm.attrs or _reload(docker)
    return _published(cloud, swarm["ID"], swarm["JoinTokens"]["Worker"])


def _reload(docker: Any) -> dict[str, Any]:
    docker.swarm.reload()
    attrs: dict[str, Any] = docker.swarm.attrs
    return attrs


def lead(cloud: Cloud) -> bool:
    """Be the swarm's manager, drained, and publish token, address and name; whether it was new.

    Raises:
        SwarmError: this machine is a worker of a swarm, or Docker refuses.
    """
    with _alone(cloud):
        return _lead(cloud)


def _lead(cloud: Cloud) -> bool:
    from docker.errors import APIError

    docker = engine()
    me = cloud.machine.identity
    settings = release.settings(cloud)
    changed = False
    local = _local(docker)
    try:
        if local["LocalNodeState"] == "active" and not local["ControlAvailable"]:
            raise SwarmError(
                "This machine is a worker of another swarm",
                hint="hubdeploy-node swarm leave, then again",
            )
        if local["LocalNodeState"] != "active":
            docker.swarm.init(
                advertise_addr=f"{me.private_ip}:{Port.SWARM}",
                listen_addr=f"{me.private_ip}:{Port.SWARM}",
                default_addr_pool=[upper_half(settings["docker_pool"])],
                subnet_size=24,
                task_history_retention_limit=2,
            )
            log.info("swarm started")
            changed = True
        node = docker.nodes.get(_local(docker)["NodeID"])
        spec = node.attrs["Spec"]
        if spec["Availability"] != "drain":
            node.update({**spec, "Availability": "drain"})
            changed = True
        swarm = _reload(docker)
    except APIError as error:
        raise SwarmError(f"Docker refused: {error.explanation or error}") from error
    return _tell(cloud, swarm["ID"], swarm["JoinTokens"]["Worker"]) or changed


def _tell(cloud: Cloud, cluster: str, token: str) -> bool:
    names = cloud.machine.names.parameters
    me = cloud.machine.identity
    changed = cloudmap.register(cloud, "leader")
    if cloud.parameter(names.swarm_token) != token:
        cloud.put_parameter(names.swarm_token, token, secret=True)
        changed = True
    said = {
        "cluster": cluster,
        "address": f"{me.private_ip}:{Port.SWARM}",
        "instance": me.instance_id,
    }
    state = cloud.parameter_json(names.swarm_state) or {}
    # last: who sees it finds the token in place
    if {key: state.get(key) for key in said} != said:
        cloud.put_parameter(names.swarm_state, json.dumps({**said, "at": phases.now()}))
        changed = True
    return changed


# ------------------------------------------------------------------------------ worker


def _remembered(cloud: Cloud) -> dict[str, Any]:
    try:
        data = json.loads(cloud.machine.state("swarm.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _is_member(cloud: Cloud, docker: Any, cluster: str) -> bool:
    """A worker is not told its cluster's id by Docker: what it noted when it joined counts."""
    kept = _remembered(cloud)
    if kept.get("cluster") != cluster:
        return False
    local = _settled(docker)
    return bool(local["LocalNodeState"] == "active" and kept.get("node") == local["NodeID"])


def _settled(docker: Any) -> dict[str, Any]:
    """After a start the engine looks for its manager for a while: whoever took that for the end of
    the membership would join as another node, without labels and drained."""

    def found() -> dict[str, Any] | None:
        local = _local(docker)
        return None if local["LocalNodeState"] == "pending" else local

    try:
        return wait_for("the manager of this machine's swarm", found, seconds=_SETTLE, every=1)
    except WaitTimeout:
        return _local(docker)


def is_joined(cloud: Cloud) -> bool:
    """Whether this worker is in the leader's present swarm and has the notebook images."""
    state = cloud.parameter_json(cloud.machine.names.parameters.swarm_state)
    if state is None:
        return False
    docker = engine()
    return _is_member(cloud, docker, state["cluster"]) and not images.missing(
        docker, release.settings(cloud)
    )


def join(cloud: Cloud) -> bool:
    """Join the leader's swarm, drained, and have the notebook images; whether it was new.

    Raises:
        WaitTimeout: no leader has published a swarm.
        SwarmError: Docker refuses.
    """
    names = cloud.machine.names.parameters
    state = wait_for(
        "the leader's swarm",
        lambda: cloud.parameter_json(names.swarm_state),
        seconds=release.patience(cloud, "chef_server", "workstation", "leader"),
        every=3,
    )
    with _alone(cloud):
        return _be_member(cloud, state)


def _be_member(cloud: Cloud, state: dict[str, Any]) -> bool:
    docker = engine()
    changed = False
    if not _is_member(cloud, docker, state["cluster"]):
        _join(cloud, docker)
        changed = True
    settings = release.settings(cloud)
    missing = images.missing(docker, settings)
    for image in missing:
        images.pull(image)
    return changed or bool(missing)


def _join(cloud: Cloud, docker: Any) -> None:
    """Join what is published now; looked at anew before every attempt, for the leader may be being
    rebuilt just then."""
    from docker.errors import APIError

    names = cloud.machine.names.parameters
    me = cloud.machine.identity
    address = "?"

    def once() -> dict[str, Any]:
        nonlocal address
        state = cloud.parameter_json(names.swarm_state)
        token = cloud.parameter(names.swarm_token)
        if state is None or token is None:
            raise SwarmError(
                "The leader has published no join token",
                hint=f"it belongs into the parameter {names.swarm_token}",
            )
        address = state["address"]
        if _local(docker)["LocalNodeState"] != "inactive":
            log.info("leaving the swarm that is gone")
            docker.swarm.leave(force=True)
        body = {
            "RemoteAddrs": [address],
            "ListenAddr": f"{me.private_ip}:{Port.SWARM}",
            "AdvertiseAddr": me.private_ip,
            "JoinToken": token,
            # the Python library's own method has no word for it
            "Availability": "drain",
        }
        answer = docker.api.post(docker.api._url("/swarm/join"), json=body, timeout=120)
        docker.api._raise_for_status(answer)
        return state

    try:
        joined = patiently(once, on=(APIError, OSError), seconds=600)
    except (APIError, OSError) as error:
        why = getattr(error, "explanation", None) or error
        raise SwarmError(
            f"The swarm at {address} could not be joined: {why}",
            hint=f"may the workers reach the leader's port {Port.SWARM}?",
        ) from error
    kept = {"cluster": joined["cluster"], "node": _local(docker)["NodeID"], "at": phases.now()}
    system.write(cloud.machine.state("swarm.json"), json.dumps(kept))
    log.info("joined the swarm at %s", address)


def leave(cloud: Cloud) -> None:
    """Leave the swarm, if in one. Not for the leader: its swarm would be gone."""
    if cloud.machine.role is Role.LEADER:
        raise SwarmError("The leader does not leave: the swarm would end with it")
    docker = engine()
    if _local(docker)["LocalNodeState"] != "inactive":
        docker.swarm.leave(force=True)
    cloud.machine.state("swarm.json").unlink(missing_ok=True)


def drain(node: str) -> None:
    """On the manager, by hand: no new servers there, running ones are moved away.

    Raises:
        SwarmError: no such node.
    """
    from docker.errors import APIError

    try:
        found = engine().nodes.get(node)
        found.update({**found.attrs["Spec"], "Availability": "drain"})
    except APIError as error:
        raise SwarmError(f"Docker refused: {error.explanation or error}") from error


# ------------------------------------------------------------------------------- watch


def watch(cloud: Cloud) -> None:
    """Keep it so, whatever is rebuilt; never returns.

    The leader publishes again what changed; a worker joins anew when the leader was rebuilt.
    """
    role = cloud.machine.role
    while True:
        try:
            if role is Role.LEADER:
                if not is_leading(cloud):
                    lead(cloud)
            elif not is_joined(cloud):
                join_again(cloud)
        except HubdeployError as error:
            log.warning("%s %s", error, error.hint)
        time.sleep(_EVERY[role] * random.uniform(0.8, 1.2))


def join_again(cloud: Cloud) -> None:
    """Outside of the boot the phase is said here: ``ready`` is what makes the fleet activate it.

    A failure is tried again at the next look, and until then the phase says why.
    """
    if phases.current(cloud) not in (Phase.READY, Phase.JOINING):
        join(cloud)
        return
    phases.put(cloud, Phase.JOINING, "swarm")
    try:
        join(cloud)
    except HubdeployError as error:
        log.warning("%s", error)
        phases.put(cloud, Phase.JOINING, f"swarm: again in a moment, after: {error}")
        raise
    phases.put(cloud, Phase.READY)
