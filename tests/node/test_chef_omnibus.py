"""CINC's and Progress's Chef server, by their control command and their API."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hubdeploy.chef.server import ChefServer
from hubdeploy.config.names import Key, Role
from hubdeploy.errors import ChefError, HubdeployError
from hubdeploy.node import chefserver, packages
from hubdeploy.node.aws import Cloud
from hubdeploy.node.chefgoiardi import Goiardi
from hubdeploy.node.chefomnibus import ADMIN, BACKUPS, ORGANISATION, Omnibus
from hubdeploy.node.chefserver import Actor
from hubdeploy.node.packages import Package, Platform
from hubdeploy.node.system import CommandError
from tests.node.omnibus import Files, State, put_on_path, serving
from tests.plugins.deployment import Site

OLD, NEW = "i-0000000000000c0ef", "i-0000000000000c0ff"
VALIDATOR = f"{ORGANISATION}-validator"


class OnThisPort(Omnibus):
    """The server at another port than 443."""

    port = 0

    def url(self) -> str:
        host = self._cloud.machine.names.chef_host
        return f"https://{host}:{self.port}/organizations/{ORGANISATION}"


class Machine:
    """The Chef server's machine: what the agent does there, and what came of it."""

    def __init__(self, site: Site, cloud: Cloud, files: Files, port: int) -> None:
        self.site, self.cloud, self.files = site, cloud, files
        self.server = OnThisPort(cloud, site.settings)
        self.server.port = port

    def boot(self) -> None:
        """The stages of ``hubdeploy-node boot chef-server``, past the package."""
        chefserver.restore(self.cloud, self.server)
        chefserver.configure(self.cloud, self.server)
        chefserver.publish(self.cloud, self.server)

    def backup(self) -> str:
        return chefserver.backup(self.cloud, self.server)

    def order(self, **what: str) -> None:
        """Let something go wrong from now on."""
        self.files.orders.parent.mkdir(parents=True, exist_ok=True)
        self.files.orders.write_text(json.dumps(what))

    @property
    def state(self) -> State:
        return self.files.read()

    @property
    def calls(self) -> list[list[str]]:
        if not self.files.calls.exists():
            return []
        return [json.loads(line)[0] for line in self.files.calls.read_text().splitlines()]

    def published(self) -> tuple[Actor, Actor]:
        names = self.site.names.parameters
        admin = Actor.decode(self.site.get(names.chef_admin))
        validator = Actor.decode(self.site.get(names.chef_validator))
        assert admin
        assert validator
        return admin, validator

    def accepts(self, actor: Actor) -> bool:
        return chefserver.works(self.cloud, actor, self.server.url())

    def client(self, actor: Actor) -> ChefServer:
        return chefserver.connect(self.cloud, actor, self.server.url())


@pytest.fixture(params=["cinc", "chef"])
def site_of(request: pytest.FixtureRequest, site: Site) -> Site:
    """A deployment with one of the two builds."""
    site.settings["chef_distribution"] = request.param
    site.settings["chef_licence_id"] = "" if request.param == "cinc" else "a-licence"
    site.publish()
    return site


