"""Observe, decide, act, every few seconds; what the page and the metrics show is left in ``view``.

One thread does it, so no two ticks overlap, and a lock on a file keeps a second process out (a hub
that restarts may start its service anew before the old one has ended). A tick that fails changes
nothing of the view but its error, and the next one waits longer.
"""

from __future__ import annotations

import gc
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from hubdeploy.config.limits import Limits, changed_live
from hubdeploy.errors import AwsError, ConfigError, HubdeployError
from hubdeploy.hub.fleet import notice
from hubdeploy.hub.fleet.act import ForgetChef, Hands
from hubdeploy.hub.fleet.admission import Answer, admit
from hubdeploy.hub.fleet.cloud import Cloud, CloudFacts, LaunchError
from hubdeploy.hub.fleet.decide import decide, learn
from hubdeploy.hub.fleet.model import (
    Action,
    Activate,
    Alarm,
    Life,
    Memory,
    Observation,
    Pending,
    Worker,
)
from hubdeploy.hub.fleet.observe import USABLE_SHARE, TypeSize, observation
from hubdeploy.hub.fleet.store import Sample, Store
from hubdeploy.hub.fleet.swarm import Swarm, SwarmError, SwarmFacts
from hubdeploy.hub.fleet.wiring import FleetSettings

log = logging.getLogger(__name__)

T = TypeVar("T")

QUIET_LOOK = 15.0
"""Seconds between looks at AWS while nothing is under way."""
DISK_LOOK = 300.0
MOST_CPU = 0.06
"""Share of one core that looking may take in the long run."""
LONGEST_BACKOFF = 120.0
ASKED_FOR = 30.0
"""How long the spawner's question counts as a waiting server."""
SPOT_PHASES = 50
"""How many spot workers' own words are read at each look, in turn."""
ON_THE_WAY = (Life.BOOTING, Life.JOINING)


@dataclass(frozen=True, kw_only=True)
class View:
    """The newest look and decision. ``error`` is why the last tick failed, or empty."""

    seen: Observation | None = None
    actions: tuple[Action, ...] = ()
    limits: Limits = field(default_factory=Limits)
    error: str = ""
    failed_ticks: int = 0
    tick_cpu: float = 0.0
    ticks: int = 0
    servers: int = 0
    boot_seconds: float = 150.0


