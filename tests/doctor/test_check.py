"""How checks are chosen and run."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import ClassVar

import pytest
from tests.plugins.standing import TEXT, Standing

from hubdeploy.doctor import all_checks
from hubdeploy.doctor.check import Check, Stage, chosen, run
from hubdeploy.doctor.context import DoctorContext
from hubdeploy.errors import AwsError, ConfigError
from hubdeploy.pipeline.step import Finding, Severity
from hubdeploy.remote.ssm import SsmChannel

LEFT_BEHIND = """
import time
from hubdeploy.doctor.check import Check, Stage, run

class Slow(Check):
    name, title, stage, deadline = "test.slow", "Never ends", Stage.ALWAYS, 0.2

    def find(self):
        time.sleep(120)
        return []

(report,) = run([Slow(None)])
print(report.late, report.findings[0].message)
"""


def test_a_check_that_is_left_behind_does_not_hold_the_command_up() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LEFT_BEHIND], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout == "True did not finish within 0 s\n"


@pytest.fixture
def ctx(configured: Callable[[str], Standing]) -> DoctorContext:
    made = configured(TEXT)
    channel = SsmChannel(aws=made.aws, bucket=made.names.bucket)
    return DoctorContext(config=made.config, names=made.names, aws=made.aws, channel=channel)


class Slow(Check):
    name = "test.slow"
    title = "Never ends"
    stage: ClassVar[Stage] = Stage.ALWAYS
    deadline = 0.2
    end: ClassVar[threading.Event] = threading.Event()

    def find(self) -> Iterable[Finding]:
        self.end.wait(30)
        return []


class Broken(Check):
    name = "test.broken"
    title = "AWS refuses"
    stage: ClassVar[Stage] = Stage.ALWAYS

    def find(self) -> Iterable[Finding]:
        raise AwsError("ec2 describe_vpcs: no", hint="ask", code="AccessDenied")


class Mendable(Check):
    name = "test.mendable"
    title = "Can be mended"
    stage: ClassVar[Stage] = Stage.ALWAYS
    broken: ClassVar[list[str]] = []

    def find(self) -> Iterable[Finding]:
        for what in self.broken:
            yield self.error(f"{what} is broken")

    def repair(self) -> str:
        self.broken.clear()
        return "mended"


def test_a_check_that_does_not_finish_is_a_warning_and_holds_up_nobody(
    ctx: DoctorContext,
) -> None:
    began = time.monotonic()
    slow, broken = run([Slow(ctx), Broken(ctx)])
    assert time.monotonic() - began < 5
    assert slow.severity is Severity.WARNING
    assert "did not finish" in slow.findings[0].message
    assert broken.findings[0].hint == "ask"
    Slow.end.set()


def test_fix_mends_and_looks_again(ctx: DoctorContext) -> None:
    Mendable.broken[:] = ["the thing"]
    (without,) = run([Mendable(ctx)])
    assert without.severity is Severity.ERROR
    assert without.repairable
    (report,) = run([Mendable(ctx)], fix=True)
    assert (report.severity, report.repaired) == (Severity.OK, "mended")


def test_checks_are_chosen_by_the_beginning_of_their_name() -> None:
    names = [c.name for c in chosen(all_checks(), only=["config"], skip=["config.dummy"])]
    assert names == ["config.login", "config.limits", "config.secrets"]
    with pytest.raises(ConfigError, match="'nonsense'"):
        chosen(all_checks(), skip=["nonsense"])


def test_every_check_has_a_name_of_its_own_and_a_title() -> None:
    checks = all_checks()
    assert len({c.name for c in checks}) == len(checks)
    assert all(c.title for c in checks)
