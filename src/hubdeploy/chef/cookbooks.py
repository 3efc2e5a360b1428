"""Cookbooks to and from a Chef server: only what is missing is sent, unchanged means no write.

A cookbook version on the server is a manifest that names its files by MD5. New files go through a
sandbox: a list of checksums is posted, the server answers which ones it lacks and where to put
them, and the sandbox is closed before the manifest is written.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from hubdeploy.chef.archive import cookbook_files
from hubdeploy.chef.failures import ChefConflict, ChefNotFound, ChefRefused
from hubdeploy.chef.metadata import Metadata, read_metadata
from hubdeploy.chef.objects import Json
from hubdeploy.chef.server import ChefServer
from hubdeploy.errors import ChefError

log = logging.getLogger(__name__)

SEGMENTS = (
    "recipes",
    "attributes",
    "libraries",
    "resources",
    "providers",
    "definitions",
    "templates",
    "files",
    "root_files",
)
_AT_ONCE = 6


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of a cookbook; ``path`` with slashes, ``md5`` in hex."""

    path: str
    md5: str
    source: Path


@dataclass(frozen=True, kw_only=True)
class Cookbook:
    """A cookbook on disk."""

    metadata: Metadata
    files: tuple[File, ...]

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def version(self) -> str:
        """Always of three parts, as the server stores it."""
        parts = self.metadata.version.split(".")
        return ".".join([*parts, "0"][:3])


@dataclass(frozen=True, kw_only=True)
class Uploaded:
    """``changed``: something was written; ``files_sent``: the server lacked so many."""

    name: str
    version: str
    changed: bool
    files_sent: int


def load_cookbook(folder: Path) -> Cookbook:
    """Raises :class:`ChefError` for a folder that is no cookbook."""
    return Cookbook(
        metadata=read_metadata(folder),
        files=tuple(
            File(path=path, md5=_md5(file.read_bytes()), source=file)
            for path, file in sorted(cookbook_files(folder))
        ),
    )


def load_cookbooks(folder: Path) -> list[Cookbook]:
    """Every cookbook below a folder, those first that others depend on.

    Raises:
        ChefError: two of one name, or dependencies in a circle.
    """
    found: dict[str, Cookbook] = {}
    for one in sorted(p for p in folder.iterdir() if p.is_dir() and p.name[0] != "."):
        cookbook = load_cookbook(one)
        if cookbook.name in found:
            raise ChefError(f"Two cookbooks are called '{cookbook.name}' in {folder}")
        found[cookbook.name] = cookbook
    ordered: list[Cookbook] = []
    waiting = dict(found)
    while waiting:
        ready = [c for c in waiting.values() if not set(c.metadata.dependencies) & set(waiting)]
        if not ready:
            raise ChefError(f"The cookbooks {', '.join(sorted(waiting))} depend on each other")
        ordered += ready
        for cookbook in ready:
            del waiting[cookbook.name]
    return ordered


def manifest(cookbook: Cookbook) -> Json:
    """The manifest in the form of server API version 0, which every server takes."""
    built: Json = {
        "name": f"{cookbook.name}-{cookbook.version}",
        "cookbook_name": cookbook.name,
        "version": cookbook.version,
        "json_class": "Chef::CookbookVersion",
        "chef_type": "cookbook_version",
        "frozen?": False,
        "metadata": cookbook.metadata.as_json() | {"version": cookbook.version},
        **{segment: [] for segment in SEGMENTS},
    }
    for file in cookbook.files:
        parts = PurePosixPath(file.path).parts
        segment = parts[0] if len(parts) > 1 else "root_files"
        if segment not in SEGMENTS:
            continue
        specificity = "default"
        if segment in ("templates", "files"):
            specificity = parts[1] if len(parts) > 2 else "root_default"
        built[segment].append(
            {
                "name": parts[-1],
                "path": file.path,
                "checksum": file.md5,
                "specificity": specificity,
            }
        )
    return built


def upload(server: ChefServer, cookbook: Cookbook) -> Uploaded:
    """Bring one cookbook version on the server up to what is on disk.

    Raises:
        ChefConflict: that version is frozen on the server.
    """
    wanted = manifest(cookbook)
    path = f"/cookbooks/{cookbook.name}/{cookbook.version}"
    try:
        if _same(server.request("GET", path), wanted):
            return Uploaded(
                name=cookbook.name, version=cookbook.version, changed=False, files_sent=0
            )
    except ChefNotFound:
        log.debug("%s %s is not on the server yet", cookbook.name, cookbook.version)
    listed = {record["checksum"] for segment in SEGMENTS for record in wanted[segment]}
    sent = _send_missing(server, [file for file in cookbook.files if file.md5 in listed])
    try:
        server.request("PUT", path, wanted)
    except ChefConflict as error:
        raise ChefConflict(
            f"Cookbook {cookbook.name} {cookbook.version} is frozen on the Chef server",
            hint="raise the version in its metadata.rb",
            status=error.status,
            words=error.words,
        ) from error
    log.info("uploaded %s %s, %d files sent", cookbook.name, cookbook.version, sent)
    return Uploaded(name=cookbook.name, version=cookbook.version, changed=True, files_sent=sent)


