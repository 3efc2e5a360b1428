"""Servers in the swarm that the hub does not know of: they hold memory and nobody can reach them.

They are left when the hub's database was lost or restored from a backup, or when Docker failed
while a server was stopped. Since a mistake would end somebody's notebook, a service is removed
only if it bears this deployment's labels, nothing has changed it for ten minutes, and the hub has
said twice, a while apart and the second time about this very user, that there is no such server
running, starting or stopping. It is removed by its id, never by its name, which a new server may
have by then. Users' files are not touched. While the hub does not answer, nothing is removed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import requests

from hubdeploy.config.names import LABEL_DEPLOYMENT, LABEL_SERVER, LABEL_USER
from hubdeploy.errors import HubdeployError
from hubdeploy.hub.fleet.act import Done
from hubdeploy.hub.fleet.model import Action
from hubdeploy.hub.fleet.swarm import Json, Swarm, SwarmError, when
from hubdeploy.hub.fleet.wiring import SCOPES, SWEEP_EVERY

log = logging.getLogger(__name__)

SETTLED = 600.0
"""Seconds since a service's last change before it may count as an orphan."""
PAGE = 200
TIMEOUT = 30.0


class HubUnknown(HubdeployError):
    """The hub did not say which servers it knows."""


@dataclass(frozen=True, kw_only=True)
class Orphan:
    """A suspect: the service's id, its name, and whose server it claims to be."""

    service: str
    name: str
    user: str
    server: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoveServer(Action):
    """Remove a server from the swarm that the hub does not know of."""

    name: str

    @property
    def subject(self) -> str:
        return self.name


def suspects(
    services: Iterable[Mapping[str, Any]],
    known: Mapping[str, frozenset[str]],
    *,
    deployment: str,
    now: float,
) -> list[Orphan]:
    """Settled services of *deployment* (as ``GET /services`` shows them) that are not among the
    *known* servers (user to names of servers, ``""`` for the default one)."""
    found = []
    for service in services:
        spec = service.get("Spec") or {}
        labels = spec.get("Labels") or {}
        user = labels.get(LABEL_USER)
        if not user or labels.get(LABEL_DEPLOYMENT) != deployment:
            continue
        changed = max(when(service.get("CreatedAt", "")), when(service.get("UpdatedAt", "")))
        server = labels.get(LABEL_SERVER, "")
        if now - changed >= SETTLED and server not in known.get(user, ()):
            found.append(
                Orphan(service=service["ID"], name=spec.get("Name", ""), user=user, server=server)
            )
    return found


class Hub:
    """Which servers the hub knows, by its API. Methods raise HubUnknown."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._session = requests.Session()
        # the hub is on this machine: no proxy of the environment is meant for it
        self._session.trust_env = False
        self._session.headers.update(
            {
                "Authorization": f"token {token}",
                "Accept": "application/jupyterhub-pagination+json",
            }
        )

    def servers(self) -> dict[str, frozenset[str]]:
        """User to the names of servers that run, start or stop."""
        found: dict[str, frozenset[str]] = {}
        offset: int | None = 0
        while offset is not None:
            page = self._get(f"/users?state=active&limit={PAGE}&offset={offset}")
            for user in page.get("items", [{}]):
                found[user.get("name", "")] = _servers(user)
            following = (page.get("_pagination") or {}).get("next")
            offset = following["offset"] if following else None
        return found

    def servers_of(self, user: str) -> frozenset[str]:
        """The same of one user; none for one that the hub does not have."""
        return _servers(self._get(f"/users/{quote(user, safe='')}", missing={"servers": {}}))

    def _get(self, path: str, *, missing: Json | None = None) -> Json:
        try:
            answer = self._session.get(f"{self._url}{path}", timeout=TIMEOUT)
            # the API's own 404, not one of something in between
            if answer.status_code == 404 and missing is not None and "status" in answer.json():
                return missing
            answer.raise_for_status()
            found = answer.json()
        except (requests.RequestException, ValueError) as error:
            raise HubUnknown(f"the hub does not say which servers it knows: {error}") from error
        return found if isinstance(found, dict) else {}


def _servers(user: Mapping[str, Any]) -> frozenset[str]:
    if "servers" not in user:
        raise HubUnknown(
            "the hub does not let the fleet see who has servers",
            hint="c.JupyterHub.load_roles gives the service 'fleet' " + " and ".join(SCOPES),
        )
    return frozenset(user["servers"])


class Sweeper:
    """Looks for orphans in a thread of its own. ``note`` keeps what was done for the page."""

    def __init__(
        self,
        swarm: Swarm,
        hub: Hub,
        *,
        deployment: str,
        note: Callable[[float, Done], None],
        clock: Callable[[], float] = time.time,
        every: float = SWEEP_EVERY,
    ) -> None:
        self._swarm = swarm
        self._hub = hub
        self._deployment = deployment
        self._note = note
        self._clock = clock
        self._every = every
        self._suspected: frozenset[Orphan] = frozenset()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="orphans", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        # the first look comes late: a hub that has just started is still finding its servers
        while not self._stop.wait(self._every):
            try:
                self.sweep()
            except HubdeployError as error:
                log.warning("servers without the hub's knowledge are not looked for: %s", error)

    def sweep(self) -> list[Orphan]:
        """One look; what was removed. Raises HubUnknown or SwarmError, having removed nothing
        that it was not sure of."""
        now = self._clock()
        # the services first: what is started meanwhile is then known to the hub
        services = self._swarm.services()
        known = self._hub.servers()
        found = frozenset(suspects(services, known, deployment=self._deployment, now=now))
        again = sorted(found & self._suspected, key=lambda orphan: orphan.name)
        for orphan in found - self._suspected:
            log.info("%s: the hub knows no such server; it is looked at again", orphan.name)
        self._suspected = found
        return [orphan for orphan in again if self._remove(orphan, now)]

    def _remove(self, orphan: Orphan, now: float) -> bool:
        if orphan.server in self._hub.servers_of(orphan.user):
            return False
        action = RemoveServer(
            reason=f"the hub knows no such server of {orphan.user} (looked twice)",
            name=orphan.name,
        )
        try:
            self._swarm.remove_service(orphan.service)
        except SwarmError as error:
            self._note(now, Done(action=action, ok=False, outcome=error.message))
            return False
        log.warning("%s removed: %s", orphan.name, action.reason)
        self._note(now, Done(action=action))
        return True
