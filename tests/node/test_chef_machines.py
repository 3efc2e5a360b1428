"""Chef server, workstation and nodes together: a real goiardi, the embedded AWS, real policies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from hubdeploy.chef.archive import pack
from hubdeploy.chef.failures import ChefCertificateError, ChefConflict
from hubdeploy.config.names import Role
from hubdeploy.errors import ChefError
from hubdeploy.node import chefserver, client, converging, sweeping, workstation
from hubdeploy.node.aws import Cloud
from hubdeploy.node.chefserver import Actor
from tests.node.chefhost import Host, chef_names_lead_here, running
from tests.plugins.deployment import Site

pytestmark = [pytest.mark.goiardi]

CHEF, STATION, WORKER = "i-0000000000000c0ef", "i-00000000000005747", "i-0000000000000f00d"


def cookbooks(folder: Path) -> bytes:
    """Two small cookbooks, packed."""
    for name in ("hub_leader", "hub_worker"):
        recipes = folder / name / "recipes"
        recipes.mkdir(parents=True)
        (folder / name / "metadata.rb").write_text(f"name '{name}'\nversion '1.2.3'\n")
        (recipes / "default.rb").write_text("log 'here'\n")
    return pack(folder).data


@dataclass
class Chef:
    """A site whose Chef server runs; ``cloud`` is the server's own view."""

    site: Site
    host: Host

    @property
    def state(self) -> dict[str, str]:
        return self.site.get_json(self.site.names.parameters.chef_state)

    def admin(self) -> Actor:
        found = Actor.decode(self.site.get(self.site.names.parameters.chef_admin))
        assert found
        return found

    @contextmanager
    def worker(self, instance_id: str = WORKER) -> Iterator[Cloud]:
        with self.site.machine(Role.WORKER, instance_id, private_ip="10.42.8.7") as cloud:
            yield cloud

    def publish(self) -> bool:
        with self.site.machine(Role.WORKSTATION, STATION) as cloud:
            return workstation.publish(cloud)


@pytest.fixture
def chef(site: Site, tmp_path: Path) -> Iterator[Chef]:
    site.publish(cookbooks=cookbooks(tmp_path / "cookbooks"))
    with (
        chef_names_lead_here(site.names.chef_host),
        site.machine(Role.CHEF, CHEF, private_ip="10.42.0.5") as cloud,
        running(cloud) as host,
    ):
        yield Chef(site, host)


# ----------------------------------------------------------------------------- Chef server


def test_the_chef_server_publishes_address_certificate_and_keys(chef: Chef) -> None:
    site, names = chef.site, chef.site.names.parameters
    assert site.registered("chef") == {CHEF: "10.42.0.5"}
    assert chef.state["url"] == chef.host.url()
    assert chef.state["instance"] == CHEF
    assert "BEGIN CERTIFICATE" in (site.get(names.chef_certificate) or "")
    assert "PRIVATE" not in (site.get(names.chef_certificate) or "")
    assert chef.admin().name == "admin"
    for name in (names.chef_admin, names.chef_validator):
        found = site.account.client("ssm").get_parameter(Name=name)["Parameter"]
        assert found["Type"] == "SecureString"


def test_the_state_is_published_last(chef: Chef) -> None:
    writes = [
        record.params["Name"]
        for record in chef.site.account.calls.find("ssm:PutParameter", role=None)
        if "/chef/" in record.params["Name"]
    ]
    assert writes[-1] == chef.site.names.parameters.chef_state
    assert len(writes) == 4


def test_publishing_again_writes_nothing(chef: Chef) -> None:
    with chef.site.machine(Role.CHEF, CHEF, private_ip="10.42.0.5") as cloud:
        chef.site.account.calls.clear()
        chefserver.configure(cloud, chef.host)
        chefserver.publish(cloud, chef.host)
    assert not chef.site.account.calls.find("ssm:PutParameter", role=None)
    assert not chef.site.account.calls.find("servicediscovery:RegisterInstance", role=None)


def test_a_replaced_chef_server_has_everything_of_the_old_one(chef: Chef) -> None:
    assert chef.publish()
    with chef.worker() as worker:
        client.register(worker)
    site, key = chef.site, chef.admin().key
    trust = site.get(site.names.parameters.chef_certificate)
    with site.machine(Role.CHEF, CHEF, private_ip="10.42.0.5") as old:
        chefserver.backup(old, chef.host)
    chef.host.stop()
    new_id = "i-0000000000000new0"
    with (
        site.machine(Role.CHEF, new_id, private_ip="10.42.0.99") as new,
        running(new) as rebuilt,
    ):
        assert site.registered("chef") == {new_id: "10.42.0.99"}
        assert chef.state["instance"] == new_id
        assert chef.admin().key == key
        assert site.get(site.names.parameters.chef_certificate) == trust
        with chefserver.connect(new, chef.admin(), rebuilt.url()) as server:
            assert server.nodes() == [f"demo-worker-{WORKER}"]
            assert server.roles() == ["leader", "worker"]
        with chef.worker() as worker:
            assert client.register(worker) is False


