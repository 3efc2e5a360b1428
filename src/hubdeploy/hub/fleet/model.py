"""What the fleet sees and what it may do: plain values between observing, deciding and acting.

Memory is bytes, CPU nano-CPUs, times are seconds since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Life(StrEnum):
    """Where a worker stands, as derived from EC2, its own phase and the swarm (never remembered:
    a fleet service that has just been restarted sees the same)."""

    BOOTING = "booting"
    """The instance is there; no swarm node yet."""
    JOINING = "joining"
    """A swarm node that does not take servers yet: it pulls the notebook image."""
    ACTIVE = "active"
    CORDONED = "cordoned"
    """Takes no new servers (availability 'pause'); those on it run on."""
    DRAINING = "draining"
    """Availability 'drain' by the fleet: found empty, about to be ended."""
    DOWN = "down"
    """The instance runs, but the swarm has lost it."""
    ENDING = "ending"
    """The instance is shutting down or gone; what is left of it has to be forgotten."""


class Why(StrEnum):
    """Why the fleet marked a worker (kept in the node label ``hubdeploy.fleet``)."""

    NONE = ""
    SURPLUS = "surplus"
    OPERATOR = "operator"
    LIMIT = "limit"
    OUTDATED = "outdated"
    SPOT = "spot"


LABEL_FLEET = "hubdeploy.fleet"
"""Node label: ``WHY:EPOCH_SECONDS`` while the fleet keeps a worker from taking servers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Worker:
    """One machine. ``instance`` is empty for a swarm node that no instance could be found for.

    ``marked_at`` is when it was cordoned; ``empty_since`` is None while it has servers or is not
    active; ``down_since`` is when the swarm first called it down; ``ready`` means that the machine
    itself says it has joined and pulled the image; ``trouble`` is what it said when it failed.
    ``in_group`` is False once it has left its auto scaling group; ``outdated``: the launch template
    has changed since, so that it is replaced as it becomes empty. ``spot_until`` is when AWS takes
    it back, 0 while only that it does is known; ``told`` are those on it who know.
    """

    instance: str
    node: str = ""
    group: str = ""
    instance_type: str = ""
    zone: str = ""
    launched: float = 0.0
    life: Life
    why: Why = Why.NONE
    marked_at: float = 0.0
    memory: int = 0
    cpu: int = 0
    memory_reserved: int = 0
    cpu_reserved: int = 0
    users: tuple[str, ...] = ()
    empty_since: float | None = None
    down_since: float | None = None
    spot_notice: bool = False
    spot_until: float = 0.0
    told: tuple[str, ...] = ()
    protected: bool = False
    in_group: bool = True
    ready: bool = False
    trouble: str = ""
    node_down: bool = False
    outdated: bool = False

    @property
    def name(self) -> str:
        return self.instance or self.node


