"""Which type the next machines are of. Pure.

Each instance type has an auto scaling group of its own, so choosing a type is choosing a group.
Groups stand in the operator's order of preference, and that decides, not the price: prices change
by the hour and zone, and who put a type first has had a reason. The next type is taken for what
does not fit on the first, where a limit leaves no room for the first, and while AWS has none of
the first to give: it is then set aside for some minutes, and the one after it asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from hubdeploy.config.limits import Limits
from hubdeploy.hub.fleet.capacity import Bin, Supply, allowed_machines, new_bin
from hubdeploy.hub.fleet.model import (
    Action,
    Alarm,
    Group,
    Observation,
    Pending,
    Policy,
    SetAside,
    SetDesired,
)
from hubdeploy.hub.fleet.retire import Lives

LACKING = re.compile(
    r"insufficient ?(instance|host|reserved instance)? ?capacity|do not have sufficient"
    r"|no spot capacity|unfulfillable ?capacity|spot ?(request|max) ?price|(vcpu|instance) ?limit"
    r"|spot ?instance ?count|quota|not (currently )?supported|unsupported",
    re.IGNORECASE,
)
"""EC2's and Auto Scaling's words for: not of this type, here and now. Other failures (a missing
image, a wrong profile, a full subnet) would meet the next type just as well."""

NEWS = 900.0
"""Seconds for which a failed launch tells of the present."""


@dataclass(slots=True)
class Plan:
    """New machines by group, for as many requests as may be. ``hopeless`` fit on no type;
    ``waiting`` only on types that are set aside; ``blocked`` are those for whom ``limit`` leaves
    no machine."""

    counts: dict[str, int] = field(default_factory=dict)
    hopeless: list[Pending] = field(default_factory=list)
    waiting: list[Pending] = field(default_factory=list)
    blocked: list[Pending] = field(default_factory=list)
    limit: str = ""


def plan(
    requests: Sequence[Pending], groups: Sequence[Group], have: Supply, limits: Limits
) -> Plan:
    """New machines for *requests* beside what is there already, within the limits.

    Biggest first, each into the first machine with room, else onto one more of the first type that
    it may have. Where the limits do not allow all that, people who wait longest come first.
    """
    found = _laid_out(_biggest_first(requests), groups, have, limits)
    if found.blocked and len(groups) > 1:
        found = _laid_out(_longest_first(requests), groups, have, limits)
    return found


def _biggest_first(requests: Sequence[Pending]) -> list[Pending]:
    # those who can go to one type only say which machines there will be
    return sorted(requests, key=lambda r: (not r.instance_type, -r.memory, -r.cpu))


def _longest_first(requests: Sequence[Pending]) -> list[Pending]:
    return sorted(requests, key=lambda r: (not r.user, r.since, r.user))


def _laid_out(
    requests: Sequence[Pending], groups: Sequence[Group], have: Supply, limits: Limits
) -> Plan:
    result, bins = Plan(), list[Bin]()
    least = min((request.memory for request in requests), default=0)
    room = Supply(nodes=have.nodes, memory=have.memory)
    for request in requests:
        target = next((item for item in bins if item.fits(request)), None)
        if target is None:
            group = _group_for(request, groups, room, limits, result)
            if group is None:
                continue
            target = new_bin(group)
            bins.append(target)
            room.nodes += 1
            room.memory += group.memory
            result.counts[group.name] = result.counts.get(group.name, 0) + 1
        target.take(request)
        if target.memory < least:
            bins.remove(target)  # nothing more fits: it need not be looked at again
    return result


def _group_for(
    request: Pending, groups: Sequence[Group], room: Supply, limits: Limits, result: Plan
) -> Group | None:
    """The first group that may start a machine for it; else it is noted why there is none."""
    right = [group for group in groups if not group.retired and new_bin(group).fits(request)]
    limit = ""
    for group in right:
        if not group.aside:
            allowed, binds = allowed_machines(group, room, limits)
            if allowed:
                return group
            limit = limit or binds
    if limit:
        result.blocked.append(request)
        result.limit = result.limit or limit
    else:
        (result.waiting if right else result.hopeless).append(request)
    return None


# --- types that AWS cannot give -------------------------------------------------------------------


def lay_aside(
    observation: Observation, policy: Policy, have: Supply
) -> tuple[Observation, list[Action]]:
    """*observation* with the groups set aside that have just failed for lack of their type.

    One that has nothing to stand in for it is left: Auto Scaling itself tries it again.
    """
    groups, actions = list(observation.groups), list[Action]()
    for place, group in enumerate(groups):
        others = (g for g in groups if g is not group and g.general and g.starts)
        if not (group.general and group.starts and have.missing.get(group.name)):
            continue
        if _is_news(group, observation.now) and any(others):
            until = observation.now + policy.set_aside
            why = " ".join(group.launch_error.split())[:200]
            groups[place] = replace(group, aside=why, aside_until=until)
            actions.append(
                SetAside(
                    reason=f"{why} Other types are asked for until {_clock(until)}",
                    group=group.name,
                    until=until,
                    why=why,
                )
            )
    return replace(observation, groups=tuple(groups)), actions


def _is_news(group: Group, now: float) -> bool:
    """Whether it has failed for lack of its type since it was last set aside, and lately."""
    lately = group.failed_at >= max(group.aside_until, now - NEWS)
    return bool(group.launch_error) and lately and bool(LACKING.search(group.launch_error))


def take_back(observation: Observation, have: Supply, lives: Lives) -> Iterator[Action]:
    """Ask no more for what groups that start nothing have not started."""
    for group in observation.groups:
        missing = have.missing.get(group.name, 0)
        if group.starts or not missing:
            continue
        before = lives.desired[group.name]
        lives.desired[group.name] = before - missing
        why = "is not wanted any more" if group.retired else "is set aside"
        yield SetDesired(
            reason=f"{missing} machines that were not started are asked for no more: "
            f"{group.instance_type} {why}",
            group=group.name,
            desired=before - missing,
            before=before,
        )


def told(observation: Observation) -> Iterator[Action]:
    """What a person should know of types that are set aside."""
    for group in observation.groups:
        if group.aside and not group.retired:
            yield Alarm(
                reason=f"no {group.instance_type} is asked for until "
                f"{_clock(group.aside_until)}: {group.aside}",
                code="type-set-aside",
            )


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%H:%M UTC")
