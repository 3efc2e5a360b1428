"""More machines: what is taken back, what is started, and what holds it up.

Pure; part of :func:`hubdeploy.hub.fleet.decide.decide`.
"""

from __future__ import annotations

from collections.abc import Iterator

from hubdeploy.config.limits import Limits, show_size
from hubdeploy.hub.fleet.capacity import (
    COMING,
    Supply,
    allowed_machines,
    given_up,
    kept_types,
)
from hubdeploy.hub.fleet.choice import Plan, plan
from hubdeploy.hub.fleet.model import (
    Action,
    Activate,
    Alarm,
    Cordon,
    Group,
    Hold,
    Life,
    Observation,
    Pending,
    Policy,
    RefuseNewServers,
    SetDesired,
    SetMaxSize,
    Terminate,
    Why,
)
from hubdeploy.hub.fleet.retire import Lives


def _settled(observation: Observation, policy: Policy) -> bool:
    """Whether a burst has come in: nobody new for a while, or it has gone on for long."""
    since = observation.short_since
    if since is None:
        return policy.settle <= 0
    lasted = observation.now - since
    quiet = observation.now - observation.last_arrival
    return lasted >= policy.settle_most or (lasted >= policy.settle and quiet >= policy.settle)


def grow(
    observation: Observation,
    limits: Limits,
    policy: Policy,
    have: Supply,
    lives: Lives,
    short: list[Pending],
    actions: list[Action],
) -> list[Action]:
    actions = _with(list(_reuse(observation, short, Why.SURPLUS)), actions, lives)
    if not short:
        return actions
    found = plan(short, observation.groups, have, limits)
    for request in found.hopeless[:1]:
        if request.user:
            actions.append(
                Alarm(
                    reason=f"no machine that can be started has room for {request.user}'s server "
                    f"({show_size(request.memory)}{', ' if request.instance_type else ''}"
                    f"{request.instance_type})",
                    code="too-big",
                )
            )
    if not found.counts and not found.blocked:
        return actions
    if not _settled(observation, policy):
        actions.append(Hold(reason=f"{_people(short)}; waits for more to come in"))
        return actions
    if found.blocked:
        # better an old kind of machine than none
        actions = _with(list(_reuse(observation, short, Why.OUTDATED)), actions, lives)
        found = plan(short, observation.groups, have, limits)
    counts = found.counts
    if counts and observation.failures >= policy.failures_in_a_row:
        counts = _after_failures(observation, limits, policy, counts, have, actions)
    if found.blocked:
        actions += _at_the_limit(found, have, limits)
    for group in observation.groups:
        if counts.get(group.name):
            reason = _people(short)
            if len(observation.groups) > 1:
                reason += f"; {counts[group.name]} more of {group.instance_type}"
            actions += _more(group, counts[group.name], lives, have, reason=reason)
    return actions


def _with(reused: list[Activate], actions: list[Action], lives: Lives) -> list[Action]:
    """*actions* and *reused*, without the steps that would end a worker that is taken back."""
    again = {action.instance for action in reused}
    for action in actions:
        if isinstance(action, Terminate) and action.instance in again and action.decrement:
            lives.desired[action.group] += 1
    kept = [action for action in actions if getattr(action, "instance", "") not in again]
    return kept + list(reused)


def _people(short: list[Pending]) -> str:
    servers = sum(1 for request in short if request.user)
    free = len(short) - servers
    words = [f"{servers} servers have no place"] if servers else []
    if free:
        words.append(f"{free} free places are missing")
    return " and ".join(words)


def _at_the_limit(found: Plan, have: Supply, limits: Limits) -> Iterator[Action]:
    limit, value = found.limit, getattr(limits, found.limit)
    shown = show_size(value) if limit == "max_cluster_memory" else str(value)
    reason = f"the fleet is as big as {limit} = {shown} lets it be"
    yield Alarm(reason=reason, code="at-limit")
    if have.uncovered and any(request.user for request in found.blocked):
        yield RefuseNewServers(reason=reason, limit=limit)


