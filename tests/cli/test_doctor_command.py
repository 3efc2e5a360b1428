"""``hubdeploy doctor`` as it is typed: what it chooses, prints, mends, and its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.cli.schemas import SCHEMAS
from tests.cli.terminal import Terminal

from hubdeploy.aws.session import Aws
from hubdeploy.doctor import all_checks
from hubdeploy.sandbox import known

HUBDEPLOY = Path(sys.executable).with_name("hubdeploy")
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    made = Terminal(tmp_path_factory.mktemp("doctor"), f"doc{os.getpid()}")
    try:
        ran = made("up", "--machines", "simulated", "--yes")
        assert ran.returncode == 0, ran.stdout + ran.stderr
        yield made
    finally:
        made("down", "--yes", "--delete-files", made.name)


@pytest.fixture
def aws(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """The rehearsal's account, to break things in."""
    monkeypatch.setenv("XDG_STATE_HOME", str(terminal.folder / "state"))
    found = known.find(terminal.name)
    assert found is not None
    return Aws(
        region="eu-central-1", endpoint_url=found.endpoint_url, credentials=found.credentials
    )


def severities(report: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["severity"] for check in report["checks"]}


def without_credentials(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {
        "HOME": str(folder),
        "PATH": "/usr/bin:/bin",
        "NO_COLOR": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return subprocess.run(
        [HUBDEPLOY, "doctor", *words],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_list_names_every_check_and_needs_no_deployment(tmp_path: Path) -> None:
    ran = without_credentials(tmp_path, "--list")
    assert ran.returncode == 0
    assert [line.split()[0] for line in ran.stdout.splitlines()] == [c.name for c in all_checks()]
    assert max(map(len, ran.stdout.splitlines())) <= 80


@pytest.mark.parametrize("extra", [(), ("--profile", "nosuch")])
def test_without_credentials_the_configuration_is_looked_at_and_that_is_an_error(
    tmp_path: Path, extra: tuple[str, ...]
) -> None:
    (tmp_path / "hubdeploy.toml").write_text('name = "demo"\nregion = "eu-central-1"\n')
    ran = without_credentials(tmp_path, "--json", *extra)
    report = json.loads(ran.stdout)
    jsonschema.validate(report, SCHEMAS["doctor"])
    assert ran.returncode == 1
    found = severities(report)
    assert found["aws.credentials"] == "error"
    assert found["config.login"] == "error"
    assert found["config.dummy"] == "ok"
    assert found["aws.region"] == "warning"
    assert all(name.startswith(("config.", "aws.credentials", "aws.region")) for name in found)


def test_what_is_only_chosen_is_not_healthy_because_it_could_not_be_looked_at(
    tmp_path: Path,
) -> None:
    (tmp_path / "hubdeploy.toml").write_text('name = "demo"\nregion = "eu-central-1"\n')
    ran = without_credentials(tmp_path, "--only", "aws.quotas")
    assert ran.returncode == 1
    assert "no AWS credentials found" in ran.stdout
    assert ran.stdout.endswith("which needs credentials: 1 error, 0 warnings.\n")


def test_healthy_is_exit_code_0_and_the_report_is_as_its_schema_says(terminal: Terminal) -> None:
    # six workers hold fewer users than the default limit lets in
    few = ("--skip", "config.limits")
    ran = terminal("doctor", "--strict", "--json", *few)
    report = json.loads(ran.stdout)
    jsonschema.validate(report, SCHEMAS["doctor"])
    wrong = [check for check in report["checks"] if check["findings"]]
    assert (ran.returncode, wrong) == (0, [])
    assert report["healthy"] is True
    plain = terminal("doctor", *few)
    assert plain.stdout.rstrip().endswith("checks with a deployment: 0 errors, 0 warnings.")


def test_only_and_skip_choose_by_the_beginning_of_a_name(terminal: Terminal) -> None:
    report = terminal.json("doctor", "doctor", "--only", "config", "--skip", "config.l")
    assert sorted(severities(report)) == ["config.dummy", "config.secrets"]
    unknown = terminal("doctor", "--skip", "nonsense")
    assert unknown.returncode == 2
    assert "no check is called 'nonsense'" in unknown.stderr


def test_a_warning_is_exit_code_2_only_with_strict(terminal: Terminal, aws: Aws) -> None:
    reservations = aws.call(
        "ec2",
        "describe_instances",
        Filters=[{"Name": "tag:hubdeploy:role", "Values": ["workstation"]}],
    )["Reservations"]
    station = reservations[0]["Instances"][0]["InstanceId"]
    aws.call("ec2", "stop_instances", InstanceIds=[station])
    try:
        warned = terminal("doctor", "--only", "machines.phase")
        assert warned.returncode == 0
        assert "workstation" in warned.stdout
        assert warned.stdout.endswith("0 errors, 1 warning.\n")
        assert terminal("doctor", "--only", "machines.phase", "--strict").returncode == 2
    finally:
        terminal("up", "--yes")
    assert terminal("doctor", "--only", "machines.phase", "--strict").returncode == 0


def test_an_error_is_exit_code_1_and_fix_mends_what_it_offers_to(
    terminal: Terminal, aws: Aws
) -> None:
    (system,) = aws.pages("efs", "describe_file_systems", "FileSystems")
    name = system["FileSystemId"]
    target = aws.call("efs", "describe_mount_targets", FileSystemId=name)["MountTargets"][0]
    aws.call("efs", "delete_mount_target", MountTargetId=target["MountTargetId"])
    broken = terminal("doctor", "--only", "efs", "--skip", "efs.mounts")
    assert broken.returncode == 1
    assert "FAIL  efs" in broken.stdout
    assert "-> --fix mends this" in broken.stdout
    assert broken.stdout.endswith("1 check with a deployment: 1 error, 0 warnings.\n")
    mended = terminal("doctor", "--only", "efs", "--skip", "efs.mounts", "--fix")
    assert mended.returncode == 0, mended.stdout
    assert "fixed: 1 mount target made" in mended.stdout
    assert terminal("doctor", "--only", "efs").returncode == 0
