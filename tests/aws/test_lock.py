"""One operator at a time."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hubdeploy.aws.lock import EXPIRY, held
from hubdeploy.config.names import Names
from hubdeploy.errors import HubdeployError
from tests.plugins.aws import CloudAccount
from tests.steps.rig import config


@pytest.fixture
def names(cloud: CloudAccount) -> Names:
    return Names(deployment="demo", region=cloud.region, account=cloud.account)


def lock(cloud: CloudAccount, names: Names) -> dict[str, Any]:
    """What the lock says; empty if nobody holds it."""
    found = cloud.aws.call("ssm", "get_parameters", Names=[names.parameters.lock])["Parameters"]
    return dict(json.loads(found[0]["Value"])) if found else {}


def put(cloud: CloudAccount, names: Names, **changed: Any) -> None:
    """A lock as another left it."""
    left = {
        "host": "elsewhere",
        "pid": 1,
        "user": "ada",
        "purpose": "up",
        "expires": (datetime.now(UTC) + EXPIRY).isoformat(timespec="seconds"),
    }
    text = json.dumps(left | changed)
    cloud.aws.call("ssm", "put_parameter", Name=names.parameters.lock, Value=text, Type="String")


def test_who_holds_it_is_told_to_the_next_and_it_goes_with_the_run(
    cloud: CloudAccount, names: Names
) -> None:
    with (
        held(cloud.aws, names, purpose="up"),
        pytest.raises(HubdeployError, match="is being changed: up by ") as refused,
        held(cloud.aws, names, purpose="down"),
    ):
        raise AssertionError("two at a time")
    assert "wait for it" in refused.value.hint
    assert lock(cloud, names) == {}


def test_one_whose_time_is_over_or_whose_process_died_here_is_taken_over(
    cloud: CloudAccount, names: Names
) -> None:
    put(cloud, names, expires="2020-01-01T00:00:00+00:00")
    with held(cloud.aws, names, purpose="up"):
        assert lock(cloud, names)["pid"] == os.getpid()
    died = subprocess.Popen(["true"])
    died.wait()
    put(cloud, names, host=os.uname().nodename, pid=died.pid)
    with held(cloud.aws, names, purpose="up"):
        assert lock(cloud, names)["pid"] == os.getpid()


def test_one_of_another_machine_stands_until_its_time_is_over(
    cloud: CloudAccount, names: Names
) -> None:
    put(cloud, names)
    with (
        pytest.raises(HubdeployError, match="up by ada on elsewhere"),
        held(cloud.aws, names, purpose="up"),
    ):
        raise AssertionError("two at a time")
    assert lock(cloud, names)["user"] == "ada"


def test_it_outlasts_waits_that_are_configured_longer(cloud: CloudAccount, names: Names) -> None:
    waits = config(waits={"chef_server": 4 * 3600}).waits
    began = datetime.now(UTC)
    with held(cloud.aws, names, purpose="up", lasts=waits.together):
        until = datetime.fromisoformat(lock(cloud, names)["expires"])
    assert until - began > timedelta(hours=4)
    assert timedelta(seconds=config(waits={}).waits.together) < EXPIRY