@dataclass(frozen=True, kw_only=True, slots=True)
class Pending:
    """A server that waits for a place. ``reason`` is the scheduler's own words, if any."""

    user: str
    memory: int
    cpu: int = 0
    instance_type: str = ""
    since: float
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """The auto scaling group of one instance type; ``memory`` and ``cpu`` are a new machine's.

    ``launch_error`` is the newest failed scaling activity since the last success, begun at
    ``failed_at``; ``template`` is the digest of what its machines have to be. ``for_profiles``:
    only servers that name the type start a machine here or are put on one. ``retired``: the
    configuration names the type no more. ``aside`` says why nothing is started here for a while,
    until ``aside_until``, which stays set afterwards: failures before it are known already.
    """

    name: str
    desired: int
    min_size: int = 0
    max_size: int
    instance_type: str = ""
    memory: int
    cpu: int
    launch_error: str = ""
    failed_at: float = 0.0
    template: str = ""
    for_profiles: bool = False
    retired: bool = False
    aside: str = ""
    aside_until: float = 0.0

    @property
    def starts(self) -> bool:
        """Whether a machine may be started here now."""
        return not self.retired and not self.aside

    @property
    def general(self) -> bool:
        """Whether it is for everybody's servers."""
        return not self.for_profiles and not self.retired


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """One look at everything. ``pending`` is sorted by ``since``, ``groups`` preferred first.

    ``active_users`` counts people with a server that runs (those pending not included);
    ``disk_used`` is None while unknown. ``failures`` is how many machines in a row never joined,
    ``last_failure`` when the last of them was given up. ``last_arrival`` is when the newest server
    was asked for; ``short_since`` since when places have been short (None: they are not).
    """

    now: float
    workers: tuple[Worker, ...]
    pending: tuple[Pending, ...] = ()
    groups: tuple[Group, ...] = ()
    active_users: int = 0
    disk_used: int | None = None
    failures: int = 0
    last_failure: float = 0.0
    last_arrival: float = 0.0
    short_since: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """How the fleet goes about it; :class:`hubdeploy.config.limits.Limits` say how far.

    ``slot_memory`` and ``slot_cpu`` are one usual user's reservations (headroom counts in these).
    ``settle``: a burst is let come in until nobody new has come for so long, but for no more than
    ``settle_most``, before capacity is asked for. ``check_again``: between cordon and drain.
    ``down_grace``: before a machine that the swarm lost is ended. ``failures_in_a_row``: after so
    many scale-out pauses for ``pause`` seconds, then tries one machine. ``spare_slots``: free
    places beyond headroom that must remain when a machine is ended, so that the next arrival does
    not start one again. ``set_aside``: seconds for which a type that AWS cannot give is not asked
    for, while there are others.
    """

    slot_memory: int = 2 << 30
    slot_cpu: int = 500_000_000
    settle: float = 5.0
    settle_most: float = 15.0
    check_again: float = 10.0
    down_grace: float = 300.0
    failures_in_a_row: int = 3
    pause: float = 1800.0
    spare_slots: int = 1
    set_aside: float = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Action:
    """Something to do, and why, in words for the page and the history."""

    reason: str

    @property
    def subject(self) -> str:
        """What it concerns: an instance, a group, or empty."""
        return str(getattr(self, "instance", "") or getattr(self, "group", ""))


@dataclass(frozen=True, kw_only=True, slots=True)
class SetDesired(Action):
    """Set the group's desired capacity; ``before`` is what it was."""

    group: str
    desired: int
    before: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Hold(Action):
    """Places are short, but more requests are still coming in: asked for together, a little later.

    Nothing is done; the next decision knows by it since when places have been short."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SetAside(Action):
    """Ask for other types until ``until``, because of ``why``. Nothing is done; the next decision
    knows by it."""

    group: str
    until: float
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SetMaxSize(Action):
    """Raise the group's own maximum, so that a live limit can be reached."""

    group: str
    max_size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Activate(Action):
    """Let the worker take servers: newly ``joined``, or needed after all."""

    instance: str
    node: str
    joined: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Cordon(Action):
    instance: str
    node: str
    why: Why


@dataclass(frozen=True, kw_only=True, slots=True)
class Drain(Action):
    instance: str
    node: str
    why: Why


@dataclass(frozen=True, kw_only=True, slots=True)
class Unprotect(Action):
    """Take the scale-in protection off, so that the group may let the instance go."""

    instance: str
    group: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Terminate(Action):
    """End the instance through its group. ``failed``: it never became useful; keep its log."""

    instance: str
    group: str
    decrement: bool
    failed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ForgetSwarmNode(Action):
    instance: str
    node: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ForgetChefNode(Action):
    instance: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TellUsers(Action):
    """Warn the people on a machine that is about to be taken away; ``until``: 0 if unknown."""

    instance: str
    users: tuple[str, ...]
    until: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RefuseNewServers(Action):
    """A limit is reached: the spawner is told ``reason``. ``limit`` is the limit's name."""

    limit: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Alarm(Action):
    """A person should look. ``code`` is stable, for alert rules."""

    code: str


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What has to be remembered between ticks, and over restarts (all of it may be lost without
    harm: machines then stay a little longer).

    ``empty_since``, ``down_since`` by worker; ``chef_left`` are ended instances whose Chef node is
    still to be deleted, ``chef_done`` those done (bounded); ``templates`` is when each group's
    template was first seen; ``aside_until`` and ``aside_why`` by group; ``told`` by worker.
    """

    empty_since: dict[str, float] = field(default_factory=dict)
    down_since: dict[str, float] = field(default_factory=dict)
    failures: int = 0
    last_failure: float = 0.0
    short_since: float | None = None
    templates: dict[str, float] = field(default_factory=dict)
    aside_until: dict[str, float] = field(default_factory=dict)
    aside_why: dict[str, str] = field(default_factory=dict)
    told: dict[str, tuple[str, ...]] = field(default_factory=dict)
    chef_left: tuple[str, ...] = ()
    chef_done: tuple[str, ...] = ()