class FleetLoop:
    """One deployment's fleet. ``tick`` is called by one thread; the rest by any."""

    def __init__(
        self,
        settings: FleetSettings,
        *,
        cloud: Cloud,
        swarm: Swarm,
        store: Store,
        forget_chef: ForgetChef,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.cloud = cloud
        self.swarm = swarm
        self.store = store
        self.clock = clock
        self.hands = Hands(
            names=settings.names,
            cloud=cloud,
            swarm=swarm,
            forget_chef=forget_chef,
            tell=lambda user, until: notice.tell(user, until, homes=settings.homes),
            keep=store.keep_console,
        )
        self.memory: Memory = store.memory()
        self.view = View(limits=settings.limits)
        self._facts: CloudFacts | None = None
        self._looked = 0.0
        self._disk: int | None = None
        self._disk_looked = 0.0
        self._disk_told = 0.0
        self._limits = settings.limits
        self._limits_error = ""
        self._sizes: dict[str, TypeSize] = {}
        self._asked: dict[str, Pending] = {}
        self._let_in: dict[str, float] = {}
        self._asked_lock = threading.Lock()
        self._turn = 0
        self._hurry = threading.Event()
        self._resume = threading.Event()

    # --- one tick ------------------------------------------------------------------------------

    def tick(self) -> float:
        """Look, decide, act; seconds until the next. Reports what goes wrong."""
        began = time.thread_time()
        try:
            self._tick()
        except HubdeployError as error:
            return self.failed(error.message)
        cost = time.thread_time() - began
        self.view = replace(
            self.view, error="", failed_ticks=0, tick_cpu=cost, ticks=self.view.ticks + 1
        )
        # a big fleet is looked at less often: the hub shares this machine
        return max(self.settings.interval, cost / MOST_CPU)

    def failed(self, why: str) -> float:
        """Note that a tick could not be done; seconds until the next, longer each time."""
        count = self.view.failed_ticks + 1
        log.warning("the fleet cannot look or act (%d times now): %s", count, why)
        self.view = replace(self.view, error=why, failed_ticks=count)
        doubled: float = 2.0 ** min(count, 8)
        return min(LONGEST_BACKOFF, self.settings.interval * doubled)

    def _tick(self) -> None:
        now = self.clock()
        if self._resume.is_set():
            self._resume.clear()
            self.memory = replace(self.memory, failures=0, last_failure=0.0)
        with _uncollected():
            swarm = self.swarm.look()
            facts = self._cloud_facts(now, swarm)
        seen = self._observe(now, facts, swarm)
        actions = decide(seen, self._limits, self.settings.policy)
        if self._limits_error:
            actions.append(Alarm(reason=self._limits_error, code="limits-unreadable"))
        done = self.hands.do(actions, seen)
        self.hands.label(_unlabelled(seen, swarm))
        carried_out = [each.action for each in done if each.ok]
        self.memory = learn(self.memory, seen, carried_out)
        self.store.put_memory(self.memory)
        for each in self.store.put(now, done):
            log.info(
                "%s %s: %s%s",
                type(each.action).__name__,
                each.action.subject,
                each.action.reason,
                f" -> {each.outcome}" if each.outcome else "",
            )
        self._count_boots(now, carried_out, seen)
        if any(each.ok and _changes_aws(each.action) for each in done):
            self._looked = 0.0
        self._sample(seen)
        self.view = replace(
            self.view,
            seen=seen,
            actions=tuple(actions),
            limits=self._limits,
            servers=swarm.servers,
            boot_seconds=self.store.boot_seconds(),
        )

    def _observe(self, now: float, facts: CloudFacts, swarm: SwarmFacts) -> Observation:
        with self._asked_lock:
            self._asked = {u: p for u, p in self._asked.items() if now - p.since < ASKED_FOR}
            self._let_in = {u: at for u, at in self._let_in.items() if now - at < ASKED_FOR}
            asked = list(self._asked.values())
        return observation(
            now,
            facts,
            swarm,
            self.memory,
            sizes=self._sizes,
            disk_used=self._disk,
            asked=asked,
        )

    def _cloud_facts(self, now: float, swarm: SwarmFacts) -> CloudFacts:
        seen = self.view.seen
        busy = (
            seen is None
            or bool(swarm.pending)
            or self._hurry.is_set()
            or any(worker.life is not Life.ACTIVE for worker in seen.workers)
            or sum(group.desired for group in seen.groups) > len(seen.workers)
        )
        if self._facts is not None and not busy and now - self._looked < QUIET_LOOK:
            return self._facts
        self._hurry.clear()
        groups = self.cloud.groups()
        instances = self.cloud.instances()
        for kind in {group.instance_type for group in groups} - {""}:
            self._learn_size(kind)
        errors: dict[str, LaunchError] = {}
        for group in groups:
            if group.desired > len(group.members):
                read = partial(self.cloud.launch_error, group.name)
                error = self._optional(read, otherwise=None)
                if error is not None:
                    errors[group.name] = error
        self._read_limits()
        if now - self._disk_looked >= DISK_LOOK and self.settings.file_system:
            self._disk_looked = now
            self._disk = self._optional(
                lambda: self.cloud.disk_used(self.settings.file_system), otherwise=self._disk
            )
        if now - self._disk_told >= DISK_LOOK:
            self._disk_told = now
            self._optional(self._tell_own_disk, otherwise=None)
        on_spot = sorted(i.id for i in instances.values() if i.spot and i.state == "running")
        self._facts = CloudFacts(
            groups=groups,
            instances=instances,
            phases=self._phases(instances.keys(), on_spot, swarm),
            noticed=(
                self._optional(self.cloud.spot_noticed, otherwise=frozenset())
                if on_spot
                else frozenset()
            ),
            launch_errors=errors,
        )
        self._looked = now
        return self._facts

    def _phases(
        self, instances: Iterable[str], on_spot: Sequence[str], swarm: SwarmFacts
    ) -> Mapping[str, Mapping[str, Any]]:
        """The words of machines on their way, and in turn of some that AWS may take back."""
        admitted = {n.instance for n in swarm.nodes if n.instance and n.availability != "drain"}
        wanted = [name for name in instances if name not in admitted]
        if on_spot:
            wanted += [w.instance for w in self._last_seen if w.spot_notice]
            self._turn = (self._turn + SPOT_PHASES) % max(1, len(on_spot))
            wanted += [*on_spot[self._turn :], *on_spot[: self._turn]][:SPOT_PHASES]
        gone = {w.instance for w in self._last_seen if w.life is Life.ENDING}
        ask = [name for name in dict.fromkeys(wanted) if name not in gone]
        before = self._facts.phases if self._facts else {}
        return self._optional(lambda: self.cloud.phases(ask), otherwise=before) if ask else {}

    def instances(self) -> frozenset[str]:
        """Machines as last seen."""
        return frozenset(worker.instance for worker in self._last_seen if worker.instance)

    @property
    def _last_seen(self) -> tuple[Worker, ...]:
        return self.view.seen.workers if self.view.seen else ()

    def _tell_own_disk(self) -> None:
        disks = [shutil.disk_usage(self.settings.state), shutil.disk_usage("/")]
        self.cloud.put_disk_share(max(100 * disk.used / disk.total for disk in disks))

    def _learn_size(self, kind: str) -> None:
        if kind in self._sizes:
            return
        found = self._optional(lambda: self.cloud.type_size(kind), otherwise=None)
        if found is not None:
            memory, cpu = found
            self._sizes[kind] = TypeSize(memory=int(memory * USABLE_SHARE), cpu=cpu)

    def _read_limits(self) -> None:
        """The live limits win over the configuration's; while unreadable, the last ones hold."""
        unread: str | None = ""
        text = self._optional(self.cloud.limits_text, otherwise=unread)
        if text == "":
            return
        try:
            base = self.settings.limits
            self._limits = Limits.from_json(text, base=base) if text else base
            self._limits_error = ""
        except ConfigError as error:
            self._limits_error = f"{error.message}; {error.hint}"

    @staticmethod
    def _optional(read: Callable[[], T], *, otherwise: T) -> T:
        """What the fleet can do without for a while: its absence must not stop a tick."""
        try:
            return read()
        except AwsError as error:
            log.warning("%s", error)
            return otherwise

    def _count_boots(self, now: float, actions: Sequence[Action], seen: Observation) -> None:
        launched = {worker.instance: worker.launched for worker in seen.workers}
        for action in actions:
            if isinstance(action, Activate) and action.joined and launched.get(action.instance):
                self.store.booted(now, now - launched[action.instance])

    def _sample(self, seen: Observation) -> None:
        there = [w for w in seen.workers if w.life is not Life.ENDING]
        self.store.sample(
            Sample(
                at=seen.now,
                users=seen.active_users,
                waiting=len(seen.pending),
                machines=len(there),
                coming=sum(worker.life in ON_THE_WAY for worker in there),
                memory=sum(worker.memory for worker in there),
                reserved=sum(worker.memory_reserved for worker in there),
                disk=seen.disk_used or 0,
            )
        )

    # --- asked from outside --------------------------------------------------------------------

    def admission(self, request: Pending) -> Answer:
        """For the spawner; a request that has to wait counts as waiting from now on."""
        view = self.view
        if view.seen is None:
            return Answer(allowed=True, reason="The fleet has only just started")
        counted = {waiting.user for waiting in view.seen.pending}
        counted.update(*(worker.users for worker in view.seen.workers))
        with self._asked_lock:
            let_in = {u for u, at in self._let_in.items() if request.since - at < ASKED_FOR}
        answer = admit(
            request,
            view.seen,
            view.limits,
            self.settings.policy,
            decided=view.actions,
            has_server=request.user in counted,
            let_in=let_in,
            boot_seconds=view.boot_seconds,
        )
        if answer.allowed:
            with self._asked_lock:
                self._let_in[request.user] = request.since
                if answer.waiting_for == "machine":
                    self._asked[request.user] = request
        return answer

    def by_hand(self, action: Action) -> None:
        """Do what an admin asked for on the page, and write it down. Raises HubdeployError."""
        seen = self.view.seen
        if seen is None:
            return
        now = self.clock()
        for each in self.hands.do([action], replace(seen, now=now), at_once=True):
            self.store.note(now, each)
            if not each.ok:
                raise SwarmError(each.outcome)
        self._hurry.set()

    def change_limits(self, limits: Limits, by: str) -> None:
        """Write the live limits for all to see, and who did it; the next tick goes by them."""
        at = datetime.fromtimestamp(self.clock(), tz=UTC).isoformat(timespec="seconds")
        text = self.cloud.limits_text()
        self.cloud.put_limits(changed_live(text, self._limits, limits, by=by, at=at))
        self._limits = limits
        self.view = replace(self.view, limits=limits)
        self._hurry.set()

    def resume(self) -> None:
        """Forget failures in a row: an admin has seen to the cause."""
        self._resume.set()
        self._hurry.set()


def _changes_aws(action: Action) -> bool:
    return not isinstance(action, Alarm) and type(action).__name__ not in (
        "Hold",
        "RefuseNewServers",
        "SetAside",
    )


def _unlabelled(seen: Observation, swarm: SwarmFacts) -> list[Worker]:
    """Workers that somebody else let in: placement by type and age needs their labels."""
    labelled = {node.id for node in swarm.nodes if node.instance and node.launched}
    return [w for w in seen.workers if w.life is Life.ACTIVE and w.node not in labelled]


@contextmanager
def _uncollected() -> Iterator[None]:
    """The collector rests: the listings of a big fleet are a million objects with no cycle among
    them, and walking these again and again would cost more than reading them."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
