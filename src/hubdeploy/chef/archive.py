"""Cookbooks as one reproducible archive: the same files give the same bytes everywhere.

The archive's sha256 is then the name of what is in it, so that an unchanged set of cookbooks is
recognised without comparing files.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hubdeploy.errors import ChefError

_LEFT_OUT = frozenset({"spec", "test", "__pycache__", "Gemfile.lock", "Berksfile.lock"})
"""Not needed on a machine; hidden files and editors' back-ups are left out too."""
_LIMIT = 64 * 1024 * 1024
"""Most bytes that an archive may unpack to."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A gzipped tar, and the sha256 (hex) of its bytes."""

    data: bytes
    sha256: str


def cookbook_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """``(path in the cookbook with slashes, file)`` of all that belongs to it, sorted.

    Raises:
        ChefError: a symbolic link: it would mean something else on the machine.
    """
    for here, folders, files in os.walk(folder):
        top = Path(here) == folder
        folders[:] = sorted(
            name for name in folders if name[0] != "." and not (top and name in _LEFT_OUT)
        )
        for name in sorted(files):
            file = Path(here) / name
            if name[0] == "." or name[-1] == "~" or (top and name in _LEFT_OUT):
                continue
            if name.endswith(".pyc"):
                continue
            if file.is_symlink():
                raise ChefError(f"{file} is a symbolic link", hint="put the file itself there")
            yield file.relative_to(folder).as_posix(), file


def pack(cookbooks: Path) -> Archive:
    """All cookbooks below a folder, each under its folder's name.

    Order, times, owners and modes are normalised; a file is executable or it is not.
    """
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for folder in sorted(p for p in cookbooks.iterdir() if p.is_dir() and p.name[0] != "."):
            for name, file in sorted(cookbook_files(folder)):
                data = file.read_bytes()
                entry = tarfile.TarInfo(f"{folder.name}/{name}")
                entry.size = len(data)
                entry.mode = 0o755 if file.stat().st_mode & 0o111 else 0o644
                tar.addfile(entry, io.BytesIO(data))
    squeezed = gzip.compress(raw.getvalue(), compresslevel=9, mtime=0)
    return Archive(data=squeezed, sha256=hashlib.sha256(squeezed).hexdigest())


def unpack(data: bytes, destination: Path, *, sha256: str) -> None:
    """Write the archive's files below ``destination``, which need not exist.

    Raises:
        ChefError: another digest, or an entry that is no plain file inside the folder.
    """
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ChefError(
            f"The cookbooks' archive has the digest {found[:12]}…, expected {sha256[:12]}…",
            hint="it was cut off or changed on the way: push the cookbooks again",
        )
    left = _LIMIT
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
        for entry in tar:
            path = PurePosixPath(entry.name)
            if not entry.isfile() or path.is_absolute() or ".." in path.parts:
                raise ChefError(f"The cookbooks' archive holds {entry.name!r}, not a plain file")
            left -= entry.size
            if left < 0:
                raise ChefError("The cookbooks' archive is too big", hint="over 64 MiB unpacked")
            content = tar.extractfile(entry)
            assert content is not None, "a plain file has content"
            target = destination / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.read())
            target.chmod(entry.mode & 0o755)
