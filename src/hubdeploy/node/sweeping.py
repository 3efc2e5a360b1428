"""Chef nodes and clients whose machine is gone: deleted by the workstation, which has the key.

A machine that shuts down removes itself; one that died cannot, and a left-over client blocks the
next registration under its name (chef/chef#4391).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping

from hubdeploy.chef.server import ChefServer
from hubdeploy.config.names import Role
from hubdeploy.errors import HubdeployError
from hubdeploy.node import workstation
from hubdeploy.node.aws import Cloud
from hubdeploy.node.chefserver import Actor

log = logging.getLogger(__name__)

ENDED = ("shutting-down", "terminated")
_AT_ONCE = 200
"""Values that a filter of DescribeInstances takes."""


def machines_of(deployment: str, names: Collection[str]) -> dict[str, str]:
    """Of nodes' and clients' names, those that are machines of ours: name -> instance id."""
    roles = "|".join((Role.LEADER, Role.WORKER))
    pattern = re.compile(rf"{re.escape(deployment)}-(?:{roles})-(i-[0-9a-f]+)")
    found = ((name, pattern.fullmatch(name)) for name in names)
    return {name: match[1] for name, match in found if match}


def orphans(
    machines: Mapping[str, str], states: Mapping[str, str], *, missed: Collection[str]
) -> tuple[list[str], set[str]]:
    """Names to delete now, and instances that EC2 did not show this time.

    EC2 may not show an instance for a moment, so that one that is not there counts as gone only
    if it was ``missed`` the time before as well.
    """
    absent = {ident for ident in machines.values() if ident not in states}
    gone = [
        name
        for name, ident in machines.items()
        if states.get(ident) in ENDED or (ident in absent and ident in missed)
    ]
    return sorted(gone), absent


def _states(cloud: Cloud, instances: Collection[str]) -> dict[str, str]:
    wanted = sorted(set(instances))
    found: dict[str, str] = {}
    for start in range(0, len(wanted), _AT_ONCE):
        # a filter, because an id that is unknown would be an error
        filters = [{"Name": "instance-id", "Values": wanted[start : start + _AT_ONCE]}]
        token: dict[str, str] = {}
        while True:
            answer = cloud.call("ec2", "describe_instances", Filters=filters, **token)
            for reservation in answer["Reservations"]:
                for one in reservation["Instances"]:
                    found[one["InstanceId"]] = one["State"]["Name"]
            if not answer.get("NextToken"):
                break
            token = {"NextToken": answer["NextToken"]}
    return found


def sweep(cloud: Cloud, *, missed: Collection[str] = ()) -> set[str]:
    """Delete nodes and clients of machines that are gone; the instances missed this time.

    Raises:
        HubdeployError: AWS or the Chef server did not answer.
    """
    access = workstation.chef_access(cloud)
    admin = Actor.decode(cloud.parameter(cloud.machine.names.parameters.chef_admin))
    if access is None or admin is None:
        return set(missed)
    with ChefServer(access.url, client=admin.name, key=admin.key, trust=access.trust) as server:
        known = {*server.nodes(), *server.clients()}
        machines = machines_of(cloud.machine.deployment, known)
        me = cloud.machine.identity.instance_id
        states = _states(cloud, [me, *machines.values()])
        if me not in states:
            log.warning("EC2 does not show this very machine: nothing is concluded from it")
            return set()
        gone, absent = orphans(machines, states, missed=missed)
        for name in gone:
            server.forget(name)
            log.info("%s is gone: removed from the Chef server", name)
    return absent


class Sweeper:
    """Sweeps every so many seconds; what fails is logged and tried the next time."""

    def __init__(self, cloud: Cloud, *, every: float = 60.0) -> None:
        self._cloud = cloud
        self._every = every
        self._next = 0.0
        self._missed: set[str] = set()

    def tick(self, now: float) -> None:
        """Called often; ``now`` as of ``time.monotonic``."""
        if now < self._next:
            return
        self._next = now + self._every
        try:
            self._missed = sweep(self._cloud, missed=self._missed)
        except HubdeployError as error:
            log.warning("sweep: %s", error)
