"""The hub's secrets and database on the leader."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from hubdeploy.config.names import Key, Role
from hubdeploy.errors import AwsError, HubdeployError
from hubdeploy.node import hubfiles
from hubdeploy.node.aws import Cloud
from tests.plugins.deployment import Site


@pytest.fixture
def leader(site: Site) -> Iterator[Cloud]:
    with site.machine(Role.LEADER, "i-0a") as cloud:
        yield cloud


def files(cloud: Cloud) -> dict[str, str]:
    return {one.name: one.read_text() for one in cloud.machine.path(hubfiles.SECRETS).iterdir()}


def test_secrets_become_files_that_only_root_reads(site: Site, leader: Cloud) -> None:
    site.put(site.names.parameters.hub_secret("oauth-client-secret"), "s3cret", secret=True)
    assert not hubfiles.secrets_in_place(leader)
    assert hubfiles.write_secrets(leader) is True
    assert files(leader)["oauth-client-secret"] == "s3cret"
    folder = leader.machine.path(hubfiles.SECRETS)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(one.stat().st_mode & 0o777 == 0o600 for one in folder.iterdir())
    assert hubfiles.secrets_in_place(leader)
    assert hubfiles.write_secrets(leader) is False


def test_what_nobody_set_is_made_once_and_outlives_the_leader(site: Site, leader: Cloud) -> None:
    hubfiles.write_secrets(leader)
    made = files(leader)
    assert set(made) == {"admin-password", "doctor-token"}
    assert all(len(value) >= 32 for value in made.values())
    ssm = site.account.client("ssm")
    name = site.names.parameters.hub_secret("admin-password")
    assert ssm.get_parameter(Name=name)["Parameter"]["Type"] == "SecureString"
    with site.machine(Role.LEADER, "i-0b") as rebuilt:
        hubfiles.write_secrets(rebuilt)
        assert files(rebuilt) == made


def test_an_operators_password_is_not_overwritten(site: Site, leader: Cloud) -> None:
    site.put(site.names.parameters.hub_secret("admin-password"), "chosen", secret=True)
    hubfiles.write_secrets(leader)
    assert files(leader)["admin-password"] == "chosen"


def test_a_changed_secret_is_noticed(site: Site, leader: Cloud) -> None:
    hubfiles.write_secrets(leader)
    site.put(site.names.parameters.hub_secret("admin-password"), "new", secret=True)
    assert not hubfiles.secrets_in_place(leader)
    assert hubfiles.write_secrets(leader) is True


def test_a_worker_may_not_have_the_hubs_secrets(site: Site) -> None:
    with site.machine(Role.WORKER, "i-0b") as worker, pytest.raises(AwsError) as refused:
        hubfiles.write_secrets(worker)
    assert "AccessDenied" in refused.value.code


# ---------------------------------------------------------------------------------- database


def database(cloud: Cloud) -> sqlite3.Connection:
    file = cloud.machine.path(hubfiles.DATABASE)
    file.parent.mkdir(parents=True, exist_ok=True)
    return sqlite3.connect(file)


def test_a_backup_of_a_database_in_use_is_restored_on_a_new_volume(
    site: Site, leader: Cloud
) -> None:
    with closing(database(leader)) as live:
        live.execute("PRAGMA journal_mode=WAL")
        live.execute("CREATE TABLE users (name)")
        live.execute("INSERT INTO users VALUES ('ada')")
        live.commit()
        live.execute("INSERT INTO users VALUES ('not committed')")
        key = hubfiles.backup(leader)
    assert key
    assert key.startswith(f"{Key.HUB_BACKUP}/")
    assert hubfiles.is_restored(leader)
    with site.machine(Role.LEADER, "i-0b") as rebuilt:
        assert not hubfiles.is_restored(rebuilt)
        assert hubfiles.restore(rebuilt) is True
        assert hubfiles.restore(rebuilt) is False
        with closing(database(rebuilt)) as restored:
            assert restored.execute("SELECT name FROM users").fetchall() == [("ada",)]
        assert rebuilt.machine.path(hubfiles.DATABASE).stat().st_mode & 0o777 == 0o600


def test_an_existing_database_is_never_overwritten(site: Site, leader: Cloud) -> None:
    site.account.client("s3").put_object(
        Bucket=site.names.bucket, Key=f"{Key.HUB_BACKUP}/20260101T000000Z.sqlite.gz", Body=b"x"
    )
    with closing(database(leader)) as live:
        live.execute("CREATE TABLE users (name)")
    assert hubfiles.restore(leader) is False


def test_a_damaged_backup_is_refused_and_leaves_nothing(site: Site, leader: Cloud) -> None:
    site.account.client("s3").put_object(
        Bucket=site.names.bucket, Key=f"{Key.HUB_BACKUP}/20260101T000000Z.sqlite.gz", Body=b"x"
    )
    with pytest.raises(HubdeployError, match="is damaged"):
        hubfiles.restore(leader)
    assert not leader.machine.path(hubfiles.DATABASE).exists()


def test_without_a_database_there_is_nothing_to_back_up(leader: Cloud) -> None:
    assert hubfiles.backup(leader) is None
    assert hubfiles.is_restored(leader)
