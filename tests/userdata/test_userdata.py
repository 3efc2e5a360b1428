"""User data: what is rendered, and that its seed really talks to AWS."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hubdeploy.config.names import Names, Role
from hubdeploy.config.userdata import LIMIT, render
from hubdeploy.errors import ConfigError
from tests.plugins.deployment import Site

NAMES = Names(
    deployment="a-deployment-of-24-chars", region="ap-southeast-1", account="123456789012"
)


@pytest.fixture(params=list(Role))
def script(request: pytest.FixtureRequest) -> str:
    return render(request.param, NAMES)


def test_user_data_fits_what_ec2_takes(script: str) -> None:
    assert len(script.encode()) < LIMIT


def test_user_data_is_strict_bash_that_shellcheck_approves(script: str, tmp_path: Path) -> None:
    assert shutil.which("shellcheck"), "apt-get install shellcheck"
    file = tmp_path / "user-data.sh"
    file.write_text(script)
    checked = subprocess.run(["shellcheck", file], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    assert script.startswith("#!/bin/bash\n")
    assert "set -Eeuo pipefail" in script


def test_user_data_holds_no_secret_and_no_unfilled_place(script: str) -> None:
    assert not re.search(r"AKIA|ASIA|BEGIN .*PRIVATE|SWMTKN", script)
    assert "{{" not in script
    assert "{%" not in script


def test_user_data_never_upgrades_and_waits_for_the_apt_lock(script: str) -> None:
    assert not re.search(r"apt\S*\s+(dist-|full-)?upgrade", script)
    assert "DPkg::Lock::Timeout" in script


def test_the_same_names_render_the_same_user_data() -> None:
    assert render(Role.WORKER, NAMES) == render(Role.WORKER, NAMES)


def test_kinds_of_machine_boot_their_own_role() -> None:
    for role in Role:
        assert f'hubdeploy-node" boot {role.value}\n' in render(role, NAMES)


def test_the_seed_is_valid_for_python_3_10(script: str, tmp_path: Path) -> None:
    file = tmp_path / "seed.py"
    file.write_text(seed(script))
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent))
    assert ruff
    command = [
        str(ruff),
        "check",
        "--isolated",
        "--target-version",
        "py310",
        "--select",
        "E9,F",
        str(file),
    ]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("bucket", ["$(reboot)", "a b", "x;y", "`id`", '"'])
def test_what_bash_would_run_is_refused(bucket: str) -> None:
    with pytest.raises(ConfigError):
        render(Role.WORKER, NAMES, bucket=bucket)


# ------------------------------------------------------------------------------ the seed, run


def seed(script: str) -> str:
    found = re.search(r"<<'PYTHON'\n(.*?)\nPYTHON\n", script, re.DOTALL)
    assert found
    return found[1]


class Seeded:
    """The seed as a program on a machine of a site."""

    def __init__(self, site: Site, role: Role, folder: Path) -> None:
        self.folder, self.site = folder, site
        site.metadata.instance("i-0abc")
        machine = site.machine_json(role, folder)
        text = seed(render(role, site.names)).replace("/etc/hubdeploy/machine.json", str(machine))
        (folder / "seed.py").write_text(text)
        keep = ("AWS_ENDPOINT_URL", "AWS_EC2_METADATA_SERVICE_ENDPOINT")
        given = site.environment(role, "i-0abc")
        # no key in the environment: it has to ask the metadata
        self.environment = {"PATH": os.environ["PATH"]} | {key: given[key] for key in keep}

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", str(self.folder / "seed.py"), *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


def test_the_seed_writes_the_phase_with_the_machines_own_rights(site: Site, tmp_path: Path) -> None:
    done = Seeded(site, Role.WORKER, tmp_path)("phase", "booting", "packages")
    assert done.returncode == 0, done.stderr
    said = site.get_json(site.names.parameters.phase(Role.WORKER, "i-0abc"))
    assert (said["phase"], said["detail"], said["log"]) == ("booting", "packages", "")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", said["at"])
    assert site.metadata.unsigned == 0


def test_the_seed_fetches_the_releases_wheel(site: Site, tmp_path: Path) -> None:
    body = b"PK wheel " * 50_000
    site.publish(wheel=body)
    done = Seeded(site, Role.LEADER, tmp_path)("wheel", str(tmp_path / "wheels"))
    assert done.returncode == 0, done.stderr
    file = Path(done.stdout.strip())
    assert file.name == "hubdeploy-0.1.0-py3-none-any.whl"
    assert hashlib.sha256(file.read_bytes()).digest() == hashlib.sha256(body).digest()


def test_the_seed_survives_throttling(site: Site, tmp_path: Path) -> None:
    site.account.faults.inject("ssm", "PutParameter", "ThrottlingException", times=2)
    done = Seeded(site, Role.CHEF, tmp_path)("phase", "booting", "packages")
    assert done.returncode == 0, done.stderr
    assert "ThrottlingException" in done.stderr


def test_the_seed_refuses_a_wheel_with_another_checksum(site: Site, tmp_path: Path) -> None:
    release = {**site.release, "wheel": {**site.release["wheel"], "sha256": "0" * 64}}
    site.put(site.names.parameters.release, json.dumps(release))
    seeded = Seeded(site, Role.WORKER, tmp_path)
    file = tmp_path / "seed.py"
    file.write_text(file.read_text().replace("time.monotonic() + 600", "time.monotonic()"))
    done = seeded("wheel", str(tmp_path / "wheels"))
    assert done.returncode != 0
    assert "checksum differs" in done.stderr
    assert not (tmp_path / "wheels").exists()