def test_nodes_register_anew_at_a_chef_server_that_lost_its_data(chef: Chef) -> None:
    with chef.worker() as worker:
        client.register(worker)
    chef.host.stop()
    with (
        chef.site.machine(Role.CHEF, "i-0000000000000new0") as new,
        running(new),
        chef.worker() as worker,
    ):
        assert not client.is_registered(worker)
        assert client.register(worker)
        assert client.is_registered(worker)


def test_a_new_node_waits_while_the_chef_server_is_away(chef: Chef) -> None:
    with chef.worker() as worker:
        client.wait_for_chef(worker)
        chef.host.stop()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(client.wait_for_chef, worker)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=1)
            chef.host.start()
            waiting.result(timeout=30)
        assert client.register(worker)


# ----------------------------------------------------------------------------- workstation


def test_the_workstation_uploads_cookbooks_and_makes_the_roles(chef: Chef) -> None:
    assert chef.publish()
    with chefserver.connect(chef.host._cloud, chef.admin(), chef.host.url()) as server:
        worker = server.role("worker")
        assert worker.run_list == ["recipe[hub_worker]"]
        assert worker.default_attributes["hubdeploy"] == dict(chef.site.settings)
        assert server.role("leader").run_list == ["recipe[hub_leader]"]
        assert set(server.request("GET", "/cookbooks")) == {"hub_leader", "hub_worker"}
    said = chef.site.get_json(chef.site.names.parameters.workstation_state)
    assert said["cookbooks"] == chef.site.release["cookbooks"]["sha256"]
    assert said["settings"] == chef.site.release["settings"]["sha256"]


def test_publishing_the_same_release_again_changes_nothing_on_the_server(chef: Chef) -> None:
    assert chef.publish() is True
    assert chef.publish() is False


def test_new_settings_reach_the_roles(chef: Chef) -> None:
    chef.publish()
    chef.site.settings["hub_host"] = "other.example.org"
    body = (
        chef.site.account.client("s3")
        .get_object(Bucket=chef.site.names.bucket, Key=chef.site.release["cookbooks"]["key"])[
            "Body"
        ]
        .read()
    )
    chef.site.publish(cookbooks=body)
    with chef.site.machine(Role.WORKSTATION, STATION) as cloud:
        assert not workstation.is_published(cloud)
        workstation.publish(cloud)
        assert workstation.is_published(cloud)
    with chefserver.connect(chef.host._cloud, chef.admin(), chef.host.url()) as server:
        assert server.role("worker").default_attributes["hubdeploy"]["hub_host"] == (
            "other.example.org"
        )


def test_the_workstations_knife_is_configured_and_its_key_closed(chef: Chef) -> None:
    chef.publish()
    with chef.site.machine(Role.WORKSTATION, STATION) as cloud:
        home = cloud.machine.path("/root/.chef")
        assert chef.host.url() in (home / "credentials").read_text()
        assert (home / "admin.pem").stat().st_mode & 0o777 == 0o600
        assert home.stat().st_mode & 0o777 == 0o700


def test_a_tampered_cookbook_archive_is_refused(chef: Chef) -> None:
    chef.site.account.client("s3").put_object(
        Bucket=chef.site.names.bucket, Key=chef.site.release["cookbooks"]["key"], Body=b"evil"
    )
    with pytest.raises(Exception, match="checksum"):
        chef.publish()
    assert not chef.site.get(chef.site.names.parameters.workstation_state)


# ------------------------------------------------------------------------------------ nodes


def test_a_worker_registers_with_a_stable_name_and_its_role(chef: Chef) -> None:
    with chef.worker() as worker:
        assert client.register(worker) is True
        assert client.register(worker) is False
        assert client.is_registered(worker)
        folder = worker.machine.path(client.FOLDER)
        assert (folder / "client.pem").stat().st_mode & 0o777 == 0o600
        assert "verify_peer" in (folder / "client.rb").read_text()
    with chefserver.connect(chef.host._cloud, chef.admin(), chef.host.url()) as server:
        node = server.node(f"demo-worker-{WORKER}")
        assert node.run_list == ["role[worker]"]
        assert node.normal["hubdeploy"]["machine"]["instance"] == WORKER
        # what others have put on the node stays
        node.normal["site"] = {"rack": 3}
        node.normal["hubdeploy"]["machine"]["type"] = "of-before-it-was-stopped"
        server.save_node(node)
        with chef.worker() as worker:
            assert client.register(worker) is True
            assert client.register(worker) is False
            said = client.facts(worker)
        assert set(said) == {"instance", "type", "zone"}
        assert server.node(node.name).normal == {
            "site": {"rack": 3},
            "hubdeploy": {"machine": said},
        }


