"""What the shell offers for names: quick, and silent whatever happens.

Machines are asked for at most :data:`PATIENCE`; what was found is kept for the next key.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import typer

PATIENCE = 1.0
"""Seconds that AWS may take."""
FRESH = 30.0
"""Seconds for which the machines found last are offered without asking again."""
Names = list[str]


def channels(incomplete: str) -> Names:
    return _beginning(incomplete, ("auto", "ssm", "ssh"))


def kinds(incomplete: str) -> Names:
    return _beginning(incomplete, ("docker", "simulated"))


def sources(incomplete: str) -> Names:
    from hubdeploy.operate.reading import SOURCES

    return _beginning(incomplete, SOURCES)


def secrets(incomplete: str) -> Names:
    from hubdeploy.operate.secrets import NAMES

    return _beginning(incomplete, NAMES)


def checks(incomplete: str) -> Names:
    with contextlib.suppress(Exception):
        from hubdeploy.doctor import all_checks

        return _beginning(incomplete, sorted(check.name for check in all_checks()))
    return []


def single(ctx: typer.Context, incomplete: str) -> Names:
    """One machine: its label or id."""
    return _beginning(incomplete, _machines(ctx.params))


def several(ctx: typer.Context, incomplete: str) -> Names:
    """Also a role, or all."""
    return _beginning(incomplete, ("all", *_roles(), *_machines(ctx.params)))


def logs(ctx: typer.Context, incomplete: str) -> Names:
    """A log, a user's server, a machine, the archive."""
    if incomplete.startswith("user/"):
        return _beginning(incomplete, (f"user/{name}" for name in _users(ctx.params)))
    from hubdeploy.operate.logs import UNITS

    fixed = _beginning(incomplete, (*UNITS, "export", "user/"))
    machines = _beginning(incomplete, (*_roles(), *_machines(ctx.params)))
    return list(dict.fromkeys((*fixed, *machines)))


def _roles() -> Names:
    from hubdeploy.config.names import Role

    return [role.value for role in Role]


def _beginning(incomplete: str, names: Iterable[str]) -> Names:
    return list(dict.fromkeys(name for name in names if name.startswith(incomplete)))


def _users(params: dict[str, Any]) -> Names:
    """Those whom the configuration names: nobody is asked who else there is."""
    with contextlib.suppress(Exception):
        from hubdeploy.config.load import load

        hub = load(Path(params["config"])).hub
        return sorted({*hub.admins, *hub.authenticator.allowed_users})
    return []


def _machines(params: dict[str, Any]) -> Names:
    """Labels and ids, leader first; empty where nothing can be found out in time."""
    # a shell that is asked for names must never see an error instead
    with contextlib.suppress(Exception):
        from hubdeploy.cli.deployment import state_dir

        which = [str(params.get(name)) for name in ("sandbox", "profile", "region")]
        where = " ".join([str(Path(params.get("config") or "hubdeploy.toml").resolve()), *which])
        kept = state_dir() / "names" / f"{_digest(where)}.json"
        known = _read(kept)
        if known is None or time.time() - kept.stat().st_mtime > FRESH:
            found = _within(PATIENCE, lambda: _asked(params))
            if found is not None:
                known = found
                kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                kept.write_text(json.dumps(found), encoding="utf-8")
        return known or []
    return []


def _asked(params: dict[str, Any]) -> Names:
    from hubdeploy.cli.deployment import open_deployment
    from hubdeploy.operate.status import machines

    opened = open_deployment(
        path=Path(params.get("config") or "hubdeploy.toml"),
        sandbox=bool(params.get("sandbox")),
        profile=params.get("profile"),
        region=params.get("region"),
        logged=False,
    )
    there = machines(aws=opened.aws, names=opened.names)
    return [*(m.label for m in there), *(m.instance_id for m in there)]


def _within(seconds: float, ask: Callable[[], Names]) -> Names | None:
    """None if it fails or takes longer; then it is left behind."""
    found: list[Names] = []

    def work() -> None:
        with contextlib.suppress(Exception):
            found.append(ask())

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    return found[0] if found else None


def _read(path: Path) -> Names | None:
    try:
        return [str(name) for name in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError):
        return None


def _digest(text: str) -> str:
    from hashlib import sha256

    return sha256(text.encode()).hexdigest()[:16]
