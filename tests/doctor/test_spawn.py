"""``doctor --spawn`` really starts a server; against a hub whose notebooks are a stand-in."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.doctor.conftest import Examine, said
from tests.hub.conftest import add_workers
from tests.plugins.dockerapi import FakeSwarm
from tests.plugins.hubprocess import DOCTOR_TOKEN, hub_settings, running_hub
from tests.plugins.notebook import Notebook
from tests.plugins.standing import Standing

from hubdeploy.doctor.check import Report, run
from hubdeploy.doctor.context import DoctorContext
from hubdeploy.doctor.spawn import Spawn
from hubdeploy.hub.walk import FILE
from hubdeploy.pipeline.step import Severity


def store_token(standing: Standing, value: str) -> None:
    standing.aws.call(
        "ssm",
        "put_parameter",
        Name=standing.names.parameters.hub_secret("doctor-token"),
        Value=value,
        Type="SecureString",
        Overwrite=True,
    )


def walked(standing: Standing, hub: str) -> Report:
    """What the check says of the hub at an address."""
    told: Any = SimpleNamespace(
        config=standing.config,
        names=standing.names,
        aws=standing.aws,
        status=SimpleNamespace(url=f"{hub}/hub/login"),
        has_trusted_certificate=False,
    )
    (report,) = run([Spawn(cast(DoctorContext, told))])
    assert report.name == "spawn"
    return report


def test_a_server_is_started_used_and_stopped_and_each_step_timed(
    standing: Standing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_token(standing, DOCTOR_TOKEN)
    with FakeSwarm(notebooks=True) as swarm, Notebook() as notebook:
        monkeypatch.setattr("tests.plugins.dockerswarm.notebook", notebook.relay)
        add_workers(swarm, 1)
        with running_hub(tmp_path, swarm.url, hub_settings()) as hub:
            report = walked(standing, hub.url)
            assert report.severity is Severity.OK, said(report)
            steps = [step.split()[0] for step in said(report).split(", ")]
            assert steps == ["hub", "start", "lab", "cell", "file", "stop"]
            assert notebook.content(FILE)
            assert swarm.services() == {}


def test_a_walk_that_fails_says_how_far_it_came_and_leaves_no_server(
    standing: Standing, tmp_path: Path
) -> None:
    store_token(standing, DOCTOR_TOKEN)
    with FakeSwarm(notebooks=True) as swarm:
        add_workers(swarm, 1)
        with running_hub(tmp_path, swarm.url, hub_settings()) as hub:
            report = walked(standing, hub.url)
            assert report.severity is Severity.ERROR
            assert "is not JupyterLab" in said(report)
            assert "(after hub " in said(report)
            assert "last it said: Server ready" in said(report)
            assert swarm.services() == {}


def test_a_hub_that_does_not_answer_is_an_error_without_the_token(standing: Standing) -> None:
    store_token(standing, DOCTOR_TOKEN)
    report = walked(standing, "http://127.0.0.1:9")
    assert report.severity is Severity.ERROR
    assert DOCTOR_TOKEN not in said(report)


def test_without_a_token_there_is_nothing_to_walk_with(
    standing: Standing, examine: Examine
) -> None:
    name = standing.names.parameters.hub_secret("doctor-token")
    standing.aws.call("ssm", "delete_parameters", Names=[name])
    assert "no token for the doctor" in said(examine(standing, "spawn"))
