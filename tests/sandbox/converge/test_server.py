"""A machine without Chef's client and a real Chef server: registration to saved node."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubdeploy.chef import cookbooks
from hubdeploy.chef.objects import Role
from hubdeploy.chef.server import ChefServer
from hubdeploy.sandbox.converge.main import main
from tests.plugins.goiardi import Goiardi, start_goiardi

pytestmark = pytest.mark.goiardi


@pytest.fixture(scope="module")
def goiardi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Goiardi]:
    running = start_goiardi(tmp_path_factory.mktemp("goiardi"), host="localhost")
    yield running
    running.stop()


class Machine:
    """What user data leaves on a machine: client.rb, the published certificate, a key."""

    def __init__(self, goiardi: Goiardi, folder: Path, name: str) -> None:
        self.goiardi, self.folder, self.name = goiardi, folder, name
        self.out = folder / "out"
        self.out.mkdir()
        (folder / "trusted_certs").mkdir()
        (folder / "trusted_certs/chef.crt").write_text(goiardi.certificate)
        (folder / "validation.pem").write_text(goiardi.validator_key)
        (folder / "client.rb").write_text(
            f"# written by user data\n"
            f"chef_server_url  '{goiardi.url}'\n"
            f'node_name "{name}"\n'
            f"client_key '{folder}/client.pem'\n"
            f"file_cache_path '{folder}/cache'\n"
            "validation_client_name 'chef-validator'\n"
            "log_level :info\n"
        )

    def converge(self, *more: str) -> dict[str, object]:
        result = self.folder / "result.json"
        main(["--once", "-c", str(self.folder / "client.rb"), "--json", str(result), *more])
        outcome: dict[str, object] = json.loads(result.read_text())
        return outcome


@pytest.fixture
def machine(goiardi: Goiardi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return Machine(goiardi, tmp_path, "demo-worker-i-01")


@pytest.fixture
def admin(goiardi: Goiardi) -> ChefServer:
    # the machines dial the name itself
    return ChefServer(goiardi.url, client="admin", key=goiardi.admin_key, trust=goiardi.certificate)


def publish(admin: ChefServer, folder: Path, out: Path) -> None:
    """What the workstation does: cookbooks and a role."""
    for name, text in {
        "site_base/metadata.rb": "name 'site_base'\nversion '1.0.0'\n",
        "site_base/attributes/default.rb": "default['site']['from'] = 'file'\n",
        "site_base/recipes/default.rb": f"file('{out}/base') {{ content node['site'].to_json }}\n",
        "site_work/metadata.rb": "name 'site_work'\nversion '2.0.0'\ndepends 'site_base'\n",
        "site_work/templates/peers.erb": "<%= @peers.join(' ') %>\n",
        "site_work/recipes/default.rb": (
            "include_recipe 'site_base'\n"
            f"directory '{out}' do\n  mode '0755'\nend\n"
            f"template '{out}/peers' do\n"
            "  variables(peers: search(:node, 'role:worker').map(&:name))\nend\n"
        ),
    }.items():
        file = folder / "published" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    cookbooks.upload_all(admin, folder / "published")
    admin.ensure_role(
        Role(
            name="worker",
            run_list=["recipe[site_work]"],
            default_attributes={"site": {"deployment": "demo", "from": "role"}},
        )
    )


def test_a_machine_registers_converges_and_saves_its_node(
    machine: Machine, admin: ChefServer
) -> None:
    publish(admin, machine.folder, machine.out)
    (machine.folder / "first.json").write_text('{"run_list": ["role[worker]"]}')
    first = machine.converge("-j", str(machine.folder / "first.json"))
    assert first["ok"]
    assert json.loads((machine.out / "base").read_text()) == {"deployment": "demo", "from": "role"}
    key = machine.folder / "client.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600

    (machine.folder / "validation.pem").unlink()
    second = machine.converge()
    # a new node finds itself in a search from its second run on
    assert second["updated"] == [f"template[{machine.out}/peers] create"]
    assert (machine.out / "peers").read_text() == "demo-worker-i-01\n"
    assert machine.converge()["updated"] == []

    saved = admin.node(machine.name)
    assert saved.run_list == ["role[worker]"]
    assert saved.default == {"site": {"from": "role", "deployment": "demo"}}
    assert saved.automatic["roles"] == ["worker"]
    assert saved.automatic["recipes"] == ["site_work"]
    assert saved.automatic["ohai_time"]
    rows = admin.search("node", "role:worker", keys={"ip": ["ipaddress"], "os": ["platform"]})
    assert rows == [{"ip": saved.automatic["ipaddress"], "os": saved.automatic["platform"]}]
    admin.forget(machine.name)


def test_a_failed_run_says_so_and_does_not_save_the_node(
    machine: Machine, admin: ChefServer, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(admin, machine.folder, machine.out / "missing")
    (machine.folder / "first.json").write_text('{"run_list": ["recipe[site_base]"]}')
    with pytest.raises(SystemExit) as caught:
        machine.converge("-j", str(machine.folder / "first.json"))
    assert caught.value.code == 1
    assert "Infra Phase failed, 0/1 resources updated" in capsys.readouterr().out
    assert machine.name not in admin.nodes()
    admin.forget(machine.name)


def test_without_any_key_the_machine_is_told_to_register(machine: Machine) -> None:
    (machine.folder / "validation.pem").unlink()
    with pytest.raises(SystemExit, match="register the machine first"):
        machine.converge()


def test_a_left_over_client_is_named(machine: Machine, admin: ChefServer) -> None:
    admin.create_client(machine.name)
    with pytest.raises(SystemExit, match="has a client 'demo-worker-i-01' already"):
        machine.converge()
    assert not (machine.folder / "client.pem").exists()
    admin.forget(machine.name)


def test_an_unknown_role_is_named(machine: Machine, admin: ChefServer) -> None:
    with pytest.raises(SystemExit, match="no role 'nobody'"):
        machine.converge("-o", "role[nobody]")
    admin.forget(machine.name)
