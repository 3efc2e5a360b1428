"""The life of one worker after it was launched: admitted, cordoned, drained, ended, forgotten.

Pure. Each rule looks at where the worker stands now and names the next step only, so that a fleet
service that was killed between two steps goes on from there. The order of ending is cordon, check
again, drain, unprotect, terminate with decrement, wait for Down, remove from the swarm, delete the
Chef node and client: swarm never forgets a Down node by itself (moby/moby#46382), a left-over Chef
client blocks the next registration under its name (chef/chef#4391), and a machine that never joined
would bill for ever (ITISFoundation/osparc-simcore#6141).
"""

from __future__ import annotations

from collections.abc import Iterator

from hubdeploy.config.limits import Limits
from hubdeploy.hub.fleet.capacity import COMING
from hubdeploy.hub.fleet.model import (
    Action,
    Activate,
    Alarm,
    Cordon,
    Drain,
    ForgetChefNode,
    ForgetSwarmNode,
    Group,
    Life,
    Observation,
    Policy,
    TellUsers,
    Terminate,
    Unprotect,
    Why,
    Worker,
)

WORDS = {
    Why.SURPLUS: "it is surplus",
    Why.OPERATOR: "an admin asked for it",
    Why.LIMIT: "the fleet is above its limit",
    Why.OUTDATED: "a newer kind of machine replaces it",
    Why.SPOT: "its spot instance is being taken back",
}


def in_use(worker: Worker) -> bool:
    return bool(worker.users) or worker.memory_reserved > 0 or worker.cpu_reserved > 0


def _untold(worker: Worker) -> tuple[str, ...]:
    """Who does not know yet that AWS takes it back: a server may come just before the cordon."""
    return tuple(user for user in worker.users if user not in worker.told)


class Lives:
    """Next steps of all workers. ``desired`` is what each group has after the steps so far."""

    def __init__(self, observation: Observation, limits: Limits, policy: Policy) -> None:
        self.observation = observation
        self.limits = limits
        self.policy = policy
        self.groups: dict[str, Group] = {group.name: group for group in observation.groups}
        self.desired = {group.name: group.desired for group in observation.groups}
        known = [worker for worker in observation.workers if worker.instance]
        down = sum(worker.life is Life.DOWN for worker in known)
        there = sum(worker.life is not Life.ENDING for worker in known)
        #: that many at once are not the workers' fault: the leader was away, or the network is
        self.many_down = down > 1 and down * 3 > there

    def steps(self) -> Iterator[Action]:
        if self.many_down:
            yield Alarm(
                reason="more than a third of the workers are down at once: none is ended for it",
                code="many-down",
            )
        for worker in self.observation.workers:
            life = worker.life
            if life is Life.ACTIVE and not worker.spot_notice:
                continue
            yield from self._steps_of(worker)

    def _steps_of(self, worker: Worker) -> Iterator[Action]:
        life = worker.life
        if life is Life.ENDING:
            yield from self._forget(worker)
        elif not worker.instance:
            return
        elif life in COMING:
            yield from self._on_its_way(worker)
        elif life is Life.DOWN:
            yield from self._lost(worker)
        elif worker.spot_notice and (worker.why is not Why.SPOT or _untold(worker)):
            yield from self._taken_back(worker)
        elif life is Life.CORDONED:
            yield from self._cordoned(worker)
        elif life is Life.DRAINING:
            yield from self._draining(worker)

    def _taken_back(self, worker: Worker) -> Iterator[Action]:
        if worker.why is not Why.SPOT:
            yield Cordon(
                reason="AWS takes this spot instance back within two minutes",
                instance=worker.instance,
                node=worker.node,
                why=Why.SPOT,
            )
        if _untold(worker):
            yield TellUsers(
                reason="their machine is taken back within two minutes",
                instance=worker.instance,
                users=_untold(worker),
                until=worker.spot_until,
            )

    def _on_its_way(self, worker: Worker) -> Iterator[Action]:
        age = self.observation.now - worker.launched
        if worker.spot_notice:
            return
        if worker.life is Life.JOINING and worker.ready:
            yield Activate(
                reason=f"joined and ready {age:.0f} s after its launch",
                instance=worker.instance,
                node=worker.node,
                joined=True,
            )
        elif in_use(worker):
            return
        elif worker.trouble:
            yield from self._end(worker, f"it failed to start: {worker.trouble}", failed=True)
        elif age >= self.limits.join_deadline:
            yield from self._end(
                worker,
                f"it has not joined within {self.limits.join_deadline} s (was {worker.life})",
                failed=True,
            )

    def _cordoned(self, worker: Worker) -> Iterator[Action]:
        waited = self.observation.now - worker.marked_at
        if in_use(worker):
            # a server was sent here just before the cordon
            if worker.why is Why.SURPLUS:
                yield Activate(
                    reason="a server came just before the cordon",
                    instance=worker.instance,
                    node=worker.node,
                )
        elif worker.why is not Why.NONE and waited >= self.policy.check_again:
            yield Drain(
                reason=f"still empty {waited:.0f} s after the cordon; {WORDS[worker.why]}",
                instance=worker.instance,
                node=worker.node,
                why=worker.why,
            )

    def _draining(self, worker: Worker) -> Iterator[Action]:
        if in_use(worker):
            yield Activate(
                reason="a server came just before the drain",
                instance=worker.instance,
                node=worker.node,
            )
            return
        yield from self._end(worker, f"empty and drained; {WORDS.get(worker.why, 'drained')}")

    def _lost(self, worker: Worker) -> Iterator[Action]:
        since = worker.down_since
        if self.many_down or since is None:
            return
        away = self.observation.now - since
        if away >= self.policy.down_grace:
            yield from self._end(worker, f"the swarm has not heard of it for {away:.0f} s")

    def _end(self, worker: Worker, reason: str, *, failed: bool = False) -> Iterator[Action]:
        if not worker.in_group:
            return
        group = self.groups.get(worker.group)
        # a group at its own minimum refuses to shrink: it will then start another one itself
        decrement = group is not None and self.desired[group.name] > group.min_size
        if failed and not decrement and self._paused():
            # ending it would make the group start the next one that fails
            return
        if worker.protected:
            yield Unprotect(reason=reason, instance=worker.instance, group=worker.group)
        if decrement:
            self.desired[worker.group] -= 1
        yield Terminate(
            reason=reason,
            instance=worker.instance,
            group=worker.group,
            decrement=decrement,
            failed=failed,
        )

    def _paused(self) -> bool:
        seen, policy = self.observation, self.policy
        lately = seen.now - seen.last_failure < policy.pause
        return lately and seen.failures >= policy.failures_in_a_row

    def _forget(self, worker: Worker) -> Iterator[Action]:
        if worker.node and not worker.node_down:
            return
        if worker.node:
            yield ForgetSwarmNode(
                reason="its instance is gone", instance=worker.instance, node=worker.node
            )
        if worker.instance:
            yield ForgetChefNode(reason="its instance is gone", instance=worker.instance)
