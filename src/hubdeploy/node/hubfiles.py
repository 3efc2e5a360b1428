"""The hub's secrets and its database on the leader: from SSM, to and from the bucket.

The backup is readable by the leader's role alone, and encrypted by the bucket.
"""

from __future__ import annotations

import logging
import re
import secrets
import shutil
import sqlite3
import tarfile
import zlib
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from hubdeploy.config.names import STATE_DIR, Key
from hubdeploy.errors import HubdeployError
from hubdeploy.node import system
from hubdeploy.node.aws import Cloud

log = logging.getLogger(__name__)

SECRETS = f"{STATE_DIR}/secrets"
DATABASE = f"{STATE_DIR}/jupyterhub.sqlite"
GENERATED = ("admin-password", "doctor-token")
"""Made once and kept in SSM, so that a rebuilt leader and the operator know the same ones."""
KEPT = ("cookie-secret",)
"""Backed up with the database: without it all logins end. The other secrets of this machine alone
(the proxy's and the services' tokens) are made anew with it."""
_MEMBER = "jupyterhub.sqlite"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
HUB_UNITS = ("hubdeploy-hub.service", "jupyterhub.service")


def _wanted(cloud: Cloud) -> dict[str, str]:
    """Name -> value. What a name cannot be (a path) is left out."""
    parameters = cloud.machine.names.parameters
    found = cloud.parameters_below(parameters.hub_secret("x").rsplit("/", 1)[0])
    return {name: value for name, value in found.items() if _NAME.fullmatch(name)}


def secrets_in_place(cloud: Cloud) -> bool:
    """Whether the files are what SSM holds, and the generated ones exist."""
    wanted = _wanted(cloud)
    if any(name not in wanted for name in GENERATED):
        return False
    folder = cloud.machine.path(SECRETS)
    return all(
        (folder / name).is_file()
        and (folder / name).read_text() == value
        and (folder / name).stat().st_mode & 0o077 == 0
        for name, value in wanted.items()
    )


def write_secrets(cloud: Cloud) -> bool:
    """SSM's ``hub/secret/*`` into files of root alone; whether one changed.

    A running hub is restarted when one did: users' servers go on.
    """
    wanted = _wanted(cloud)
    parameters = cloud.machine.names.parameters
    for name in GENERATED:
        if name not in wanted:
            # 64 hex digits: long enough for every use, and nothing to escape anywhere
            cloud.put_parameter(
                parameters.hub_secret(name), secrets.token_hex(32), secret=True, overwrite=False
            )
            wanted[name] = cloud.parameter(parameters.hub_secret(name)) or ""
    folder = cloud.machine.path(SECRETS)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    changed = False
    for name, value in wanted.items():
        changed |= system.write(folder / name, value, mode=0o600)
    if changed:
        for unit in HUB_UNITS:
            system.systemctl(cloud.machine.root, "try-restart", unit, check=False)
    return changed


# ---------------------------------------------------------------------------- database


def backup(cloud: Cloud) -> str | None:
    """A consistent copy of the running hub's database, and the secrets that it goes with, into the
    bucket; its key.

    None where there is no database yet. Old ones are removed by the bucket's lifecycle rule.
    """
    source = cloud.machine.path(DATABASE)
    if not source.is_file():
        return None
    copy = cloud.machine.state("hub-backup.sqlite")
    packed = cloud.machine.state("hub-backup.tar.gz")
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        copy.touch(mode=0o600)
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=60)) as live,
            closing(sqlite3.connect(copy)) as target,
        ):
            live.backup(target)
        packed.touch(mode=0o600)
        with tarfile.open(packed, "w:gz") as archive:
            archive.add(copy, _MEMBER)
            for name in KEPT:
                secret = cloud.machine.path(f"{SECRETS}/{name}")
                if secret.is_file():
                    archive.add(secret, f"secrets/{name}")
        key = f"{Key.HUB_BACKUP}/{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar.gz"
        cloud.upload(packed, key)
    finally:
        copy.unlink(missing_ok=True)
        packed.unlink(missing_ok=True)
    return key


def is_restored(cloud: Cloud) -> bool:
    """Nothing to restore: there is a database, or no backup."""
    return cloud.machine.path(DATABASE).is_file() or not cloud.keys_below(f"{Key.HUB_BACKUP}/")


def restore(cloud: Cloud) -> bool:
    """Before the hub's first start on a new volume: the newest backup; whether there was one.

    Raises:
        HubdeployError: the backup is damaged.
    """
    if is_restored(cloud):
        return False
    key = cloud.keys_below(f"{Key.HUB_BACKUP}/")[-1]
    packed = cloud.machine.state("hub-restore.tar.gz")
    target = cloud.machine.path(DATABASE)
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(".restored.sqlite")
    try:
        packed.parent.mkdir(parents=True, exist_ok=True)
        packed.touch(mode=0o600)
        cloud.download(key, packed)
        fresh.touch(mode=0o600)
        with tarfile.open(packed, "r:gz") as archive:
            with _member(archive, _MEMBER) as file, fresh.open("wb") as plain:
                shutil.copyfileobj(file, plain)
            _check(fresh, key)
            _restore_secrets(cloud, archive)
        fresh.replace(target)  # last: until then all of it is done again
    except (OSError, EOFError, KeyError, tarfile.TarError, zlib.error) as error:
        raise HubdeployError(
            f"The hub's backup {key} is damaged: {error}",
            hint="remove that object; the one before it is taken then",
        ) from error
    finally:
        packed.unlink(missing_ok=True)
        fresh.unlink(missing_ok=True)
    log.info("hub's database restored from %s", key)
    return True


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    """A file of the archive; KeyError where there is none."""
    found = archive.extractfile(name)
    if found is None:
        raise KeyError(f"{name} is no file")
    return found


def _restore_secrets(cloud: Cloud, archive: tarfile.TarFile) -> None:
    """Those that this machine has not: what is here already, people may be using."""
    folder = cloud.machine.path(SECRETS)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    for name in KEPT:
        if f"secrets/{name}" in archive.getnames() and not (folder / name).is_file():
            with _member(archive, f"secrets/{name}") as file:
                system.write(folder / name, file.read(), mode=0o600)


def _check(file: Path, key: str) -> None:
    try:
        with closing(sqlite3.connect(file)) as database:
            said = database.execute("PRAGMA quick_check").fetchone()[0]
    except sqlite3.DatabaseError as error:
        said = str(error)
    if said != "ok":
        raise HubdeployError(
            f"The hub's backup {key} is damaged: {said}",
            hint="remove that object; the one before it is taken then",
        )
