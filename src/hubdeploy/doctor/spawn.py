"""``doctor --spawn``: a server is really started, a cell run, a file kept, the server stopped."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import ClassVar

from hubdeploy.config.names import Role
from hubdeploy.doctor.check import Check, Stage
from hubdeploy.pipeline.step import Finding

WALK = "/opt/hubdeploy/hub/bin/python -m hubdeploy.hub.walk"
SPARE = 60.0
"""Seconds beyond the hub's own bound on a start, for the steps after it."""


class Walk(Check):
    """On the leader, as the health check's own user, through nginx and the proxy."""

    name = "spawn.walk"
    title = "A server starts and runs a notebook cell"
    stage: ClassVar[Stage] = Stage.AFTER
    deadline: ClassVar[float] = 1200.0

    def find(self) -> Iterable[Finding]:
        seconds = self.ctx.config.hub.start_timeout + SPARE
        # the walk's own exit code says no more than its answer does, and hides it
        command = f"{WALK} --seconds {seconds:.0f} || true"
        text = self.ctx.on_leader(command, deadline=min(self.deadline, seconds + 3 * SPARE))
        try:
            found = json.loads(text.strip().splitlines()[-1])
        except (ValueError, IndexError):
            yield self.error(
                f"the walk on the {Role.LEADER} said nothing that can be read",
                hint="hubdeploy logs hub",
            )
            return
        if not found["ok"]:
            last = f" (last: {found['told']})" if found.get("told") else ""
            yield self.error(
                f"{found['error']}{last}", hint=found.get("hint") or "hubdeploy logs hub"
            )


CHECKS: list[type[Check]] = [Walk]
