"""``doctor --spawn`` really starts a server; against a hub whose notebooks are a stand-in."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from tests.doctor.conftest import Examine
from tests.doctor.test_before import said
from tests.hub.conftest import add_workers
from tests.plugins.dockerapi import FakeSwarm
from tests.plugins.hubprocess import DOCTOR_TOKEN, hub_settings, running_hub
from tests.plugins.standing import Standing

from hubdeploy.doctor.check import run
from hubdeploy.doctor.context import DoctorContext
from hubdeploy.doctor.spawn import Spawn
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


def test_a_walk_that_fails_says_how_far_it_came_and_leaves_no_server(
    standing: Standing, tmp_path: Path
) -> None:
    store_token(standing, DOCTOR_TOKEN)
    with FakeSwarm(notebooks=True) as swarm:
        add_workers(swarm, 1)
        with running_hub(tmp_path, swarm.url, hub_settings()) as hub:
            told: Any = SimpleNamespace(
                config=standing.config,
                names=standing.names,
                aws=standing.aws,
                status=SimpleNamespace(url=f"{hub.url}/hub/login"),
            )
            (report,) = run([Spawn(cast(DoctorContext, told))])
            assert report.severity is Severity.ERROR
            assert "is not JupyterLab" in said(report)
            assert "(after hub " in said(report)
            assert "last it said: Server ready" in said(report)
            assert swarm.services() == {}


def test_a_hub_that_does_not_answer_is_an_error_without_the_token(standing: Standing) -> None:
    store_token(standing, DOCTOR_TOKEN)
    told: Any = SimpleNamespace(
        config=standing.config,
        names=standing.names,
        aws=standing.aws,
        status=SimpleNamespace(url="http://127.0.0.1:9/hub/login"),
    )
    (report,) = run([Spawn(cast(DoctorContext, told))])
    assert report.severity is Severity.ERROR
    assert DOCTOR_TOKEN not in said(report)


def test_without_a_token_there_is_nothing_to_walk_with(
    standing: Standing, examine: Examine
) -> None:
    name = standing.names.parameters.hub_secret("doctor-token")
    standing.aws.call("ssm", "delete_parameters", Names=[name])
    assert "no token for the doctor" in said(examine(standing, "spawn"))
