"""Waits for the machines: each ends when its part works, or at once when it cannot any more."""

from __future__ import annotations

import time
from abc import abstractmethod
from functools import partial
from typing import Any, ClassVar

from hubdeploy.config.names import TAG_ROLE, Phase, Role
from hubdeploy.errors import HubdeployError
from hubdeploy.pipeline.change import Changes, FieldChange
from hubdeploy.remote.channel import Target
from hubdeploy.remote.ssm import SsmChannel
from hubdeploy.steps import instances, parameters, wording
from hubdeploy.steps.base import Part, pairs
from hubdeploy.steps.group import RESOURCE as WORKERS
from hubdeploy.steps.machine import TAG_RELEASE, release_mark
from hubdeploy.steps.watch import Sight, Watch, check, label, scaling_failure

CONVERGE = "/opt/hubdeploy/venv/bin/hubdeploy-node converge"
LOOKED_AT = 10
"""Workers whose phase a finished deployment's check reads: as many as one call takes."""


class Wait(Part[Sight]):
    """Waits for one machine; what was true at the start of the run need not be waited for."""

    role: ClassVar[Role]

    def observe(self) -> Sight:
        """From the parameters that were read anyway."""
        found = parameters.read(self)
        return Sight(states={name: parameters.parsed(value) for name, value in found.items()})

    def changes(self, observed: Sight) -> Changes:
        instance = self.outputs[f"instance.{self.role}"]
        if not self.done(observed, instance):
            yield self.waiting(
                f"instance.{self.role}", self.title.lower(), partial(self._wait, instance)
            )

    @abstractmethod
    def done(self, sight: Sight, instance: str) -> bool: ...

    @property
    @abstractmethod
    def deadline(self) -> float:
        """Seconds, the waits that come before included: all begin at the launch."""

    def _wait(self, instance: str) -> bool:
        watch, seen = Watch.of(self), [""]

        def probe() -> bool | None:
            sight = watch.look()
            check(sight, self.role, instance)
            seen[0] = label(sight.phases.get(instance, {}))
            self.ctx.say(f"{self.role}: {seen[0]}")
            return True if self.done(sight, instance) else None

        return self.until(
            probe,
            what=f"{self.role} {instance} ({self.title.lower()})",
            deadline=self.deadline,
            last_seen=lambda: seen[0],
        )

    def state(self, sight: Sight, name: str) -> dict[str, Any]:
        return sight.states.get(name, {})


class ChefReady(Wait):
    name = "wait.chef-server"
    title = "Chef server ready"
    needs = ("machine.chef-server",)
    role = Role.CHEF

    @property
    def deadline(self) -> float:
        return self.config.waits.chef_server

    def done(self, sight: Sight, instance: str) -> bool:
        return self.state(sight, self.names.parameters.chef_state).get("instance") == instance


class Published(Wait):
    name = "wait.workstation"
    title = "Cookbooks and roles published"
    needs = ("machine.workstation", "release")
    role = Role.WORKSTATION

    @property
    def deadline(self) -> float:
        return self.config.waits.chef_server + self.config.waits.workstation

    def done(self, sight: Sight, instance: str) -> bool:
        release = self.outputs["release"]
        state = self.state(sight, self.names.parameters.workstation_state)
        return state.get("instance") == instance and all(
            state.get(name) == release[name]["sha256"] for name in ("cookbooks", "settings")
        )


class LeaderReady(Wait):
    """The leader has converged, its swarm is up, and the hub answers through nginx."""

    name = "wait.leader"
    title = "Leader converged"
    needs = ("machine.leader", "leader.attach")
    role = Role.LEADER

    @property
    def deadline(self) -> float:
        waits = self.config.waits
        return waits.chef_server + waits.workstation + waits.leader

    def done(self, sight: Sight, instance: str) -> bool:
        return self.state(sight, self.names.parameters.swarm_state).get("instance") == instance


class HubAnswers(Wait):
    name = "wait.hub"
    title = "Hub answers"
    needs = ("wait.leader", "dns.record")
    role = Role.LEADER

    @property
    def deadline(self) -> float:
        return self.config.waits.hub

    def done(self, sight: Sight, instance: str) -> bool:
        return self.state(sight, self.names.parameters.hub_state).get("instance") == instance