def upload_all(server: ChefServer, folder: Path) -> list[Uploaded]:
    """Every cookbook below ``folder``, dependencies first."""
    return [upload(server, cookbook) for cookbook in load_cookbooks(folder)]


def resolve(
    server: ChefServer, recipes: Sequence[str], *, environment: str = "_default"
) -> dict[str, Json]:
    """The manifests, by cookbook, that a list of recipes (``a``, ``a::b``) needs, dependencies too.

    The server solves the versions.

    Raises:
        ChefError: a cookbook is missing or constraints contradict each other.
    """
    if not recipes:
        return {}
    try:
        found = server.request(
            "POST",
            f"/environments/{environment}/cookbook_versions",
            {"run_list": list(recipes)},
        )
    except ChefRefused as error:
        if error.status != 412:
            raise
        raise ChefError(
            f"The Chef server finds no set of cookbooks for {', '.join(recipes)}: {error.words}",
            hint="upload the cookbooks that are missing, and look at their dependencies",
        ) from error
    return dict(found)


def download(server: ChefServer, manifests: Iterable[Json], destination: Path) -> int:
    """Write cookbooks below ``destination``; how many files had to be fetched.

    Files that are there with the right checksum stay; those not in a manifest are removed.

    Raises:
        ChefError: a file arrived with another checksum.
    """
    todo: list[Callable[[], None]] = []
    for one in manifests:
        folder = destination / one["cookbook_name"]
        keep: set[Path] = set()
        for record in _records(one):
            target = folder / _inside(record["path"])
            keep.add(target)
            if not target.is_file() or _md5(target.read_bytes()) != record["checksum"]:
                todo.append(partial(_fetch, server, record, target))
        for stale in [p for p in folder.rglob("*") if p.is_file() and p not in keep]:
            stale.unlink()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for done in [pool.submit(work) for work in todo]:
            done.result()
    return len(todo)


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _records(found: Json) -> list[dict[str, Any]]:
    """A manifest's files, in API version 0's segments or version 2's ``all_files``."""
    if "all_files" in found:
        return list(found["all_files"])
    return [record for segment in SEGMENTS for record in found.get(segment) or []]


def _same(there: Json, wanted: Json) -> bool:
    """Whether the server's manifest has the same files, dependencies and texts."""
    files = [
        sorted((record["path"], record["checksum"]) for record in _records(one))
        for one in (there, wanted)
    ]
    if files[0] != files[1]:
        return False
    said, ours = there.get("metadata") or {}, wanted["metadata"]
    return all(
        said.get(key) == ours[key]
        for key in ("name", "version", "description", "license", "dependencies", "platforms")
    )


def _send_missing(server: ChefServer, files: Sequence[File]) -> int:
    by_sum = {file.md5: file for file in files}
    if not by_sum:
        return 0
    sandbox = server.request("POST", "/sandboxes", {"checksums": dict.fromkeys(by_sum)})
    missing = [
        (by_sum[checksum], state["url"])
        for checksum, state in sandbox["checksums"].items()
        if state["needs_upload"]
    ]

    def send(item: tuple[File, str]) -> None:
        file, url = item
        digest = base64.b64encode(bytes.fromhex(file.md5)).decode()
        server.send_file(
            url,
            file.source.read_bytes(),
            headers={"Content-Type": "application/x-binary", "Content-MD5": digest},
        )

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for done in [pool.submit(send, item) for item in missing]:
            done.result()
    server.request("PUT", f"/sandboxes/{sandbox['sandbox_id']}", {"is_completed": True})
    return len(missing)


def _inside(path: str) -> PurePosixPath:
    """Raises :class:`ChefError` for a path that would lead out of the cookbook."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts:
        raise ChefError(f"A cookbook on the Chef server holds the path {path!r}")
    return pure


def _fetch(server: ChefServer, record: dict[str, Any], target: Path) -> None:
    data = server.fetch_file(record["url"])
    if _md5(data) != record["checksum"]:
        raise ChefError(
            f"{record['path']} arrived from the Chef server with another checksum",
            hint="upload the cookbook again",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
