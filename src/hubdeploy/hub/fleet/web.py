"""The service's HTTP side: page, buttons, metrics, and the spawner's question.

Everything but ``health``, ``static`` and the OAuth callback asks who is there. The page and its
buttons go by the hub's login and admit whom the hub gives ``access:services!service=fleet``, which
by default is its admins; forms carry the hub's XSRF token. The spawner and Prometheus show tokens
that only the leader's root can read.
"""

from __future__ import annotations

import hmac
import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jupyterhub.services.auth import HubOAuthCallbackHandler, HubOAuthenticated
from tornado.ioloop import IOLoop
from tornado.web import Application, HTTPError, RequestHandler, StaticFileHandler, authenticated

from hubdeploy.config.limits import Limits, parse_size
from hubdeploy.errors import ConfigError, HubdeployError
from hubdeploy.hub.fleet import metrics
from hubdeploy.hub.fleet.disk import Scanner
from hubdeploy.hub.fleet.loop import FleetLoop
from hubdeploy.hub.fleet.model import Activate, Cordon, Life, Pending, Why, Worker
from hubdeploy.hub.fleet.page.render import CHART_SPAN, STATIC, page
from hubdeploy.hub.fleet.store import Store
from hubdeploy.hub.fleet.use import Reader

log = logging.getLogger(__name__)

BIGGEST = 20
"""Folders shown on the page."""
MOST_NODES = 500


@dataclass(frozen=True, kw_only=True)
class Context:
    """What the handlers share. The tokens are read anew each time, so that they may change."""

    loop: FleetLoop
    store: Store
    scanner: Scanner
    reader: Reader
    prefix: str
    spawner_token: Callable[[], tuple[str, ...]]
    metrics_token: Callable[[], tuple[str, ...]]


class Base(RequestHandler):  # type: ignore[misc]
    """Headers that every answer has."""

    context: Context

    def initialize(self, context: Context) -> None:
        self.context = context

    def set_default_headers(self) -> None:
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header(
            "Content-Security-Policy",
            "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
            "img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        )

    def shows(self, tokens: tuple[str, ...]) -> bool:
        """Whether the request bears one of *tokens*."""
        kind, _, shown = self.request.headers.get("Authorization", "").partition(" ")
        if kind.lower() not in ("token", "bearer"):
            return False
        return any(token and hmac.compare_digest(shown.strip(), token) for token in tokens)

    def answer(self, data: object, status: int = 200) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(data))


