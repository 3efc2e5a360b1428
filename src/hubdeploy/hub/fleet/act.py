"""Carries actions out. What one of them cannot do is noted; the others are done all the same.

Every action may be repeated: a fleet service that was killed half-way does the same again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from hubdeploy.config.names import (
    LABEL_INSTANCE,
    LABEL_LAUNCHED,
    LABEL_TYPE,
    LABEL_ZONE,
    Names,
    Role,
)
from hubdeploy.errors import HubdeployError
from hubdeploy.hub.fleet.cloud import Cloud
from hubdeploy.hub.fleet.model import (
    LABEL_FLEET,
    Action,
    Activate,
    Cordon,
    Drain,
    ForgetChefNode,
    ForgetSwarmNode,
    Life,
    Observation,
    SetDesired,
    SetMaxSize,
    TellUsers,
    Terminate,
    Unprotect,
    Worker,
)
from hubdeploy.hub.fleet.observe import mark
from hubdeploy.hub.fleet.swarm import Json, Swarm

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 10.0, 300.0
"""Seconds before something that failed is tried again; doubled each time."""

ForgetChef = Callable[[str], str]
"""Given a Chef node's name, deletes node and client; answers how it went, for the history."""
Tell = Callable[[str, float], None]
"""Given a user and the time (epoch) until which the machine lasts, warns them."""
Keep = Callable[[str, str], None]
"""Given an instance and the tail of its console, keeps that for a look."""

SPOT_NOTICE = 120.0
"""Seconds between AWS's notice and the end of the machine."""
ENDING_SHOWS = 90.0


@dataclass(frozen=True, kw_only=True)
class Done:
    """An action and how it went; ``outcome`` is empty for 'as wanted'."""

    action: Action
    ok: bool = True
    outcome: str = ""


class Hands:
    """The only part that changes anything outside."""

    def __init__(
        self,
        *,
        names: Names,
        cloud: Cloud,
        swarm: Swarm,
        forget_chef: ForgetChef,
        tell: Tell,
        keep: Keep,
    ) -> None:
        self.names = names
        self.cloud = cloud
        self.swarm = swarm
        self._forget_chef = forget_chef
        self._tell = tell
        self._keep = keep
        self._again: dict[tuple[type, str], tuple[float, float]] = {}

    def do(
        self, actions: Iterable[Action], seen: Observation, *, at_once: bool = False
    ) -> list[Done]:
        """Carry out *actions*; those that failed lately wait for their next turn, unless
        *at_once*."""
        workers = {worker.instance: worker for worker in seen.workers if worker.instance}
        done: list[Done] = []
        stuck: set[str] = set()
        for action in actions:
            key = (type(action), action.subject)
            wait_until, pause = self._again.get(key, (0.0, 0.0))
            if not at_once and (action.subject in stuck or seen.now < wait_until):
                # the steps of one machine's end are in order: none is skipped
                stuck.add(getattr(action, "instance", "") or "-")
                continue
            try:
                outcome = self._one(action, workers.get(action.subject), seen.now)
            except HubdeployError as error:
                log.warning("%s of %s failed: %s", type(action).__name__, action.subject, error)
                stuck.add(getattr(action, "instance", "") or "-")
                pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, 2 * pause))
                self._again[key] = (seen.now + pause, pause)
                done.append(Done(action=action, ok=False, outcome=error.message))
                continue
            if isinstance(action, Terminate):
                # AWS may show it as in service for a while yet: a second call would decrement again
                self._again[key] = (seen.now + ENDING_SHOWS, 0.0)
            else:
                self._again.pop(key, None)
            done.append(Done(action=action, outcome=outcome))
        return done

    def _one(self, action: Action, worker: Worker | None, now: float) -> str:
        match action:
            case SetDesired():
                self.cloud.set_desired(action.group, action.desired)
            case SetMaxSize():
                self.cloud.set_max_size(action.group, action.max_size)
            case Activate():
                self._activate(action, worker)
            case Cordon():
                self._mark(action.node, "pause", mark(action.why, now))
            case Drain():
                self._mark(action.node, "drain", mark(action.why, now))
            case Unprotect():
                self.cloud.protect(action.group, action.instance, protected=False)
            case Terminate():
                if action.failed:
                    self._keep_console(action.instance)
                self.cloud.terminate(action.instance, decrement=action.decrement)
            case ForgetSwarmNode():
                self.swarm.remove(action.node)
            case ForgetChefNode():
                self.cloud.forget_parameters(action.instance)
                return self._forget_chef(self.names.node(Role.WORKER, action.instance))
            case TellUsers():
                for user in action.users:
                    self._tell(user, action.until or now + SPOT_NOTICE)
        return ""

    def _activate(self, action: Activate, worker: Worker | None) -> None:
        if worker is not None and not worker.protected and worker.in_group and worker.group:
            self.cloud.protect(worker.group, worker.instance, protected=True)

        def change(spec: Json) -> None:
            spec["Availability"] = "active"
            spec["Labels"].pop(LABEL_FLEET, None)
            if worker is not None:
                spec["Labels"].update(labels(worker))

        self.swarm.update(action.node, change)

    def _mark(self, node: str, availability: str, text: str) -> None:
        def change(spec: Json) -> None:
            spec["Availability"] = availability
            spec["Labels"][LABEL_FLEET] = text

        self.swarm.update(node, change)

    def label(self, workers: Iterable[Worker]) -> None:
        """Put the labels that placement goes by on nodes that somebody else let in."""
        for worker in workers:
            if worker.instance and worker.node and worker.life is Life.ACTIVE:
                wanted = labels(worker)

                def change(spec: Json, wanted: dict[str, str] = wanted) -> None:
                    spec["Labels"].update(wanted)

                self.swarm.update(worker.node, change)

    def _keep_console(self, instance: str) -> None:
        try:
            self._keep(instance, self.cloud.console_output(instance))
        except (HubdeployError, OSError) as error:
            # a missing console must not keep a broken machine alive
            log.warning("no console of %s could be kept: %s", instance, error)


def labels(worker: Worker) -> dict[str, str]:
    """The node labels of a worker."""
    launched = datetime.fromtimestamp(worker.launched, tz=UTC).isoformat(timespec="seconds")
    return {
        LABEL_INSTANCE: worker.instance,
        LABEL_TYPE: worker.instance_type,
        LABEL_ZONE: worker.zone,
        LABEL_LAUNCHED: launched,
    }