def test_the_validators_key_never_reaches_the_workers_disk(chef: Chef) -> None:
    validator = json.loads(chef.site.get(chef.site.names.parameters.chef_validator) or "")["key"]
    with chef.worker() as worker:
        client.register(worker)
        for file in worker.machine.root.rglob("*"):
            assert not file.is_file() or validator not in file.read_text(errors="replace"), file


def test_a_left_over_client_of_the_same_name_is_a_clear_error(chef: Chef) -> None:
    with chef.worker() as worker:
        client.register(worker)
        worker.machine.path(f"{client.FOLDER}/client.pem").unlink()
        with pytest.raises(ChefConflict, match="a client 'demo-worker-") as blocked:
            client.register(worker)
        assert "left-over" in blocked.value.hint
        # no key that the server does not know is left behind
        assert not worker.machine.path(f"{client.FOLDER}/client.pem").exists()


def test_a_worker_forgets_itself(chef: Chef) -> None:
    with chef.worker() as worker:
        client.register(worker)
        client.forget(worker)
        assert not client.is_registered(worker)
    with chefserver.connect(chef.host._cloud, chef.admin(), chef.host.url()) as server:
        assert server.nodes() == []
        assert f"demo-worker-{WORKER}" not in server.clients()


def test_the_workstation_sweeps_up_after_machines_that_died(chef: Chef) -> None:
    living = chef.site.instance(Role.WORKER)
    for ident in (WORKER, living):
        with chef.worker(ident) as worker:
            client.register(worker)
    with chef.site.machine(Role.WORKSTATION, STATION) as strange:
        # EC2 does not even know the workstation: nothing it says is believed
        assert sweeping.sweep(strange, missed={WORKER, living}) == set()
    with chef.site.machine(Role.WORKSTATION, chef.site.instance(Role.WORKSTATION)) as cloud:
        missed = sweeping.sweep(cloud)
        assert missed == {WORKER}
        with chefserver.connect(chef.host._cloud, chef.admin(), chef.host.url()) as server:
            assert len(server.nodes()) == 2
            sweeping.sweep(cloud, missed=missed)
            assert server.nodes() == [f"demo-worker-{living}"]
            assert f"demo-worker-{WORKER}" not in server.clients()


def test_a_worker_believes_only_the_published_certificate(chef: Chef) -> None:
    with chef.worker() as worker:
        client.register(worker)
        name = chef.site.names.parameters.chef_certificate
        from hubdeploy.node import certificates

        chef.site.put(name, certificates.issue([chef.site.names.chef_host], days=1).trust)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(client, "patiently", lambda action, **_: action())
            with pytest.raises(ChefCertificateError):
                client.register(worker)


def test_without_a_validator_registration_says_what_is_missing(chef: Chef) -> None:
    name = chef.site.names.parameters.chef_validator
    chef.site.account.client("ssm").delete_parameter(Name=name)
    with chef.worker() as worker, pytest.raises(ChefError, match="validator") as refused:
        client.register(worker)
    assert name in refused.value.hint


# --------------------------------------------------------------------------------- converge


@pytest.fixture(autouse=True)
def cinc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands in for Chef's client where none can be had: prints what the real one prints."""
    program = tmp_path / "bin/cinc-client"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\necho "$@" >> $0.called\n'
        "[ -e $0.broken ] && { echo 'FATAL: Mixlib::ShellOut::ShellCommandFailed: no'; exit 1; }\n"
        "echo 'Infra Phase complete, 3/21 resources updated in 06 seconds'\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return program


def test_a_converge_registers_runs_the_client_and_notes_the_result(chef: Chef, cinc: Path) -> None:
    with chef.worker() as worker:
        result = converging.converge(worker)
        assert (result.ok, result.updated, result.total) == (True, 3, 21)
        kept = converging.last(worker)
        assert kept
        assert kept["client"] == "cinc-client"
        assert kept["release"]["cookbooks"] == chef.site.release["cookbooks"]["sha256"]
    called = cinc.with_name("cinc-client.called").read_text()
    assert called == "--once -c /etc/cinc/client.rb\n"


def test_a_failed_converge_says_why(chef: Chef, cinc: Path) -> None:
    cinc.with_name("cinc-client.broken").touch()
    with chef.worker() as worker:
        with pytest.raises(converging.ConvergeError, match="ShellCommandFailed: no"):
            converging.converge(worker)
        kept = converging.last(worker)
        assert kept
        assert kept["ok"] is False
        assert "ShellCommandFailed" in kept["error"]
