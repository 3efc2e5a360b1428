"""What to do now: the one pure function behind the fleet, the simulator and the properties.

``decide(observation, limits, policy)`` answers a list of actions, each with its reason.
``learn(memory, observation, actions)`` is what the next observation has to know of this one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from hubdeploy.config.limits import Limits, show_size
from hubdeploy.hub.fleet.capacity import Supply, room_for_more, supply, wanted_headroom
from hubdeploy.hub.fleet.choice import lay_aside, take_back, told
from hubdeploy.hub.fleet.grow import at_least, grow
from hubdeploy.hub.fleet.model import (
    Action,
    Activate,
    Alarm,
    ForgetChefNode,
    Hold,
    Life,
    Memory,
    Observation,
    Pending,
    Policy,
    RefuseNewServers,
    SetAside,
    TellUsers,
    Terminate,
)
from hubdeploy.hub.fleet.retire import Lives, in_use
from hubdeploy.hub.fleet.shrink import close_outdated, over_limit, shrink

REMEMBERED = 2000
"""How many ended instances' Chef clean-up is remembered."""

STILL_SHORT = ("at-limit", "launches-fail")
"""Alarms that say that places are short and nothing could be done about it."""


def decide(observation: Observation, limits: Limits, policy: Policy) -> list[Action]:
    """Actions in the order to do them in; none while all is as it should be.

    Never starts a machine past a limit; never ends one that holds a server, unless the swarm has
    lost it for ``policy.down_grace`` seconds; never ends so many that fewer than
    ``limits.min_nodes`` remain, except broken ones.
    """
    have = supply(observation, limits, policy)
    observation, asides = lay_aside(observation, policy, have)
    if asides:
        have = supply(observation, limits, policy)
    lives = Lives(observation, limits, policy)
    short = _shortage(observation, limits, policy, have)
    actions = [*lives.steps(), *asides]
    actions += take_back(observation, have, lives)
    actions += told(observation)
    actions += _refusals(observation, limits, have)
    if short:
        actions = grow(observation, limits, policy, have, lives, short, actions)
    else:
        actions += shrink(observation, limits, policy, have, lives)
    actions += close_outdated(observation, limits, have, actions)
    actions += at_least(observation, limits, policy, have, lives, actions)
    actions += over_limit(observation, limits, have, actions)
    return actions


def _refusals(observation: Observation, limits: Limits, have: Supply) -> Iterator[Action]:
    if (
        limits.max_disk_utilization
        and observation.disk_used is not None
        and observation.disk_used >= limits.max_disk_utilization
    ):
        reason = (
            f"the file system holds {show_size(observation.disk_used)}, "
            f"the limit is {show_size(limits.max_disk_utilization)}"
        )
        yield RefuseNewServers(reason=reason, limit="max_disk_utilization")
    people = observation.active_users + len(observation.pending)
    if limits.max_concurrent_users and people >= limits.max_concurrent_users:
        reason = f"{people} people have servers, the limit is {limits.max_concurrent_users}"
        yield RefuseNewServers(reason=reason, limit="max_concurrent_users")
    for group in observation.groups:
        if group.launch_error and group.starts and have.missing.get(group.name):
            yield Alarm(
                reason=f"{group.name} cannot start {have.missing[group.name]} machines: "
                f"{group.launch_error}",
                code="launch-error",
            )


def _shortage(
    observation: Observation, limits: Limits, policy: Policy, have: Supply
) -> list[Pending]:
    """Servers without a place: waiting ones, those whose spot machine goes, and headroom."""
    short = [*have.uncovered, *have.displaced]
    waiting = len(observation.pending) - len(have.refused)
    free = have.free_up + have.free_coming
    if not room_for_more(observation, have, limits):
        # places on machines to be replaced will have to do, when no new one may be started
        free += have.free_outdated
    lacking = wanted_headroom(observation, limits, waiting) - free
    short += [
        Pending(user="", memory=policy.slot_memory, cpu=policy.slot_cpu, since=observation.now)
    ] * max(0, lacking)
    return short


def learn(memory: Memory, observation: Observation, actions: Iterable[Action]) -> Memory:
    """*memory* after the *actions* that were really carried out."""
    empty: dict[str, float] = {}
    down: dict[str, float] = {}
    for worker in observation.workers:
        if worker.life is Life.ACTIVE and not in_use(worker):
            empty[worker.name] = memory.empty_since.get(worker.name, observation.now)
        elif worker.life is Life.DOWN:
            down[worker.name] = memory.down_since.get(worker.name, observation.now)
    left = dict.fromkeys(memory.chef_left)
    left |= dict.fromkeys(w.instance for w in observation.workers if w.life is Life.ENDING)
    done = dict.fromkeys(memory.chef_done)
    present = {worker.instance for worker in observation.workers}
    knows = {name: users for name, users in memory.told.items() if name in present}
    failures, last_failure, short_since = memory.failures, memory.last_failure, None
    names = {group.name for group in observation.groups}
    until = {name: at for name, at in memory.aside_until.items() if name in names}
    why = {name: text for name, text in memory.aside_why.items() if name in names}
    for action in actions:
        if isinstance(action, Terminate):
            left[action.instance] = None
            if action.failed:
                failures, last_failure = failures + 1, observation.now
        elif isinstance(action, Activate) and action.joined:
            failures = 0
        elif isinstance(action, Hold) or (isinstance(action, Alarm) and action.code in STILL_SHORT):
            since = memory.short_since
            short_since = observation.now if since is None else since
        elif isinstance(action, TellUsers):
            knows[action.instance] = (*knows.get(action.instance, ()), *action.users)
        elif isinstance(action, SetAside):
            until[action.group], why[action.group] = action.until, action.why
        elif isinstance(action, ForgetChefNode):
            done[action.instance] = None
    return replace(
        memory,
        empty_since=empty,
        down_since=down,
        failures=failures,
        last_failure=last_failure,
        short_since=short_since,
        templates={
            group.template: memory.templates.get(group.template, observation.now)
            for group in observation.groups
            if group.template
        },
        aside_until=until,
        aside_why=why,
        told=knows,
        chef_left=tuple(name for name in left if name and name not in done),
        chef_done=tuple(done)[-REMEMBERED:],
    )
