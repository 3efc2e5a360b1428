"""The Docker-Swarm spawner: JupyterHub's side of a user's server.

What differs from the stock SwarmSpawner, each for a failure seen with it: the server goes to the
fullest worker that fits (so that others empty out and can be ended), every state before 'running'
counts as alive, a server that lost its machine gets another one and the proxy is told at once,
removal waits for the container to be gone, the scheduler's own words reach the user, and one look
at the swarm serves all servers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from dockerspawner import SwarmSpawner
from jupyterhub.spawner import SpawnException
from tornado.web import HTTPError
from traitlets import Dict, Float, Int, List, Unicode, default

from hubdeploy.config import names
from hubdeploy.config.limits import Limits
from hubdeploy.errors import HubdeployError
from hubdeploy.hub import engine, homes, profiles
from hubdeploy.hub.admission import FLEET_URL, Admission, ask_fleet, ask_limits, local_answer
from hubdeploy.hub.launch import Launcher, LaunchError
from hubdeploy.hub.placement import Request
from hubdeploy.hub.progress import ENDED, Times, Waiting, events
from hubdeploy.hub.service import NANO, Bind, Server, service_name
from hubdeploy.hub.swarm import PASSING, Json, Snapshot, Swarm
from hubdeploy.hub.tasks import COMING, Sighting, Stage, explain

LIMITS_EVERY = 15.0
"""Seconds between looks at the live limits."""
SILENT = 5.0
"""Seconds for which a fleet service that did not answer is not asked again."""
SPARE = 5.0
"""Seconds by which the spawner gives up before the hub does, to say why in its own words."""


class HubSpawner(SwarmSpawner):  # type: ignore[misc]
    """Runs each server as a swarm service on the worker that it fits best."""

    deployment = Unicode("", config=True, help="Name of the deployment, a label on each service.")
    offered = List(config=True, help="Choices of the spawn page (hubdeploy.hub.profiles.Choice).")
    kept_types = List(config=True, help="Instance types for the profiles alone that name them.")
    shared_folders = List(
        Dict(), config=True, help="Shared folders: dicts with name, mount and writable."
    )
    home_mount = Unicode("/home/jovyan", config=True, help="Where users see their own folder.")
    homes_dir = Unicode(names.HOMES_DIR, config=True, help="Parent of users' folders.")
    shared_dir = Unicode(names.SHARED_DIR, config=True, help="Parent of shared folders.")
    efs_dir = Unicode(
        names.EFS_DIR, config=True, help="Has to be a mount point when a server starts; empty: no."
    )
    user_environment = Dict(config=True, help="User name to environment variables.")
    limits = Dict(config=True, help="Limits that hold while the fleet service does not answer.")
    servers_per_user = Int(1, min=1, config=True, help="A default and so many named servers.")
    fleet_url = Unicode(FLEET_URL, config=True, help="The fleet service; empty: there is none.")
    fleet_token_file = Unicode("", config=True, help="Holds the token for the fleet's admission.")
    times_file = Unicode("", config=True, help="Keeps how long starts took; empty: in memory.")
    stop_deadline = Float(60.0, config=True, help="Seconds that a stop waits for the container.")

    _swarm: ClassVar[Swarm | None] = None
    _times: ClassVar[Times | None] = None
    _limits_at: ClassVar[float] = -LIMITS_EVERY
    _fleet_silent_until: ClassVar[float] = 0.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._launch: Launcher | None = None
        self._waiting: Waiting | None = None
        self._chosen: profiles.Choice | None = None
        self._rerouting = False
        self._docker_away = False
        self.ended = ""

    # --- parts ----------------------------------------------------------------------------------

    @property
    def swarm(self) -> Swarm:
        """One for all spawners of the hub."""
        if HubSpawner._swarm is None:
            more = dict(self.client_kwargs)
            HubSpawner._swarm = Swarm(lambda: engine.connect(**more))
        return HubSpawner._swarm

    @property
    def times(self) -> Times:
        if HubSpawner._times is None:
            HubSpawner._times = Times.load(Path(self.times_file) if self.times_file else None)
        return HubSpawner._times

    @property
    def launcher(self) -> Launcher:
        if self._launch is None or self._launch.name != self.object_name:
            self._launch = Launcher(
                self.swarm, self.object_name, port=self.port, stop_deadline=self.stop_deadline
            )
        return self._launch

    @default("object_name")  # type: ignore[untyped-decorator]
    def _object_name_default(self) -> str:
        return service_name(self.user.name, self.name)

    # --- choosing -------------------------------------------------------------------------------

    @default("options_form")  # type: ignore[untyped-decorator]
    def _default_options_form(self) -> str | Callable[[Any], str]:
        if len(self.offered) < 2:
            return ""
        # made anew each time, so that the last choice is the one that is ticked
        return lambda spawner: profiles.form(
            spawner.offered, chosen=(spawner.user_options or {}).get(profiles.FIELD, "")
        )

    @default("options_from_form")  # type: ignore[untyped-decorator]
    def _default_options_from_form(self) -> Callable[[dict[str, list[str]]], dict[str, str]]:
        return profiles.from_form

    @default("apply_user_options")  # type: ignore[untyped-decorator]
    def _default_apply_user_options(self) -> Callable[[Any, dict[str, Any]], None]:
        return lambda spawner, options: spawner.choose(options)

    def choose(self, options: dict[str, Any]) -> None:
        """Take on the profile that *options* name. HTTP 400 for anything that is not offered."""
        try:
            choice = profiles.choose(self.offered, options)
        except HubdeployError as error:
            raise HTTPError(400, f"{error.message}; {error.hint}") from error
        self._chosen = choice
        self.image = choice.image
        self.mem_guarantee = self.mem_limit = choice.memory
        self.cpu_guarantee = choice.cpu

    @property
    def request(self) -> Request:
        """What the server reserves."""
        return Request(
            memory=int(self.mem_guarantee or 0),
            cpu=int((self.cpu_guarantee or 0) * NANO),
            instance_type=self._chosen.instance_type if self._chosen else "",
            kept=frozenset(self.kept_types),
        )

    def get_env(self) -> dict[str, str]:
        env: dict[str, str] = super().get_env()
        env.update(self.user_environment.get(self.user.name, {}))
        return {name: str(value) for name, value in env.items() if value is not None}

    # --- starting -------------------------------------------------------------------------------

    async def start(self) -> tuple[str, int]:
        """Address and port of the running notebook. SpawnException says why there is none."""
        if self._chosen is None:
            self.choose(self.user_options or {})
        self.ended = ""
        self._waiting = Waiting(self.times, time.monotonic, image=self.image)
        deadline = time.monotonic() + max(1.0, self.start_timeout - SPARE)
        try:
            seen = await self._start(deadline)
        except LaunchError as error:
            self.log.warning("%s does not start: %s", self._log_name, error.message)
            self.ended = error.message
            status = 503 if error.reason in ("docker", "timeout") else 400
            raise SpawnException(error.message, reason=error.reason, status_code=status) from error
        except homes.HomeError as error:
            self.log.error("%s: %s (%s)", self._log_name, error.message, error.hint)
            raise SpawnException(
                "Your files cannot be reached at the moment. Try again later, or ask an admin.",
                reason="files",
                log_message=error.message,
                status_code=503,
            ) from error
        except PASSING as error:
            self.log.error("%s: Docker does not answer: %s", self._log_name, error)
            raise SpawnException(
                "The hub cannot reach its machines at the moment. Try again in a minute.",
                reason="docker",
                status_code=503,
            ) from error
        self._waiting.finish()
        self._waiting.enter(Stage.RUNNING)
        return seen.address, seen.port

    async def _start(self, deadline: float) -> Sighting:
        launcher = self.launcher
        launcher.waiting = self._waiting
        answer = await self._ask()
        binds = await asyncio.to_thread(self._folders)

        async def still() -> None:
            # who was let in stays in: this only brings the words and the estimate up to date
            if launcher.waiting and launcher.waiting.stage is Stage.MACHINE:
                await self._ask(refuse=False)

        def admit(snapshot: Snapshot) -> None:
            if answer is None:
                self._refuse_unless(self._by_limits(snapshot))

        seen = await launcher.launch(
            self._wanted(binds), admit=admit, deadline=deadline, still=still
        )
        self.object_id = await self._service_id()
        return seen

    async def _service_id(self) -> str:
        service = (await self.swarm.snapshot(max_age=5)).service(self.object_name)
        return str(service["ID"]) if service else ""

    async def _ask(self, *, refuse: bool = True) -> Admission | None:
        """The fleet's answer; None: it gave none. Raises SpawnException when it refuses."""
        if not self.fleet_url or time.monotonic() < HubSpawner._fleet_silent_until:
            return None
        answer = await asyncio.to_thread(
            ask_fleet,
            self.user.name,
            self.request,
            url=self.fleet_url,
            token_file=self._fleet_token,
        )
        if answer is None:
            # a fleet that hangs must not hold up everybody's start, one timeout after the other
            HubSpawner._fleet_silent_until = time.monotonic() + SILENT
            return None
        if refuse:
            self._refuse_unless(answer)
        if self._waiting is not None:
            self._waiting.tell(reason=answer.reason.rstrip("."), eta=answer.eta)
        return answer

    @property
    def _fleet_token(self) -> Path | None:
        return Path(self.fleet_token_file) if self.fleet_token_file else None

    async def _follow_limits(self) -> None:
        """Let the hub's own bound on servers follow the live limit of users."""
        now = time.monotonic()
        if not self.fleet_url or now - HubSpawner._limits_at < LIMITS_EVERY:
            return
        HubSpawner._limits_at = now
        limits = await asyncio.to_thread(
            ask_limits, url=self.fleet_url, token_file=self._fleet_token
        )
        if limits is not None:
            most = limits.max_concurrent_users * self.servers_per_user
            # what the handlers read is the web application's own copy of the settings
            running = self.user.settings["app"].tornado_application.settings
            if running.get("active_server_limit") != most:
                self.log.info("At most %s servers may be active now", most or "any number of")
            running["active_server_limit"] = most

    def _by_limits(self, snapshot: Snapshot) -> Admission:
        return local_answer(
            self.user.name,
            self.request,
            limits=Limits.from_mapping(self.limits),
            active_users=snapshot.users(),
            nodes=snapshot.views(),
        )

    def _refuse_unless(self, answer: Admission) -> None:
        if not answer.allowed:
            text = answer.reason or "There is no room for another server. Try again later."
            raise SpawnException(text, reason="limit", status_code=429)

    def _folders(self) -> list[Bind]:
        mount = Path(self.efs_dir) if self.efs_dir else None
        home = homes.ensure_home(self.user.name, parent=Path(self.homes_dir), mount=mount)
        binds = [Bind(source=str(home), target=self.home_mount)]
        for folder in self.shared_folders:
            path = homes.ensure_shared(
                folder["name"],
                parent=Path(self.shared_dir),
                writable=folder["writable"],
                mount=mount,
            )
            binds.append(
                Bind(source=str(path), target=folder["mount"], read_only=not folder["writable"])
            )
        return binds

    def _wanted(self, binds: Sequence[Bind]) -> Server:
        return Server(
            name=self.object_name,
            user=self.user.name,
            server=self.name,
            deployment=self.deployment,
            image=self.image,
            args=[*self.cmd, *self.get_args()],
            env=self.get_env(),
            binds=binds,
            memory=self.request.memory,
            cpu=self.request.cpu,
            cpu_limit=int((self.cpu_limit or 0) * NANO),
            port=self.port,
            instance_type=self.request.instance_type,
            kept=self.request.kept,
        )

    async def progress(self) -> AsyncGenerator[dict[str, Any], None]:
        """Events for the page that a waiting user sees: at each change, and every ten seconds."""
        async for event in events(lambda: self._spawn_pending, lambda: self._waiting):
            yield event

    # --- watching -------------------------------------------------------------------------------

    async def poll(self) -> int | str | None:
        """None while the server is alive, which it also is while nothing can be learnt of it."""
        try:
            snapshot, seen = await self.launcher.look(max_age=max(1.0, self.poll_interval / 2))
            if seen.stage is Stage.GONE:
                # a listing may be older than the service
                snapshot, seen = await self.launcher.look(max_age=0)
        except PASSING as error:
            if not self._docker_away:
                self.log.warning("%s: Docker does not answer: %s", self._log_name, error)
            self._docker_away = True
            return None
        self._docker_away = False
        if seen.stage is Stage.RUNNING:
            await self._follow(seen)
            await self._follow_limits()
            return None
        if self._spawn_pending or self._stop_pending or self._start_pending:
            return await self._final(seen) if seen.stage not in (*COMING, Stage.LOST) else None
        why = await self.launcher.keep(snapshot, seen, patience=float(self.start_timeout))
        if why:
            return await self._final(seen, why)
        return None

    async def _final(self, seen: Sighting, why: str = "") -> int | str:
        """The server is over: clear its service away (the hub does not stop what has stopped)."""
        if seen.stage is Stage.GONE:
            return 0
        text = explain(seen, image=self.image, memory=seen.memory or self.request.memory)
        if seen.stage in (*COMING, Stage.LOST):
            text = why or text
        self.log.warning("%s: %s", self._log_name, text)
        self.ended = text
        await self.launcher.discard()
        return text

    async def _follow(self, seen: Sighting) -> None:
        """The server has another address than the proxy knows: tell it at once."""
        if not (self.ready and self.server and seen.address):
            return
        now = (self.server.ip, self.server.port)
        if now == (seen.address, seen.port) and not self._rerouting:
            return
        self.log.warning("%s is at %s:%s now", self._log_name, seen.address, seen.port)
        self._rerouting = True
        self.server.ip, self.server.port = seen.address, seen.port
        self.user.db.commit()
        try:
            await self.user.settings["proxy"].add_user(self.user, self.name)
        except Exception as error:  # noqa: BLE001 - whatever the proxy's client raises
            self.log.warning("%s: the proxy was not told (%s)", self._log_name, error)
        else:
            self._rerouting = False

    async def get_url(self) -> str:
        """After a restart of the hub: where the server is, waiting for one that is on its way."""
        try:
            seen = await self.launcher.until_running(
                deadline=time.monotonic() + self.start_timeout,
                image=self.image,
                memory=self.request.memory,
            )
        except (LaunchError, *PASSING) as error:
            self.log.warning("%s: %s", self._log_name, error)
            return str(self.server.url)
        base = self.server.base_url if self.server else "/"
        return f"http://{seen.address}:{seen.port}{base}"

    # --- stopping -------------------------------------------------------------------------------

    async def stop(self, now: bool = False) -> None:  # noqa: ARG002 - the hub's signature
        """Remove the service and wait for its container to go. Users' files are left alone."""
        await self.launcher.remove()
        self.object_id = ""
        self.ended = ""
        self.clear_state()

    # --- what is kept ---------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """For the hub's database. Why a server ended outlives both it and the hub."""
        state: dict[str, Any] = super().get_state()
        return {**state, ENDED: self.ended} if self.ended else state

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.ended = str(state.get(ENDED) or "")

    async def get_object(self) -> Json | None:
        """The service as Docker shows it, None when there is none."""
        return (await self.swarm.snapshot(max_age=0)).service(self.object_name)