@contextmanager
def launched(site: Site, instance: str, patch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A machine that has the package."""
    with site.machine(Role.CHEF, instance, private_ip="10.42.0.5") as cloud:
        files = Files(cloud.machine.root, f"{site.settings['chef_distribution']}-server-ctl")
        program = put_on_path(site.folder / f"bin-{instance}", files)
        patch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        with serving(files) as port:
            yield Machine(site, cloud, files, port)


@pytest.fixture
def chef(site_of: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    with launched(site_of, OLD, monkeypatch) as machine:
        yield machine


@pytest.fixture
def cinc(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    site.settings["chef_distribution"] = "cinc"
    site.publish()
    with launched(site, OLD, monkeypatch) as machine:
        yield machine


# ------------------------------------------------------------------------------ a new server


def test_a_new_server_gets_organisation_admin_and_validator(chef: Machine) -> None:
    chef.boot()
    assert [call[0] for call in chef.calls] == [
        "reconfigure",
        "org-list",
        "org-create",
        "org-user-add",
    ]
    assert chef.state["orgs"] == {ORGANISATION: {"members": [ADMIN], "admins": [ADMIN]}}
    admin, validator = chef.published()
    assert (admin.name, validator.name) == (ADMIN, VALIDATOR)
    assert chef.accepts(admin)
    assert chef.accepts(validator)
    with chef.client(admin) as server:
        assert server.nodes() == []
    said = chef.site.get_json(chef.site.names.parameters.chef_state)
    assert said["url"] == chef.server.url()


def test_the_server_is_told_its_name_its_certificate_and_where_backups_go(chef: Machine) -> None:
    chef.boot()
    text = chef.files.config.read_text()
    assert f"api_fqdn '{chef.site.names.chef_host}'" in text
    assert "nginx['ssl_certificate'] = '/etc/hubdeploy/chef/server.crt'" in text
    assert "nginx['ssl_certificate_key'] = '/etc/hubdeploy/chef/server.key'" in text
    assert f"backup['export_dir'] = '{BACKUPS}'" in text


def test_no_secret_is_in_a_command_line_or_left_on_the_disk(chef: Machine) -> None:
    chef.boot()
    admin, validator = chef.published()
    kept = [file for file in chef.cloud.machine.root.rglob("*") if file.is_file()]
    for file in kept:
        body = file.read_text(errors="replace")
        assert admin.key not in body
        assert validator.key not in body
    assert [call for call in chef.calls if call[0] == "org-create"] == [
        [
            *("org-create", ORGANISATION, ORGANISATION, "-f"),
            str(chef.cloud.machine.path(f"{chefserver.FOLDER}/validator.pem")),
        ]
    ]
    assert "user-create" not in [call[0] for call in chef.calls]  # it takes a password


def test_the_licence_is_accepted_by_each_call_and_for_no_longer(chef: Machine) -> None:
    chef.boot()
    lines = [json.loads(line) for line in chef.files.calls.read_text().splitlines()]
    assert {licence for _, licence in lines} == {"accept-no-persist"}


def test_a_second_boot_changes_nothing(chef: Machine) -> None:
    chef.boot()
    state, keys, number = chef.state, chef.published(), len(chef.calls)
    chef.boot()
    assert (chef.state, chef.published()) == (state, keys)
    assert [call[0] for call in chef.calls[number:]] == ["reconfigure", "org-list"]


def test_keys_that_were_lost_are_made_anew_one_by_one(cinc: Machine) -> None:
    cinc.boot()
    admin, validator = cinc.published()
    names = cinc.site.names.parameters

    cinc.site.put(names.chef_admin, "lost", secret=True)
    chefserver.publish(cinc.cloud, cinc.server)
    new, kept = cinc.published()
    assert kept == validator
    assert new.key != admin.key
    assert cinc.accepts(new)
    assert not cinc.accepts(admin)
    assert cinc.state["orgs"][ORGANISATION]["admins"] == [ADMIN]

    cinc.site.put(names.chef_validator, "lost", secret=True)
    chefserver.publish(cinc.cloud, cinc.server)
    same, fresh = cinc.published()
    assert same == new
    assert cinc.accepts(fresh)
    assert not cinc.accepts(validator)


def test_keys_of_a_server_that_is_gone_are_not_taken_for_this_ones(
    cinc: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    cinc.boot()
    old = cinc.published()
    with launched(cinc.site, NEW, monkeypatch) as fresh:
        fresh.boot()
        new = fresh.published()
        assert [actor.key for actor in new] != [actor.key for actor in old]
        assert all(fresh.accepts(actor) for actor in new)
        assert not any(fresh.accepts(actor) for actor in old)


def test_an_admin_that_the_server_forgot_is_not_published(cinc: Machine) -> None:
    chefserver.configure(cinc.cloud, cinc.server)
    cinc.order(api="forgets")
    with pytest.raises(CommandError, match="org-user-add hubdeploy hubdeploy --admin"):
        chefserver.publish(cinc.cloud, cinc.server)
    assert cinc.site.get(cinc.site.names.parameters.chef_admin) is None


def test_a_key_that_the_server_does_not_accept_is_made_anew(
    cinc: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "hubdeploy")
    chefserver.configure(cinc.cloud, cinc.server)
    cinc.order(api="garbles")
    chefserver.publish(cinc.cloud, cinc.server)
    assert "does not accept the admin's new key" in caplog.text
    assert cinc.accepts(cinc.published()[0])


def test_a_failed_configuration_says_the_commands_last_words(cinc: Machine) -> None:
    cinc.order(reconfigure="fails")
    with pytest.raises(CommandError, match=r"cinc-server-ctl reconfigure.* no space left"):
        cinc.boot()
    assert cinc.site.get(cinc.site.names.parameters.chef_state) is None


# ------------------------------------------------------------------------- backup and restore


def test_a_backup_goes_to_the_bucket_and_leaves_nothing_behind(chef: Machine) -> None:
    chef.boot()
    keys = chef.published()
    key = chef.backup()
    assert key.startswith(f"{Key.CHEF_BACKUP}/")
    assert chef.cloud.keys_below(f"{Key.CHEF_BACKUP}/") == [key]
    assert list(chef.cloud.machine.path(BACKUPS).iterdir()) == []
    assert not chef.files.backups.exists()
    assert not chef.cloud.machine.state("chef-backup.tar.gz").exists()
    # it was down for the backup: configured, and looked after, once more
    assert ["backup", "--yes", "--timeout", "1800"] in chef.calls
    assert chef.calls[-2:] == [["reconfigure"], ["org-list"]]
    assert chef.published() == keys


@pytest.mark.parametrize(
    ("order", "words"),
    [("fails", "no space left on device"), ("leaves nothing", "left no file")],
)
def test_a_backup_that_failed_is_no_backup(cinc: Machine, order: str, words: str) -> None:
    cinc.boot()
    cinc.order(backup=order)
    with pytest.raises(HubdeployError, match=words):
        cinc.backup()
    assert cinc.cloud.keys_below(f"{Key.CHEF_BACKUP}/") == []


def test_a_replaced_server_is_restored_with_its_keys_and_its_index(
    chef: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    chef.boot()
    keys, before = chef.published(), chef.state
    chef.backup()
    with launched(chef.site, NEW, monkeypatch) as fresh:
        fresh.boot()
        words = [call[0] for call in fresh.calls]
        assert words == ["reconfigure", "restore", "reindex", "reconfigure", "org-list"]
        tarball = fresh.calls[1][1]
        assert fresh.calls[1][2:] == ["--cleanse", "--timeout", "1800"]
        assert not Path(tarball).exists()
        assert fresh.state == {**before, "indexed": [ORGANISATION]}
        assert fresh.published() == keys
        assert all(fresh.accepts(actor) for actor in keys)
        # it has data now, and is not restored once more
        fresh.boot()
        assert [call[0] for call in fresh.calls].count("restore") == 1


def test_a_backup_of_another_version_is_an_error_and_no_empty_server(
    cinc: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    cinc.boot()
    cinc.order(version="15.10.70")
    cinc.backup()
    with launched(cinc.site, NEW, monkeypatch) as fresh:
        with pytest.raises(ChefError, match=r"backup was from 15\.10\.70") as told:
            fresh.boot()
        assert "chef.server_version" in told.value.hint
        assert fresh.site.names.bucket in told.value.hint
        # nor does the next boot pass over it
        with pytest.raises(ChefError, match=r"backup was from 15\.10\.70"):
            fresh.boot()


def test_a_restore_that_failed_is_tried_again(
    cinc: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    cinc.boot()
    keys = cinc.published()
    cinc.backup()
    with launched(cinc.site, NEW, monkeypatch) as fresh:
        fresh.order(restore="fails")
        with pytest.raises(CommandError, match=r"cinc-server-ctl restore.* no space left"):
            fresh.boot()
        assert not Path(fresh.calls[-1][1]).exists()
        fresh.order()
        fresh.boot()
        assert [call[0] for call in fresh.calls].count("restore") == 2
        assert all(fresh.accepts(actor) for actor in keys)


# -------------------------------------------------------------------------------- the package


def test_the_package_is_installed_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.settings["chef_distribution"] = "cinc"
    site.publish()
    package = Package(product="cinc-server", version=site.settings["chef_server_version"])
    ubuntu = Platform(name="ubuntu", version="22.04", machine="x86_64")
    monkeypatch.setattr(packages, "this_platform", lambda: ubuntu)
    folder = site.folder / "bin"
    folder.mkdir()
    noted = folder / "noted"
    dpkg = folder / "dpkg"
    dpkg.write_text(
        f'#!/bin/sh\necho "$1 $(cat $2)" >> {noted}\n'
        f"printf '#!/bin/sh\\n' > {folder}/cinc-server-ctl\nchmod 755 {folder}/cinc-server-ctl\n"
    )
    dpkg.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    with site.machine(Role.CHEF, OLD, private_ip="10.42.0.5") as cloud:
        key = packages.kept_as(package, ubuntu)
        cloud.put_object(key, b"a package")
        cloud.put_object(f"{key}.sha256", hashlib.sha256(b"a package").hexdigest().encode())
        for _ in range(2):
            chefserver.install(cloud, Omnibus(cloud, site.settings))
    assert noted.read_text() == "--install a package\n"


@pytest.mark.parametrize(
    ("distribution", "kind"), [("cinc", Omnibus), ("chef", Omnibus), ("goiardi", Goiardi)]
)
def test_the_settings_say_which_server_it_is(site: Site, distribution: str, kind: type) -> None:
    site.settings["chef_distribution"] = distribution
    site.publish()
    with site.machine(Role.CHEF, OLD, private_ip="10.42.0.5") as cloud:
        server = chefserver.flavour(cloud)
        assert type(server) is kind
        if distribution != "goiardi":
            assert server.url().endswith(f"{site.names.chef_host}/organizations/{ORGANISATION}")
