"""The agent on a machine of its own: a spot notice, and a dpkg that somebody else is using."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from hubdeploy.config.names import Phase, Role
from hubdeploy.sandbox.cloud.server import Cloud
from hubdeploy.sandbox.machines.simulated import SimulatedMachines
from tests.cookbooks.machines import Trial, build_wheel, eventually
from tests.cookbooks.rendering import COOKBOOKS
from tests.plugins.aws import CloudAccount
from tests.plugins.machines import Lab, LabMachine, docker_engine, lab, sandbox_images

__all__ = ["docker_engine", "lab", "sandbox_images"]
pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(400)]

until = partial(eventually, seconds=90)
AGENT = "/opt/hubdeploy/venv/bin"
HOLD = """
import fcntl, pathlib, time
held = [open(f"/var/lib/dpkg/{name}", "w") for name in ("lock-frontend", "lock")]
for one in held:
    fcntl.lockf(one, fcntl.LOCK_EX)
pathlib.Path("/run/held").touch()
while not pathlib.Path("/run/release").exists():
    time.sleep(0.1)
"""
INSTALL = """
import logging, pathlib
from hubdeploy.node import packages
logging.basicConfig(level="INFO")
packages.install(pathlib.Path("/root/by-agent.deb"))
"""


@pytest.fixture(scope="module")
def trial(
    lab: Lab,
    cloud_server: tuple[Cloud, SimulatedMachines, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Trial]:
    account = CloudAccount(*cloud_server)
    folder = tmp_path_factory.mktemp("trial")
    yield Trial(lab, account, build_wheel(folder), folder)
    cloud_server[0].forget(account.account)


@pytest.fixture(scope="module")
def worker(trial: Trial) -> LabMachine:
    return trial.boot(Role.WORKER, spot=True)


def test_a_spot_notice_in_the_machines_metadata_is_told_to_the_fleet(
    trial: Trial, worker: LabMachine
) -> None:
    site = trial.site
    name = site.names.parameters.phase(Role.WORKER, worker.id)
    worker.out(f"{AGENT}/hubdeploy-node phase set {Phase.READY.value}")
    worker.out(f"systemd-run --quiet --unit=spot-watch {AGENT}/hubdeploy-node spot watch")
    assert site.get_json(name)["phase"] == Phase.READY
    at = datetime.now(UTC) + timedelta(minutes=2)
    trial.lab.machines.announce_spot(worker.id, at)
    until(lambda: site.get_json(name)["phase"] == Phase.DRAINING, what="the notice is passed on")
    # the form that the fleet reads
    assert site.get_json(name)["detail"] == f"spot: terminate at {at:%Y-%m-%dT%H:%M:%SZ}"
    assert worker.out("systemctl is-active spot-watch") == "active"


def _says(machine: LabMachine, command: str, words: str) -> bool:
    return words in machine.run(command).stdout


def _package(machine: LabMachine, name: str) -> None:
    control = (
        f"Package: {name}\\nVersion: 1\\nArchitecture: all\\nMaintainer: x\\nDescription: x\\n"
    )
    machine.out(
        f"mkdir -p /root/{name}/DEBIAN && printf '{control}' > /root/{name}/DEBIAN/control && "
        f"dpkg-deb --build /root/{name} /root/{name}.deb"
    )


def test_installations_wait_for_who_holds_dpkgs_lock_and_then_succeed(worker: LabMachine) -> None:
    recipe = (COOKBOOKS / "hub_base/recipes/packages.rb").read_text()
    settings = re.search(r"<<~CONF\n(.*?)\n *CONF", recipe, flags=re.S)
    assert settings
    worker.put("/etc/apt/apt.conf.d/90hubdeploy", settings[1])
    names = ("by-agent", "by-apt")
    for name in names:
        _package(worker, name)
    worker.put("/root/hold.py", HOLD)
    worker.put("/root/install.py", INSTALL)
    worker.out("systemd-run --quiet --unit=holder python3 /root/hold.py")
    until(lambda: worker.run("test -e /run/held").code == 0, what="the lock is held")
    worker.out(f"systemd-run --quiet --unit=by-agent {AGENT}/python /root/install.py")
    worker.out("systemd-run --quiet --unit=by-apt apt-get -q -y install /root/by-apt.deb")

    # the agent says so; apt waits without a word where nobody looks on
    met = "journalctl --no-pager -o cat -u by-agent | grep 'again in .*dpkg --install'"
    until(lambda: worker.run(met).code == 0, what="the lock is met")
    for name in names:
        assert worker.run(f"systemctl is-active {name}").stdout.strip() == "active"
        assert worker.run(f"dpkg-query --show {name}").code != 0
    worker.out("touch /run/release")
    for name in names:
        installed = f"dpkg-query --show --showformat='${{Status}}' {name}"
        until(partial(_says, worker, installed, "install ok installed"), what=f"{name} installed")
        assert worker.run(f"systemctl is-failed {name}").code != 0