def _after_failures(
    observation: Observation,
    limits: Limits,
    policy: Policy,
    counts: dict[str, int],
    have: Supply,
    actions: list[Action],
) -> dict[str, int]:
    """Nothing while paused, then one machine as a trial."""
    actions.append(
        Alarm(
            reason=f"{observation.failures} machines in a row never joined: no more are started "
            f"for {policy.pause / 60:.0f} minutes, then one as a trial",
            code="launches-fail",
        )
    )
    on_their_way = sum(have.missing.values()) + sum(
        worker.life in COMING and not given_up(worker, observation, limits)
        for worker in observation.workers
    )
    if observation.now - observation.last_failure < policy.pause or on_their_way:
        return {}
    return {next(iter(counts)): 1}


def _more(group: Group, count: int, lives: Lives, have: Supply, *, reason: str) -> Iterator[Action]:
    # never below what is there: the group would choose a machine to end
    live = lives.desired[group.name]
    desired = live + count
    if desired > group.max_size:
        yield SetMaxSize(
            reason="the live limit is above the group's own", group=group.name, max_size=desired
        )
    lives.desired[group.name] = desired
    have.nodes += count
    have.memory += count * group.memory
    yield SetDesired(reason=reason, group=group.name, desired=desired, before=live)


def _reuse(observation: Observation, short: list[Pending], why: Why) -> Iterator[Activate]:
    """Take back workers closed because of *why* before starting new ones; shortens *short*."""
    workers = [
        worker
        for worker in observation.workers
        if worker.life in (Life.CORDONED, Life.DRAINING)
        and worker.why is why
        and not worker.spot_notice
        and worker.in_group
    ]
    kept = kept_types(observation)
    for worker in sorted(workers, key=lambda w: (-w.launched, w.instance)):
        if not short:
            return
        for_people = False
        free_memory = worker.memory - worker.memory_reserved
        free_cpu = worker.cpu - worker.cpu_reserved
        left: list[Pending] = []
        for request in short:
            fits = request.memory <= free_memory and request.cpu <= free_cpu
            kind, wanted = worker.instance_type, request.instance_type
            right = kind == wanted if wanted else kind not in kept
            if fits and right:
                free_memory -= request.memory
                free_cpu -= request.cpu
                for_people |= bool(request.user)
            else:
                left.append(request)
        if len(left) < len(short):
            words = "servers wait" if for_people else "free places are missing"
            yield Activate(
                reason=f"needed after all: {words}", instance=worker.instance, node=worker.node
            )
            short[:] = left


def at_least(
    observation: Observation,
    limits: Limits,
    policy: Policy,
    have: Supply,
    lives: Lives,
    actions: list[Action],
) -> Iterator[Action]:
    """``min_nodes`` machines that are for everybody, whatever the demand is."""
    groups = [g for g in observation.groups if g.general and g.starts]
    if not limits.min_nodes or not groups:
        return
    kept, names = kept_types(observation), {group.name for group in groups}
    good = sum(
        worker.life is Life.ACTIVE
        or (worker.life in COMING and not given_up(worker, observation, limits))
        for worker in observation.workers
        if worker.instance and worker.instance_type not in kept and not worker.spot_notice
    )
    special = {w.instance for w in observation.workers if w.instance_type in kept}
    for action in actions:
        if isinstance(action, SetDesired) and action.group in names:
            good += action.desired - action.before
        elif isinstance(action, (Activate, Cordon)) and action.instance not in special:
            good += isinstance(action, Activate) and not action.joined
            good -= isinstance(action, Cordon) and action.why is Why.SURPLUS
    good += sum(have.missing.get(name, 0) for name in names)
    lacking = limits.min_nodes - good
    if lacking <= 0:
        return
    counts = {groups[0].name: lacking}
    if observation.failures >= policy.failures_in_a_row:
        extra: list[Action] = []
        counts = _after_failures(observation, limits, policy, counts, have, extra)
        if not any(isinstance(a, Alarm) and a.code == "launches-fail" for a in actions):
            yield from extra
    wanted = sum(counts.values())
    reason = f"{good} machines, at least {limits.min_nodes} are wanted"
    for group in groups:
        count = min(wanted, allowed_machines(group, have, limits)[0])
        if count:
            wanted -= count
            yield from _more(group, count, lives, have, reason=reason)
