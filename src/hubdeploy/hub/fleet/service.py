"""The process: ``python -m hubdeploy.hub.fleet``, started and restarted by the hub.

A tick runs in one thread beside the web server; SIGTERM lets the tick under way finish, so that
no machine's step is cut in two (and if it is: every step may be repeated).
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from tornado.httpserver import HTTPServer

from hubdeploy.config.names import Port
from hubdeploy.errors import ConfigError
from hubdeploy.hub.fleet import chef
from hubdeploy.hub.fleet.cloud import Cloud
from hubdeploy.hub.fleet.disk import Scanner
from hubdeploy.hub.fleet.loop import FleetLoop
from hubdeploy.hub.fleet.only import OnlyOne
from hubdeploy.hub.fleet.orphans import Hub, Sweeper
from hubdeploy.hub.fleet.store import Store
from hubdeploy.hub.fleet.swarm import Swarm
from hubdeploy.hub.fleet.use import Reader
from hubdeploy.hub.fleet.web import Context, application
from hubdeploy.hub.fleet.wiring import FleetSettings, from_environment

log = logging.getLogger(__name__)

LOCK_RETRY = 2.0
HUB_API = f"http://127.0.0.1:{Port.HUB_API}/hub/api"


async def serve(settings: FleetSettings) -> None:
    """Until SIGTERM or SIGINT. Raises ConfigError where the hub's environment is missing."""
    url = urlsplit(os.environ.get("JUPYTERHUB_SERVICE_URL") or f"http://127.0.0.1:{Port.FLEET}")
    prefix = os.environ.get("JUPYTERHUB_SERVICE_PREFIX") or "/services/fleet/"
    api_token = os.environ.get("JUPYTERHUB_API_TOKEN", "")
    if not api_token:
        raise ConfigError("JUPYTERHUB_API_TOKEN is not set", hint="the hub starts this service")
    stop = asyncio.Event()
    running = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        running.add_signal_handler(name, stop.set)
    only = OnlyOne(settings.state)
    while not only.take():
        log.info("another fleet service is still running; waiting for its end")
        if await _stopped_within(stop, LOCK_RETRY):
            return
    store = Store(settings.state)
    fleet = FleetLoop(
        settings,
        cloud=Cloud(settings.names),
        swarm=Swarm(),
        store=store,
        forget_chef=chef.forget,
    )
    scanner = Scanner(settings.homes, settings.state / "usage.json")
    reader = Reader(settings.use, fleet.instances)
    sweeper = Sweeper(
        Swarm(),
        Hub(os.environ.get("JUPYTERHUB_API_URL") or HUB_API, api_token),
        deployment=settings.names.deployment,
        note=store.note,
        every=settings.sweep_every,
    )
    admission = admission_token(settings.state)
    context = Context(
        loop=fleet,
        store=store,
        scanner=scanner,
        reader=reader,
        prefix=prefix,
        spawner_token=lambda: (admission, api_token),
        metrics_token=lambda: (read_token(settings.secrets / "metrics-token"),),
    )
    server = HTTPServer(application(context, cookie_secret=secrets.token_bytes(32)))
    server.listen(url.port or Port.FLEET, address=url.hostname or "127.0.0.1")
    scanner.start()
    reader.start()
    sweeper.start()
    try:
        await _tick_until(stop, fleet)
    finally:
        server.stop()
        await server.close_all_connections()
        scanner.stop()
        reader.stop()
        sweeper.stop()
        store.close()


async def _tick_until(stop: asyncio.Event, fleet: FleetLoop) -> None:
    running = asyncio.get_running_loop()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="fleet") as one:
        while not stop.is_set():
            # a defect of ours must not end the service: it is logged whole and tried again
            (outcome,) = await asyncio.gather(
                running.run_in_executor(one, fleet.tick), return_exceptions=True
            )
            if isinstance(outcome, BaseException):
                if not isinstance(outcome, Exception):
                    raise outcome
                log.error("the fleet's tick failed", exc_info=outcome)
                outcome = fleet.failed(f"internal error: {type(outcome).__name__}: {outcome}")
            await _stopped_within(stop, outcome)


async def _stopped_within(stop: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(stop.wait(), timeout=seconds)
    except TimeoutError:
        return False
    return True


def admission_token(state: Path) -> str:
    """The token that the spawner shows; made once, readable by root alone."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = state / "admission-token"
    try:
        # the hub may start its service twice in a row: whoever comes first makes it
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read_token(file)
    with os.fdopen(handle, "w") as new:
        token = secrets.token_hex(32)
        new.write(token)
    return token


def read_token(file: Path) -> str:
    """A token file's content; empty when there is none, which then admits nobody."""
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def run() -> None:
    settings = from_environment()
    logging.basicConfig(
        level=settings.log_level, format="[%(levelname)1.1s %(asctime)s %(name)s] %(message)s"
    )
    for noisy in ("botocore", "urllib3", "docker", "tornado.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    asyncio.run(serve(settings))
