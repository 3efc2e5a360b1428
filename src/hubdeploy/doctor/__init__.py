"""Checks with a severity and a hint each: can this succeed, is it healthy, what to do."""

from __future__ import annotations

from hubdeploy.doctor import account, chefnodes, configuration, inside, outside, spawn, standing
from hubdeploy.doctor.check import Check, Stage


def all_checks() -> list[type[Check]]:
    """Every check, in the order of the report."""
    return [
        *configuration.CHECKS,
        *account.CHECKS,
        *outside.CHECKS,
        *standing.CHECKS,
        *inside.CHECKS,
        *chefnodes.CHECKS,
        *spawn.CHECKS,
    ]


def for_stage(checks: list[type[Check]], *, standing: bool) -> list[type[Check]]:
    """Those that make sense with (``standing``) or without a deployment."""
    other = Stage.BEFORE if standing else Stage.AFTER
    return [check for check in checks if check.stage is not other]
