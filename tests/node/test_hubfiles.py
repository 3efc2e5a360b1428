"""The hub's secrets and database on the leader."""

from __future__ import annotations

import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hubdeploy.config.names import Key, Role
from hubdeploy.errors import AwsError, HubdeployError
from hubdeploy.hub.secrets import ensure
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


def backed_up(leader: Cloud) -> bytes:
    """A leader's database and secrets in the bucket; the cookie secret."""
    ensure(leader.machine.path(hubfiles.SECRETS))
    with closing(database(leader)) as live:
        live.execute("CREATE TABLE users (name)")
        live.commit()
    assert hubfiles.backup(leader)
    return leader.machine.path(f"{hubfiles.SECRETS}/cookie-secret").read_bytes()


def test_logins_outlive_the_leader_for_the_cookie_secret_goes_with_the_database(
    site: Site, leader: Cloud
) -> None:
    secret = backed_up(leader)
    others = files(leader)
    with site.machine(Role.LEADER, "i-0b") as rebuilt:
        assert hubfiles.restore(rebuilt) is True
        folder = rebuilt.machine.path(hubfiles.SECRETS)
        # as the unit does before proxy and hub start
        ensure(folder)
        assert (folder / "cookie-secret").read_bytes() == secret
        assert (folder / "cookie-secret").stat().st_mode & 0o777 == 0o600
        assert folder.stat().st_mode & 0o777 == 0o700
        # what only this machine's own programs know is made anew
        assert files(rebuilt)["proxy-token"] != others["proxy-token"]
        assert not list(rebuilt.machine.state("").glob("hub-*"))


def test_a_cookie_secret_that_is_in_use_is_not_replaced(site: Site, leader: Cloud) -> None:
    backed_up(leader)
    with site.machine(Role.LEADER, "i-0b") as rebuilt:
        ensure(rebuilt.machine.path(hubfiles.SECRETS))
        before = files(rebuilt)
        assert hubfiles.restore(rebuilt) is True
        assert files(rebuilt) == before


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.LEADER])
def test_nobody_but_the_leader_reads_the_hubs_backup(site: Site, leader: Cloud, role: Role) -> None:
    backed_up(leader)
    key = leader.keys_below(f"{Key.HUB_BACKUP}/")[0]
    with site.machine(role, "i-0c") as other:
        for forbidden in (
            lambda: other.object(key),
            lambda: other.keys_below(f"{Key.HUB_BACKUP}/"),
            lambda: other.put_object(key, b"x"),
        ):
            with pytest.raises(AwsError) as refused:
                forbidden()
            assert refused.value.code == "AccessDenied"


def test_a_backup_without_a_database_is_refused_and_brings_no_secret(
    leader: Cloud, tmp_path: Path
) -> None:
    archive = tmp_path / "x.tar.gz"
    (tmp_path / "secret").write_text("old")
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(tmp_path / "secret", "secrets/cookie-secret")
    leader.upload(archive, f"{Key.HUB_BACKUP}/20260101T000000Z.tar.gz")
    with pytest.raises(HubdeployError, match="is damaged"):
        hubfiles.restore(leader)
    assert not leader.machine.path(hubfiles.SECRETS).exists()


def test_an_existing_database_is_never_overwritten(site: Site, leader: Cloud) -> None:
    site.account.client("s3").put_object(
        Bucket=site.names.bucket, Key=f"{Key.HUB_BACKUP}/20260101T000000Z.tar.gz", Body=b"x"
    )
    with closing(database(leader)) as live:
        live.execute("CREATE TABLE users (name)")
    assert hubfiles.restore(leader) is False


def test_a_damaged_backup_is_refused_and_leaves_nothing(site: Site, leader: Cloud) -> None:
    site.account.client("s3").put_object(
        Bucket=site.names.bucket, Key=f"{Key.HUB_BACKUP}/20260101T000000Z.tar.gz", Body=b"x"
    )
    with pytest.raises(HubdeployError, match="is damaged"):
        hubfiles.restore(leader)
    assert not leader.machine.path(hubfiles.DATABASE).exists()


def test_without_a_database_there_is_nothing_to_back_up(leader: Cloud) -> None:
    assert hubfiles.backup(leader) is None
    assert hubfiles.is_restored(leader)
