"""A doctor for a deployment, and a way to see one check's findings."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.plugins.standing import Standing

from hubdeploy.doctor import all_checks
from hubdeploy.doctor.check import Report, run
from hubdeploy.doctor.context import DoctorContext
from hubdeploy.remote.ssm import SsmChannel

Examine = Callable[..., Report]


@pytest.fixture
def examine() -> Examine:
    """``examine(deployment, "aws.quotas", fix=False)``: the report of that one check."""

    def look(
        deployment: Standing,
        name: str,
        *,
        fix: bool = False,
        sandbox: bool = False,
        resolver: tuple[str, int] | None = None,
    ) -> Report:
        ctx = DoctorContext(
            config=deployment.config,
            names=deployment.names,
            aws=deployment.aws,
            channel=SsmChannel(aws=deployment.aws, bucket=deployment.names.bucket, every=0.2),
            sandbox=sandbox,
            resolver=resolver,
        )
        (check,) = [check for check in all_checks() if check.name == name]
        (report,) = run([check(ctx)], fix=fix)
        return report

    return look
