"""Resources that change the system itself, on a machine: right, and idle the second time."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cookbooks.machines import build_wheel
from tests.plugins.machines import Lab, LabMachine, docker_engine, lab, sandbox_images

__all__ = ["docker_engine", "lab", "sandbox_images"]
pytestmark = [pytest.mark.docker, pytest.mark.slow]

COOKBOOK = "/root/trial/cookbooks/t"
RECIPE = """
group 'crew' do
  gid 4242
  system true
end
user 'ada' do
  uid 4243
  gid 'crew'
  comment 'Ada L.'
  home '/home/ada'
  manage_home true
  shell '/bin/bash'
end
group 'docker' do
  members %w[ada]
  append true
end
package %w[jq curl] do
  options '--no-install-recommends'
end
systemd_unit 'trial.service' do
  content('Unit' => { 'Description' => 'Trial' },
          'Service' => { 'ExecStart' => '/bin/sleep infinity', 'Environment' => %w[A=1 B=2] },
          'Install' => { 'WantedBy' => 'multi-user.target' })
  action %i[create enable start]
end
service 'again' do
  service_name 'trial'
  action :nothing
  subscribes :restart, 'systemd_unit[trial.service]'
end
directory '/data'
directory '/seen'
mount '/seen' do
  device '/data'
  fstype 'none'
  options 'bind,ro'
  pass 0
  action %i[mount enable]
end
execute 'as ada' do
  command 'id -un > /tmp/who; id -Gn > /tmp/groups'
  user 'ada'
  creates '/tmp/who'
end
"""
AWAY = """
service('trial') { action %i[stop disable] }
systemd_unit('trial.service') { action :delete }
mount('/seen') do
  device '/data'
  action %i[umount disable]
end
user('ada') { action :remove }
group('crew') { action :remove }
"""


def converge(machine: LabMachine, recipe: str) -> dict[str, Any]:
    machine.put(f"{COOKBOOK}/recipes/default.rb", recipe)
    machine.out(
        "/usr/local/bin/hubdeploy-converge --local /root/trial/cookbooks --run-list 'recipe[t]' "
        "--json /root/result.json",
        timeout=120,
    )
    result: dict[str, Any] = json.loads(machine.out("cat /root/result.json"))
    return result


@pytest.fixture(scope="module")
def machine(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> LabMachine:
    booted = lab.boot()
    wheel = build_wheel(tmp_path_factory.mktemp("wheel"))
    booted.out("mkdir -p /opt/hubdeploy")
    booted.put(f"/opt/hubdeploy/{wheel.name}", wheel.read_bytes())
    booted.out(
        "python3 -m venv /opt/hubdeploy/venv && "
        f"/opt/hubdeploy/venv/bin/pip install -q '/opt/hubdeploy/{wheel.name}[node]'",
        timeout=180,
    )
    booted.out(f"mkdir -p {COOKBOOK}/recipes")
    booted.put(f"{COOKBOOK}/metadata.rb", "name 't'\nversion '1.0.0'\n")
    return booted


def test_system_resources_converge_once_and_can_be_taken_away(machine: LabMachine) -> None:
    first = converge(machine, RECIPE)
    assert "user[ada] create" in first["updated"]
    assert machine.out("getent passwd ada") == "ada:x:4243:4242:Ada L.:/home/ada:/bin/bash"
    assert machine.out("stat -c %U /home/ada") == "ada"
    assert machine.out("cat /tmp/who") == "ada"
    assert machine.out("cat /tmp/groups").split() == ["crew", "docker"]
    assert machine.out("systemctl is-enabled trial") == "enabled"
    assert machine.out("systemctl show --value --property=Environment trial") == "A=1 B=2"
    assert "ro" in machine.out("findmnt --noheadings --output OPTIONS /seen").split(",")
    assert machine.out("grep /seen /etc/fstab") == "/data /seen none bind,ro 0 0"

    second = converge(machine, RECIPE)
    assert second["updated"] == []
    assert second["total"] == first["total"] - 1  # no notification this time

    machine.out("usermod --shell /bin/sh ada && systemctl stop trial")
    third = converge(machine, RECIPE)
    assert third["updated"] == ["user[ada] create", "systemd_unit[trial.service] start",
                                "service[again] restart"]  # fmt: skip

    assert len(converge(machine, AWAY)["updated"]) == 7
    assert converge(machine, AWAY)["updated"] == []
    assert machine.run("getent passwd ada").code != 0
    assert machine.run("mountpoint -q /seen || grep /seen /etc/fstab").code != 0
