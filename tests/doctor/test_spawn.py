"""``doctor --spawn`` tells what the walk on the leader found."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.doctor.conftest import Examine
from tests.doctor.test_before import said
from tests.plugins.standing import Standing

from hubdeploy.pipeline.step import Severity
from hubdeploy.sandbox.machines.shell import said as prints

WALK = "python"


def walked(standing: Standing, text: str) -> None:
    standing.cloud.machines.shell.commands[WALK] = lambda _spec, _argv: prints(text)


def result(**more: Any) -> str:
    return json.dumps({"ok": True, "error": "", "hint": "", "told": "", "steps": {}, **more})


def test_a_walk_that_succeeds_is_silent(standing: Standing, examine: Examine) -> None:
    walked(standing, result(steps={"start": 4.2}))
    assert examine(standing, "spawn.walk").severity is Severity.OK


def test_a_walk_that_fails_says_why_and_what_was_waited_for(
    standing: Standing, examine: Examine
) -> None:
    walked(standing, result(ok=False, error="All places are taken.", told="Starting a machine"))
    report = examine(standing, "spawn.walk")
    assert report.severity is Severity.ERROR
    assert "All places are taken. (last: Starting a machine)" in said(report)
    assert report.findings[0].hint == "hubdeploy logs hub"


@pytest.mark.parametrize("text", ["", "Traceback: no such module"])
def test_an_answer_that_cannot_be_read_is_an_error(
    standing: Standing, examine: Examine, text: str
) -> None:
    walked(standing, text)
    assert "nothing that can be read" in said(examine(standing, "spawn.walk"))