class Admin(HubOAuthenticated, Base):  # type: ignore[misc]
    """For people whom the hub lets use this service."""

    def back(self, notice: str) -> None:
        self.redirect(f"{self.context.prefix}?notice={quote(notice)}")

    def worker(self) -> Worker:
        """The worker that the form names; 404 if the fleet does not know it."""
        name = self.get_body_argument("instance")
        seen = self.context.loop.view.seen
        found = next((w for w in seen.workers if w.instance == name), None) if seen else None
        if found is None or not found.node:
            raise HTTPError(404, f"no such machine: {name}")
        return found

    async def off_loop(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run what blocks in a thread; what cannot be done becomes 502 with the reason."""
        try:
            return await IOLoop.current().run_in_executor(None, function, *args)
        except HubdeployError as error:
            raise HTTPError(502, error.message) from error

    @property
    def who(self) -> str:
        return str((self.current_user or {}).get("name", ""))


class Page(Admin):
    @authenticated  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        context, now = self.context, time.time()
        folder = context.store.folder / "failed"
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(
            page(
                context.loop.view,
                prefix=context.prefix,
                xsrf=self.xsrf_token.decode(),
                user=self.who,
                samples=context.store.samples(now - CHART_SPAN),
                decisions=context.store.decisions(50),
                usage=context.scanner.usage[:BIGGEST],
                use=context.reader.use,
                failed_logs=sorted(file.stem for file in folder.glob("*.log")),
                now=now,
                notice=self.get_query_argument("notice", "")[:200],
            )
        )


class State(Admin):
    """The same as JSON, for scripts with a hub token that may access the service."""

    @authenticated  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        view = self.context.loop.view
        self.answer(
            {
                "seen": asdict(view.seen) if view.seen else None,
                "limits": json.loads(view.limits.to_json()),
                "actions": [
                    {"kind": type(a).__name__, "subject": a.subject, "reason": a.reason}
                    for a in view.actions
                ],
                "use": {name: asdict(use) for name, use in self.context.reader.use.items()},
                "error": view.error,
                "boot_seconds": view.boot_seconds,
            }
        )


class Drain(Admin):
    @authenticated  # type: ignore[untyped-decorator]
    async def post(self) -> None:
        worker = self.worker()
        if worker.life is not Life.ACTIVE:
            raise HTTPError(409, f"{worker.instance} is {worker.life}")
        action = Cordon(
            reason=f"{self.who} asked for it on the page",
            instance=worker.instance,
            node=worker.node,
            why=Why.OPERATOR,
        )
        await self.off_loop(self.context.loop.by_hand, action)
        self.back(f"{worker.instance} takes no new servers and ends when its last has stopped.")


class Undrain(Admin):
    @authenticated  # type: ignore[untyped-decorator]
    async def post(self) -> None:
        worker = self.worker()
        if worker.life is not Life.CORDONED or worker.why is not Why.OPERATOR:
            raise HTTPError(409, f"{worker.instance} is {worker.life}")
        action = Activate(
            reason=f"{self.who} asked for it on the page",
            instance=worker.instance,
            node=worker.node,
        )
        await self.off_loop(self.context.loop.by_hand, action)
        self.back(f"{worker.instance} takes servers again.")


class ChangeLimits(Admin):
    @authenticated  # type: ignore[untyped-decorator]
    async def post(self) -> None:
        text = self.get_body_argument("max_nodes")
        before: Limits = self.context.loop.view.limits
        try:
            after = replace(before, max_nodes=int(text))
        except (ValueError, ConfigError) as error:
            raise HTTPError(400, getattr(error, "message", f"not a number: {text}")) from error
        if after.max_nodes > MOST_NODES:
            raise HTTPError(400, f"at most {MOST_NODES} machines")
        await self.off_loop(self.context.loop.change_limits, after, f"{self.who} on the page")
        log.info("%s changed max_nodes from %d to %d", self.who, before.max_nodes, after.max_nodes)
        self.back(f"At most {after.max_nodes} machines from now on (was {before.max_nodes}).")


class Resume(Admin):
    @authenticated  # type: ignore[untyped-decorator]
    async def post(self) -> None:
        self.context.loop.resume()
        log.info("%s let machines be started again", self.who)
        self.back("Machines are started again.")


class Failed(Admin):
    @authenticated  # type: ignore[untyped-decorator]
    async def get(self, name: str) -> None:
        text = self.context.store.console(name)
        if text is None:
            raise HTTPError(404)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(text)


class Admission(Base):
    """``GET api/admission?user=&memory=&cpu=&type=``: memory as bytes or 2G, cpu in cores."""

    def get(self) -> None:
        if not self.shows(self.context.spawner_token()):
            raise HTTPError(403)
        try:
            request = Pending(
                user=self.get_query_argument("user"),
                memory=parse_size(self.get_query_argument("memory"), what="memory"),
                cpu=int(float(self.get_query_argument("cpu", "0") or 0) * 10**9),
                instance_type=self.get_query_argument("type", ""),
                since=time.time(),
            )
        except (ValueError, ConfigError) as error:
            raise HTTPError(400, str(error)) from error
        self.answer(asdict(self.context.loop.admission(request)))


class LiveLimits(Base):
    """``GET api/limits``: what holds now, for the hub's own bound on running servers."""

    def get(self) -> None:
        if not self.shows(self.context.spawner_token()):
            raise HTTPError(403)
        self.answer(json.loads(self.context.loop.view.limits.to_json()))


class Metrics(Base):
    def get(self) -> None:
        if not self.shows(self.context.metrics_token()):
            raise HTTPError(403)
        self.set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.finish(
            metrics.text(self.context.loop.view, now=time.time(), use=self.context.reader.use)
        )


class Health(Base):
    """Whether the process is there; says nothing that a stranger may not know."""

    def get(self) -> None:
        self.answer({"ok": self.context.loop.view.failed_ticks < 5})


def application(context: Context, *, cookie_secret: bytes) -> Application:
    shared = {"context": context}
    routes: list[Any] = [
        ("", Page, shared),
        ("api/state", State, shared),
        ("api/admission", Admission, shared),
        ("api/limits", LiveLimits, shared),
        ("drain", Drain, shared),
        ("undrain", Undrain, shared),
        ("limits", ChangeLimits, shared),
        ("resume", Resume, shared),
        (r"failed/(i-[0-9a-f]+)", Failed, shared),
        ("metrics", Metrics, shared),
        ("health", Health, shared),
        ("oauth_callback", HubOAuthCallbackHandler, {}),
        (r"static/([a-z.]+)", StaticFileHandler, {"path": str(Path(STATIC))}),
    ]
    return Application(
        [(context.prefix + path, handler, more) for path, handler, more in routes],
        cookie_secret=cookie_secret,
        xsrf_cookies=True,
    )
