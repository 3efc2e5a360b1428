"""One server's life in the swarm: placed, created, followed, placed anew, removed.

Knows nothing of JupyterHub: the spawner tells it what to run, and asks it how that fares. One
Launcher belongs to one service name; all of its methods run on the hub's event loop.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import replace
from typing import Any

from docker.errors import APIError
from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_exponential

from hubdeploy.errors import HubdeployError
from hubdeploy.hub import service as services
from hubdeploy.hub.placement import NodeView, NoFit, Placement, Request, place, request_of
from hubdeploy.hub.progress import Waiting
from hubdeploy.hub.service import Server, Spot
from hubdeploy.hub.swarm import (
    PASSING,
    Json,
    Snapshot,
    Swarm,
    is_passing,
    is_provisional,
    provisional,
    reason_of,
    status_of,
)
from hubdeploy.hub.tasks import (
    COMING,
    Sighting,
    Stage,
    explain,
    is_hopeless,
    is_on,
    sight,
    too_late,
)

log = logging.getLogger(__name__)

STEP = 0.25
"""Seconds between looks while a server starts; all starts share one look."""
SLOW_STEP = 1.0
"""The same while a machine boots."""
SETTLE = 3.0
"""Seconds that swarm gets to place a task before the hub chooses again."""
CREATE_DEADLINE = 20.0
"""Seconds within which a creation that failed in passing is tried again."""
MOST_REFUSALS = 3
"""So many machines may refuse a server before its user is told."""
MOST_MOVES = 5
MOVES_WITHIN = 600.0
"""A server that lost its place more often than that within so many seconds stays stopped."""


class LaunchError(HubdeployError):
    """The server does not start. ``reason`` is one word for the hub's metrics."""

    def __init__(self, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class Launcher:
    """One service of the swarm, by name. *port* is the notebook's in its container."""

    def __init__(
        self,
        swarm: Swarm,
        name: str,
        *,
        port: int = 8888,
        clock: Callable[[], float] = time.monotonic,
        stop_deadline: float = 60.0,
    ) -> None:
        self.swarm = swarm
        self.name = name
        self.port = port
        self.waiting: Waiting | None = None
        self._clock = clock
        self._stop_deadline = stop_deadline
        self._chance = random.SystemRandom()
        self._past: set[str] = set()
        """Tasks of before the last update: what they say is no longer of interest."""
        self._avoid: set[str] = set()
        self._refusals = 0
        self._planned_at = 0.0
        self._moves: list[float] = []
        self._creating: asyncio.Future[Any] | None = None

    # --- seeing ---------------------------------------------------------------------------------

    async def look(self, *, max_age: float = STEP) -> tuple[Snapshot, Sighting]:
        """The swarm and this server in it. Raises one of PASSING when Docker does not answer."""
        snapshot = await self.swarm.snapshot(max_age=max_age)
        return snapshot, self._sight(snapshot)

    def _sight(self, snapshot: Snapshot) -> Sighting:
        service = snapshot.service(self.name)
        tasks = [t for t in snapshot.tasks_of(service) if t["ID"] not in self._past]
        return sight(service, tasks, snapshot.nodes, port=self.port)

    # --- starting -------------------------------------------------------------------------------

    async def launch(
        self,
        server: Server,
        *,
        admit: Callable[[Snapshot], None],
        deadline: float,
        still: Callable[[], Awaitable[None]] | None = None,
    ) -> Sighting:
        """Create the service and wait until its port is there; monotonic *deadline*.

        *admit* is called with the very snapshot that the place is chosen from and may raise to
        refuse; nothing else runs between it and the reservation, so a burst of requests cannot
        overrun a limit. *still* is awaited now and then while no machine has room.
        """
        await self._clear_left_over()
        self._past, self._avoid, self._refusals = set(), set(), 0
        snapshot = await self.swarm.snapshot(max_age=1.0)
        admit(snapshot)
        spot = self._choose(snapshot, server.request)
        kwargs = services.spec(server, spot)
        self.swarm.expect(provisional(self.name, services.as_api(kwargs)), under_way=True)
        await self._create(kwargs)
        return await self.until_running(
            deadline=deadline, image=server.image, memory=server.memory, still=still
        )

    async def _create(self, kwargs: dict[str, Any]) -> None:
        # a start that is cancelled must not leave a creation behind that nobody knows of: the
        # thread goes on, and remove() waits for it
        self._creating = asyncio.ensure_future(self._create_and_tell(kwargs))
        self._planned_at = self._clock()
        try:
            await asyncio.shield(self._creating)
        except PASSING as error:
            raise LaunchError(
                f"Docker did not take the server ({reason_of(error)}).", reason="docker"
            ) from error

    async def _create_and_tell(self, kwargs: dict[str, Any]) -> None:
        try:
            made = await self._create_once(kwargs)
        except BaseException:
            self.swarm.forget(self.name)
            raise
        self.swarm.expect({**provisional(self.name, services.as_api(kwargs)), "ID": made})

    async def _create_once(self, kwargs: dict[str, Any]) -> str:
        """The new service's id. An attempt that failed in passing may have worked all the same:
        what Docker lists decides whether there is another."""
        failed = False
        async for attempt in self._retrying(CREATE_DEADLINE):
            with attempt:
                if failed:
                    there = (await self.swarm.call("services", {"name": self.name})) or []
                    same = [s for s in there if s["Spec"]["Name"] == self.name]
                    if same:
                        return str(same[0]["ID"])
                failed = True
                answer = await self.swarm.call("create_service", **kwargs)
                return str(answer["ID"])
        raise AssertionError("the last attempt's error is raised")

    async def _clear_left_over(self) -> None:
        snapshot = await self.swarm.snapshot(max_age=1.0)
        if snapshot.service(self.name) is not None:
            log.warning("%s is there although its server is stopped: removing it", self.name)
            await self.remove()

    async def until_running(
        self,
        *,
        deadline: float,
        image: str,
        memory: int,
        still: Callable[[], Awaitable[None]] | None = None,
    ) -> Sighting:
        """Watch a service that is on its way, and place it anew where its place is lost.

        Raises LaunchError with the reason in words when it cannot start, or at the *deadline*.
        """
        last: Sighting | None = None
        asked_at = self._clock()
        while True:
            try:
                snapshot, seen = await self.look()
            except PASSING as error:
                log.warning("%s: Docker does not answer (%s)", self.name, reason_of(error))
                seen, snapshot = last or Sighting(stage=Stage.PLACING), None
            if self.waiting is not None:
                self.waiting.see(seen)
            if seen.stage is Stage.RUNNING and snapshot is not None:
                return seen
            if snapshot is not None:
                await self._further(snapshot, seen, image=image, memory=memory)
            if self._clock() >= deadline:
                raise LaunchError(too_late(seen, image=image, memory=memory), reason="timeout")
            if still is not None and self._clock() - asked_at >= 10:
                asked_at = self._clock()
                await still()
            last = seen
            await asyncio.sleep(SLOW_STEP if seen.stage is Stage.MACHINE else STEP)

    async def _further(
        self, snapshot: Snapshot, seen: Sighting, *, image: str, memory: int
    ) -> None:
        """What a look during a start leads to; raises LaunchError when that is the end of it."""
        if seen.stage is Stage.GONE:
            raise LaunchError("The server was removed while it started.", reason="removed")
        if seen.stage is Stage.ENDED:
            raise LaunchError(explain(seen, image=image, memory=memory), reason="ended")
        if seen.stage is Stage.REJECTED:
            self._refusals += 1
            words = explain(seen, image=image, memory=memory)
            log.warning("%s refused by %s: %s", self.name, seen.node, seen.words)
            if self._refusals >= MOST_REFUSALS or is_hopeless(seen.words):
                raise LaunchError(words, reason="rejected")
            if self.waiting is not None:
                self.waiting.note(f"{words} Trying again.")
            await self._replan(snapshot, avoid={seen.node})
        elif seen.stage is Stage.LOST:
            await self._replan(snapshot, avoid={seen.node})
        elif seen.stage is Stage.PLACING and self._is_stuck(snapshot, seen):
            await self._replan(snapshot, avoid=set())

    # --- placing --------------------------------------------------------------------------------

    def _choose(self, snapshot: Snapshot, request: Request, *, without: str = "") -> Spot:
        views = snapshot.views(without=without)
        found = place(views, request)
        if isinstance(found, NoFit) and request.avoid:
            # better a machine that refused once than none
            found = place(views, replace(request, avoid=frozenset()))
        port = services.choose_port(
            services.ports_in_use(snapshot.services.values()), chance=self._chance
        )
        if isinstance(found, Placement):
            return Spot(node=found.node.id, published=port)
        log.info("%s: %s; it waits for a machine", self.name, found.reason)
        return Spot(node="", published=port)

    def _is_stuck(self, snapshot: Snapshot, seen: Sighting) -> bool:
        """Pinned to a machine that no longer takes it, and not begun there."""
        if seen.node or not seen.pinned or self._clock() - self._planned_at < SETTLE:
            return False
        service = snapshot.service(self.name)
        if service is None or is_provisional(service):
            return False
        request = request_of(service["Spec"]["TaskTemplate"])
        views = {view.id: view for view in snapshot.views(without=service["ID"])}
        there = views.get(seen.pinned)
        if there is None or not _fits(there, request):
            return True
        return "no suitable node" in seen.words

    async def _replan(self, snapshot: Snapshot, *, avoid: Collection[str]) -> bool:
        """Give the service another place (or none yet, to wait) and swarm a reason to act.

        Returns whether swarm took it; if not, the next look tells what to do.
        """
        present = snapshot.service(self.name)
        if present is None or is_provisional(present):
            return False
        self._avoid |= {node for node in avoid if node}
        request = request_of(present["Spec"]["TaskTemplate"])
        wanted = replace(request, avoid=frozenset(self._avoid))
        spot = self._choose(snapshot, wanted, without=present["ID"])
        kwargs = services.moved(present["Spec"], spot, request)
        past = {task["ID"] for task in snapshot.tasks_of(present)}
        self._planned_at = self._clock()
        log.info("%s goes to %s now", self.name, spot.node or "whichever machine comes")
        updated = {**present, "Spec": services.as_api(kwargs)}
        self.swarm.expect(updated, under_way=True)
        before, self._past = self._past, self._past | past
        try:
            await self.swarm.call(
                "update_service", present["ID"], present["Version"]["Index"], **kwargs
            )
        except PASSING as error:
            # changed or removed meanwhile, or Docker is away: look again
            log.warning("%s: not placed anew (%s)", self.name, reason_of(error))
            self._past = before
            self.swarm.unexpect(self.name)
            return False
        except asyncio.CancelledError:
            self.swarm.unexpect(self.name)
            raise
        self.swarm.expect(updated)
        return True

    # --- running --------------------------------------------------------------------------------

    async def keep(self, snapshot: Snapshot, seen: Sighting, *, patience: float) -> str:
        """A running server's upkeep: nothing to say, or why it has to count as stopped.

        One that lost its machine is placed anew, within bounds, and then has *patience* seconds
        to run again.
        """
        now = self._clock()
        if seen.stage is Stage.RUNNING:
            return ""
        if seen.stage is Stage.GONE:
            return "The server was removed."
        if seen.stage is Stage.ENDED:
            return "ended"
        if seen.stage in COMING:
            if self._moves and now - self._moves[-1] > patience:
                return "No machine took the server after it lost its place."
            if seen.stage is Stage.PLACING and self._is_stuck(snapshot, seen):
                await self._replan(snapshot, avoid=set())
            return ""
        if seen.stage is Stage.REJECTED:
            self._refusals += 1
            if self._refusals >= MOST_REFUSALS or is_hopeless(seen.words):
                return "rejected"
        else:
            self._moves = [at for at in self._moves if now - at < MOVES_WITHIN]
            if len(self._moves) >= MOST_MOVES:
                return "The server lost its machine too often."
        log.warning("%s lost its place on %s (%s)", self.name, seen.node, seen.words)
        if await self._replan(snapshot, avoid={seen.node}):
            self._moves.append(now)
        return ""

    # --- ending ---------------------------------------------------------------------------------

    async def remove(self) -> None:
        """Remove the service and wait, within a bound, until its container is gone.

        Otherwise the old server would answer for some seconds more, also in place of the next
        one. A task on a machine that is down is not waited for. Raises one of PASSING when
        Docker refuses or is away until the deadline.
        """
        if self._creating is not None and not self._creating.done():
            await asyncio.wait([self._creating], timeout=self._stop_deadline)
        service: Json | None = None
        async for attempt in self._retrying(self._stop_deadline):
            with attempt:
                snapshot = await self.swarm.snapshot(max_age=0)
                service = snapshot.service(self.name) or service
                await self._remove_once()
        self.swarm.forget(self.name)
        self._creating = None
        if service is not None:
            await self._until_off(str(service["ID"]))

    async def discard(self) -> None:
        """Remove a service whose server ended: nothing runs, so nothing is waited for."""
        with suppress(*PASSING):
            await self._remove_once()
            self.swarm.forget(self.name)

    async def _remove_once(self) -> None:
        try:
            await self.swarm.call("remove_service", self.name)
        except APIError as error:
            if status_of(error) != 404:
                raise

    async def _until_off(self, service_id: str) -> None:
        deadline = self._clock() + self._stop_deadline
        while self._clock() < deadline:
            try:
                snapshot = await self.swarm.snapshot(max_age=STEP)
            except PASSING as error:
                log.warning("%s: Docker does not answer (%s)", self.name, reason_of(error))
            else:
                left = [t for t in snapshot.tasks.get(service_id, ()) if is_on(t, snapshot.nodes)]
                if not left:
                    return
            await asyncio.sleep(STEP)
        log.warning("%s: its container is still there after %g s", self.name, self._stop_deadline)

    def _retrying(self, seconds: float) -> AsyncRetrying:
        return AsyncRetrying(
            retry=retry_if_exception(is_passing),
            stop=stop_after_delay(seconds),
            wait=wait_exponential(multiplier=0.25, max=5),
            reraise=True,
        )


def _fits(view: NodeView, request: Request) -> bool:
    return view.takes_tasks and view.memory_free >= request.memory and view.cpu_free >= request.cpu
