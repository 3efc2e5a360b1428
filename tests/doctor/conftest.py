"""A doctor for a deployment, and a way to see one check's findings."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.plugins.standing import Standing

from hubdeploy.doctor import all_checks
from hubdeploy.doctor.check import Report, run
from hubdeploy.doctor.context import DoctorContext
from hubdeploy.operate import status
from hubdeploy.remote.ssm import SsmChannel
from hubdeploy.sandbox.machines.shell import said as prints

Examine = Callable[..., Report]


def said(report: Report) -> str:
    """All that a check found, in one line."""
    return " | ".join(finding.message for finding in report.findings)


def machine(standing: Standing, label: str) -> status.Machine:
    there = status.machines(aws=standing.aws, names=standing.names)
    return next(m for m in there if m.label == label)


def debian(standing: Standing) -> str:
    """The newest image of Debian 12, as AWS publishes it."""
    name = "/aws/service/debian/release/12/latest/amd64"
    found = standing.aws.call("ssm", "get_parameters", Names=[name])["Parameters"]
    return str(found[0]["Value"])


def tell(standing: Standing, facts: Callable[[str], dict[str, Any]]) -> None:
    """What `hubdeploy-node doctor` prints on each machine, by its role."""
    standing.cloud.machines.shell.commands["hubdeploy-node"] = lambda spec, _: prints(
        json.dumps(facts(spec.tags["hubdeploy:role"]))
    )


@pytest.fixture
def examine() -> Examine:
    """``examine(deployment, "aws.quotas", fix=False)``: the report of that one check.

    Further arguments are the context's: where DNS, Chef's packages … are asked for.
    """

    def look(
        deployment: Standing,
        name: str,
        *,
        fix: bool = False,
        sandbox: bool = False,
        **places: Any,
    ) -> Report:
        ctx = DoctorContext(
            config=deployment.config,
            names=deployment.names,
            aws=deployment.aws,
            channel=SsmChannel(aws=deployment.aws, bucket=deployment.names.bucket, every=0.2),
            sandbox=sandbox,
            **places,
        )
        (check,) = [check for check in all_checks() if check.name == name]
        (report,) = run([check(ctx)], fix=fix)
        return report

    return look
