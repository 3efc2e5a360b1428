"""The background server: found by the next command, ended cleanly, its stale state recognised."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubdeploy.aws.session import Aws
from hubdeploy.errors import SandboxError
from hubdeploy.sandbox import ending, known, launch
from hubdeploy.sandbox.cloud import kept

NAME = "control-test"


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    yield
    ending.stop(NAME, keep_files=False)


def _aws(sandbox: known.Sandbox) -> Aws:
    return Aws(
        region="eu-central-1",
        endpoint_url=sandbox.endpoint_url,
        credentials=sandbox.credentials,
    )


def test_a_sandbox_is_found_by_the_next_command_and_ends_without_a_trace() -> None:
    assert known.find(NAME) is None
    sandbox = launch.start(NAME, machines="simulated")
    _aws(sandbox).call("ec2", "create_vpc", CidrBlock="10.0.0.0/16")

    found = known.find(NAME)
    assert found == sandbox
    assert found is not None
    vpcs = _aws(found).call("ec2", "describe_vpcs")["Vpcs"]
    assert "10.0.0.0/16" in [vpc["CidrBlock"] for vpc in vpcs]
    assert launch.start(NAME, machines="simulated") == sandbox

    assert ending.stop(NAME, keep_files=False)
    assert known.find(NAME) is None
    assert not known.directory_of(NAME).exists()
    with pytest.raises(ProcessLookupError):
        os.kill(sandbox.pid, 0)
    assert not ending.stop(NAME)


def test_only_its_owner_can_read_what_is_known_of_a_sandbox() -> None:
    sandbox = launch.start(NAME, machines="simulated")
    assert stat.S_IMODE(sandbox.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((sandbox.directory / "state.json").stat().st_mode) == 0o600


def test_its_own_requests_need_the_token() -> None:
    sandbox = launch.start(NAME, machines="simulated")
    state = json.loads((sandbox.directory / "state.json").read_text())
    (sandbox.directory / "state.json").write_text(json.dumps(state | {"token": "guessed"}))
    stranger = known.find(NAME)
    assert stranger is not None
    with pytest.raises(SandboxError, match="not allowed"):
        stranger.request("/stop")
    assert sandbox.request("/describe")["name"] == NAME


def test_the_state_of_a_crashed_server_is_recognised_and_replaced() -> None:
    first = launch.start(NAME, machines="simulated")
    os.kill(first.pid, signal.SIGKILL)
    os.waitpid(first.pid, 0)
    assert (first.directory / "state.json").exists()
    assert known.find(NAME) is None

    second = launch.start(NAME, machines="simulated")
    assert second.pid != first.pid
    os.kill(second.pid, signal.SIGKILL)
    os.waitpid(second.pid, 0)
    assert ending.sweep() == [f"state of sandbox {NAME}"]
    assert not second.directory.exists()


def test_the_kept_file_system_is_there_again_under_its_id_and_tags() -> None:
    tags = [{"Key": "hubdeploy:deployment", "Value": "demo"}]
    aws = _aws(launch.start(NAME, machines="simulated"))
    made = aws.call("efs", "create_file_system", CreationToken="files", Encrypted=True, Tags=tags)
    ending.stop(NAME, keep_files=True)

    aws = _aws(launch.start(NAME, machines="simulated"))
    (found,) = aws.call("efs", "describe_file_systems")["FileSystems"]
    assert found["FileSystemId"] == made["FileSystemId"]
    assert found["FileSystemArn"] == made["FileSystemArn"]
    assert found["Tags"] == tags
    assert found["Encrypted"]

    ending.stop(NAME, keep_files=False)
    aws = _aws(launch.start(NAME, machines="simulated"))
    assert aws.call("efs", "describe_file_systems")["FileSystems"] == []


def test_a_crash_loses_no_file_system() -> None:
    first = launch.start(NAME, machines="simulated")
    made = _aws(first).call("efs", "create_file_system", CreationToken="files", Encrypted=True)
    record = first.directory / kept.RECORD
    deadline = time.monotonic() + 20
    while not record.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(first.pid, signal.SIGKILL)
    os.waitpid(first.pid, 0)
    ending.sweep(NAME)
    aws = _aws(launch.start(NAME, machines="simulated"))
    (found,) = aws.call("efs", "describe_file_systems")["FileSystems"]
    assert found["FileSystemId"] == made["FileSystemId"]


def test_a_state_that_names_an_endpoint_elsewhere_is_refused() -> None:
    sandbox = launch.start(NAME, machines="simulated")
    path = sandbox.directory / "state.json"
    state = path.read_text()
    real = json.loads(state) | {"endpoint_url": "https://ec2.eu-central-1.amazonaws.com"}
    path.write_text(json.dumps(real))
    try:
        with pytest.raises(SandboxError, match="does not use the endpoint"):
            known.find(NAME)
    finally:
        path.write_text(state)


def test_a_volume_that_is_marked_as_kept_and_secrets_are_there_again_and_others_are_not() -> None:
    sandbox = launch.start(NAME, machines="simulated")
    aws = _aws(sandbox)
    kept_tags = [{"Key": "hubdeploy:keep", "Value": "2026-11-01"}]
    volumes = [
        aws.call(
            "ec2",
            "create_volume",
            AvailabilityZone="eu-central-1a",
            Size=20,
            VolumeType="gp3",
            Encrypted=True,
            TagSpecifications=[{"ResourceType": "volume", "Tags": tags}] if tags else [],
        )["VolumeId"]
        for tags in (kept_tags, [])
    ]
    for number in range(12):
        aws.call(
            "ssm", "put_parameter", Name=f"/demo/s{number}", Value="hidden", Type="SecureString"
        )
    aws.call("ssm", "put_parameter", Name="/demo/plain", Value="seen", Type="String")
    ending.stop(NAME, keep_files=True)
    record = sandbox.directory / kept.RECORD
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    assert kept.parts(record) == {"ebs"}

    aws = _aws(launch.start(NAME, machines="simulated"))
    (found,) = aws.call("ec2", "describe_volumes")["Volumes"]
    assert (found["VolumeId"], found["Size"], found["Tags"]) == (volumes[0], 20, kept_tags)
    assert found["State"] == "available"
    names = [f"/demo/s{number}" for number in (0, 11)]
    values = aws.call("ssm", "get_parameters", Names=[*names, "/demo/plain"], WithDecryption=True)
    assert {(p["Name"], p["Type"], p["Value"]) for p in values["Parameters"]} == {
        (name, "SecureString", "hidden") for name in names
    }
    assert values["InvalidParameters"] == ["/demo/plain"]


def test_a_server_that_is_told_to_end_by_signal_cleans_up() -> None:
    sandbox = launch.start(NAME, machines="simulated")
    os.kill(sandbox.pid, signal.SIGTERM)
    _, status = os.waitpid(sandbox.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert not (sandbox.directory / "state.json").exists()


@pytest.mark.parametrize(
    "endpoint",
    ["https://ec2.eu-central-1.amazonaws.com", "http://192.0.2.7:5000", "http://localhost.test"],
)
def test_the_sandbox_refuses_any_endpoint_but_its_own(endpoint: str) -> None:
    with pytest.raises(SandboxError, match="does not use the endpoint"):
        known.refuse_real_aws(endpoint)


def test_machines_of_another_kind_are_refused_while_it_runs() -> None:
    launch.start(NAME, machines="simulated")
    with pytest.raises(SandboxError, match="runs with simulated machines"):
        launch.start(NAME, machines="docker")
