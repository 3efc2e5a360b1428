"""Checks with a severity and a hint each: can this succeed, is it healthy, what to do."""

from __future__ import annotations

from hubdeploy.doctor import (
    account,
    capacity,
    chefnodes,
    chefpackages,
    configuration,
    files,
    hubhealth,
    inside,
    leftovers,
    outside,
    reach,
    spawn,
    standing,
    taken,
)
from hubdeploy.doctor.check import Check, Stage


def all_checks() -> list[type[Check]]:
    """Every check, in the order of the report."""
    return [
        *configuration.CHECKS,
        *account.CHECKS,
        *capacity.CHECKS,
        *taken.CHECKS,
        *outside.CHECKS,
        *chefpackages.CHECKS,
        *leftovers.CHECKS,
        *standing.CHECKS,
        *files.CHECKS,
        *inside.CHECKS,
        *hubhealth.CHECKS,
        *reach.CHECKS,
        *chefnodes.CHECKS,
        *spawn.CHECKS,
    ]


def for_stage(
    checks: list[type[Check]], *, standing: bool, offline: bool = False
) -> list[type[Check]]:
    """Those that make sense with (``standing``) or without a deployment.

    ``offline``: those that have something to say without credentials, and the one that says that
    they are missing, so that no choice of checks passes for healthy.
    """
    other = Stage.BEFORE if standing else Stage.AFTER
    fitting = [check for check in checks if check.stage is not other]
    if not offline:
        return fitting
    spoken = [check for check in fitting if check.offline]
    return spoken if account.Credentials in spoken else [*spoken, account.Credentials]