class WorkersReady(Part[dict[str, Any]]):
    """As many workers as there are to be at least; launch errors end the wait at once."""

    name = "wait.workers"
    title = "Workers ready"
    needs = ("workers.group", "wait.leader")

    def observe(self) -> dict[str, Any]:
        """Instance ids of the workers, oldest first, and the phases of the first few."""
        workers = list(reversed(instances.alive(self, Role.WORKER)))
        ids = [item["InstanceId"] for item in workers[:LOOKED_AT]]
        names = [self.names.parameters.phase(Role.WORKER, item) for item in ids]
        found = self.call("ssm", "get_parameters", Names=names)["Parameters"] if names else []
        return {item["Name"].rpartition("/")[2]: parameters.parsed(item["Value"]) for item in found}

    def changes(self, observed: dict[str, Any]) -> Changes:
        least = self.config.workers.min_nodes
        if _ready(observed) < min(least, LOOKED_AT):
            yield self.waiting(WORKERS, f"{least} workers", partial(self._wait, least))

    def _wait(self, least: int) -> int:
        watch, began, seen = Watch.of(self), time.time(), [""]

        def probe() -> int | None:
            sight = watch.look()
            mine = {
                key: item
                for key, item in sight.instances.items()
                if any(
                    tag["Key"] == TAG_ROLE and tag["Value"] == Role.WORKER
                    for tag in item.get("Tags", [])
                )
                and item["State"]["Name"] in instances.ALIVE
            }
            phases = {key: sight.phases.get(key, {}) for key in mine}
            ready = _ready(phases)
            seen[0] = f"{ready} of {least} ready" + "".join(
                f", {key} {label(phase)}"
                for key, phase in list(phases.items())[:3]
                if phase.get("phase") != Phase.READY
            )
            self.ctx.say(f"workers: {seen[0]}")
            if ready >= least:
                return ready
            for key in phases:
                check(sight, Role.WORKER, key)
            if len(mine) < least:
                failure = scaling_failure(self, since=began - 600)
                if failure is not None:
                    raise failure
            return None

        return self.until(
            probe,
            what=f"{least} workers",
            deadline=self.config.workers.join_deadline + self.config.waits.leader,
            last_seen=lambda: seen[0],
        )


def _ready(phases: dict[str, dict[str, Any]]) -> int:
    return sum(phase.get("phase") in (Phase.READY, Phase.DRAINING) for phase in phases.values())


class Converge(Part[str]):
    """A changed release reaches machines that stand: they converge now, not in half an hour.

    Which release the leader was last told to converge is a tag of the leader, so that a run that
    was killed in between is made good by the next.
    """

    name = "converge"
    title = "Converge"
    needs = ("wait.workstation", "wait.hub")

    def observe(self) -> str:
        for leader in instances.alive(self, Role.LEADER)[:1]:
            tags = {tag["Key"]: tag["Value"] for tag in leader.get("Tags", [])}
            return f"{leader['InstanceId']} {tags.get(TAG_RELEASE, '')}"
        return ""

    def changes(self, observed: str) -> Changes:
        instance, _, old = observed.partition(" ")
        wanted = release_mark(self.outputs["release"])
        # one that this very run launched begins with the new release
        if instance and instance == self.outputs["instance.leader"] and old != wanted:
            yield self.update(
                "converge",
                "leader and workers converge the new release",
                partial(self._converge, instance, wanted),
                (FieldChange(name="release", old=wording.mark(old), new=wording.mark(wanted)),),
            )

    def _converge(self, leader: str, wanted: str) -> None:
        channel = SsmChannel(aws=self.ctx.aws, bucket=self.names.bucket)
        first = Target(instance_id=leader, label=Role.LEADER)
        others = [
            Target(instance_id=item["InstanceId"], label=f"worker {item['InstanceId']}")
            for item in instances.alive(self, Role.WORKER)
            if item["State"]["Name"] == "running"
        ]
        self.ctx.say(f"waiting for {1 + len(others)} machines to converge")
        results = channel.run([first, *others], CONVERGE, deadline=self.config.waits.leader)
        for result in results:
            # a worker may end meanwhile, and converges by its timer; the leader has to
            if result.target == first and not result.ok:
                tail = (result.stderr or result.stdout).strip().splitlines()
                why = result.problem or (tail[-1] if tail else f"exit code {result.code}")
                raise HubdeployError(
                    f"leader {leader} could not converge: {why}",
                    hint="hubdeploy logs leader --unit converge; then run `hubdeploy up` again",
                )
        self.settle("ec2", "create_tags", Resources=[leader], Tags=pairs({TAG_RELEASE: wanted}))
