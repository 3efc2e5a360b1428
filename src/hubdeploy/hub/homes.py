"""Users' folders on the shared file system: one each, nobody else's, never deleted.

The hub creates ``HOMES/FOLDER`` before a server starts and the container gets just that folder.
All containers run with the same numeric owner, so what keeps users apart is that each sees only
its own mount; the parent folder belongs to root and lists to nobody.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from pathlib import Path

from hubdeploy.config.names import NOTEBOOK_GID, NOTEBOOK_UID
from hubdeploy.errors import HubdeployError

PARENT_MODE = 0o711
HOME_MODE = 0o700
SHARED_MODE = 0o2775
READ_ONLY_MODE = 0o755

_PLAIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
_HASHED = re.compile(r".*--[0-9a-f]{10}")


class HomeError(HubdeployError):
    """A user's folder cannot be made or is not what it has to be."""


def safe_name(name: str) -> str:
    """*name* as one path component and service-name part: lower case, 1 to 52 characters.

    Harmless names stay as they are. Others keep what is readable of them and get ``--`` and ten
    hex digits of their SHA-256, so that no two names share a folder; a name that looks like such
    a result is itself treated as one of the others.
    """
    if _PLAIN.fullmatch(name) and not _HASHED.fullmatch(name):
        return name
    readable = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("._-")[:40].rstrip("._-")
    return f"{readable or 'user'}--{digest(name)}"


def digest(text: str) -> str:
    """Ten hex digits that tell *text* from any other."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:10]


def folder_name(user: str) -> str:
    """Name of the folder below ``/efs/home`` that belongs to hub user *user*."""
    return safe_name(user)


def ensure_home(
    user: str,
    *,
    parent: Path,
    uid: int = NOTEBOOK_UID,
    gid: int = NOTEBOOK_GID,
    mount: Path | None = None,
) -> Path:
    """The folder of *user*, made when missing, owned by *uid*:*gid* and open to nobody else.

    ``mount``: has to be a mount point, so that files never land on the hub's own disk because
    the file system happens not to be mounted. Symbolic links are refused, never followed.
    Raises HomeError.
    """
    _check_mount(mount)
    _ensure_parent(parent, PARENT_MODE)
    name = folder_name(user)
    _ensure_folder(parent, name, uid=uid, gid=gid, mode=HOME_MODE, adjust=True)
    return parent / name


def ensure_shared(
    name: str,
    *,
    parent: Path,
    writable: bool,
    uid: int = NOTEBOOK_UID,
    gid: int = NOTEBOOK_GID,
    mount: Path | None = None,
) -> Path:
    """The shared folder *name*. An existing one keeps its mode: an admin may have chosen it.

    A read-only one belongs to root, so that only people with access to the leader fill it.
    """
    _check_mount(mount)
    _ensure_parent(parent, READ_ONLY_MODE)
    owner = (uid, gid, SHARED_MODE) if writable else (0, 0, READ_ONLY_MODE)
    _ensure_folder(parent, name, uid=owner[0], gid=owner[1], mode=owner[2], adjust=False)
    return parent / name


def _check_mount(mount: Path | None) -> None:
    if mount is not None and not os.path.ismount(mount):
        raise HomeError(
            f"{mount} is not mounted: users' files cannot be reached",
            hint="on the leader: systemctl status efs.mount",
        )


def _ensure_parent(parent: Path, mode: int) -> None:
    if not parent.is_dir():
        try:
            parent.mkdir(mode=mode)
            parent.chmod(mode)
        except FileExistsError:
            if not parent.is_dir():
                raise HomeError(f"{parent} is not a folder") from None
        except OSError as error:
            raise HomeError(f"cannot make {parent}: {error.strerror}") from error


def _ensure_folder(parent: Path, name: str, *, uid: int, gid: int, mode: int, adjust: bool) -> None:
    """Through file descriptors only: what is looked at is what is changed."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    path = parent / name
    try:
        above = os.open(parent, flags)
    except OSError as error:
        raise HomeError(f"cannot open {parent}: {error.strerror}") from error
    try:
        made = _make(name, above)
        try:
            folder = os.open(name, flags, dir_fd=above)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise HomeError(f"{path} is not a folder (a link or a file is in its place)") from (
                    error
                )
            raise
        try:
            if made or adjust:
                _own(folder, uid=uid, gid=gid, mode=mode)
        finally:
            os.close(folder)
    except OSError as error:
        raise HomeError(f"cannot make {path}: {error.strerror}") from error
    finally:
        os.close(above)


def _make(name: str, above: int) -> bool:
    try:
        # closed to everybody until it has its owner
        os.mkdir(name, 0o700, dir_fd=above)
    except FileExistsError:
        return False
    return True


def _own(folder: int, *, uid: int, gid: int, mode: int) -> None:
    now = os.fstat(folder)
    if (now.st_uid, now.st_gid) != (uid, gid):
        os.fchown(folder, uid, gid)
    if stat.S_IMODE(now.st_mode) != mode:
        os.fchmod(folder, mode)
