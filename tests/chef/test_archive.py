"""The cookbooks' archive: the same files give the same bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from hubdeploy.chef.archive import pack, unpack
from hubdeploy.errors import ChefError


def make_tree(root: Path) -> Path:
    for name, text in {
        "a/metadata.rb": "name 'a'",
        "a/recipes/default.rb": "log 'x'",
        "a/files/run.sh": "#!/bin/sh",
        "b/metadata.rb": "name 'b'",
    }.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (root / "a/files/run.sh").chmod(0o700)
    return root


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    first = make_tree(tmp_path / "one")
    second = tmp_path / "two"
    shutil.copytree(first, second)
    (second / "a/recipes/default.rb").chmod(0o600)
    os.utime(second / "a/metadata.rb", (1, 1))
    for name in ("a/.kitchen.yml", "a/recipes/x.rb~", "a/spec/x_spec.rb", "a/.git/HEAD"):
        (second / name).parent.mkdir(exist_ok=True)
        (second / name).write_text("not for machines")
    assert pack(first) == pack(second)
    (second / "a/recipes/default.rb").write_text("log 'y'")
    assert pack(first).sha256 != pack(second).sha256


def test_packed_cookbooks_unpack_to_the_same_files(tmp_path: Path) -> None:
    archive = pack(make_tree(tmp_path / "one"))
    unpack(archive.data, tmp_path / "out", sha256=archive.sha256)
    assert pack(tmp_path / "out") == archive
    assert os.access(tmp_path / "out/a/files/run.sh", os.X_OK)
    assert not os.access(tmp_path / "out/a/metadata.rb", os.X_OK)


def test_a_changed_archive_is_refused(tmp_path: Path) -> None:
    archive = pack(make_tree(tmp_path / "one"))
    with pytest.raises(ChefError, match="digest"):
        unpack(archive.data + b"x", tmp_path / "out", sha256=archive.sha256)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "link"])
def test_an_archive_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        if name == "link":
            entry.type = tarfile.SYMTYPE
            entry.linkname = "/etc/passwd"
        tar.addfile(entry)
    data = gzip.compress(raw.getvalue())
    with pytest.raises(ChefError, match="not a plain file"):
        unpack(data, tmp_path / "out", sha256=hashlib.sha256(data).hexdigest())


def test_a_symbolic_link_in_a_cookbook_is_refused(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "one")
    (tree / "a/recipes/more.rb").symlink_to("default.rb")
    with pytest.raises(ChefError, match="symbolic link"):
        pack(tree)
