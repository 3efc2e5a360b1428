"""The wheel that the machines install: the same files give the same bytes, and pip takes it."""

from __future__ import annotations

import csv
import hashlib
import io
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from hubdeploy.steps import wheel


def test_it_is_the_same_every_time_and_quick() -> None:
    first = wheel.build()
    began = time.perf_counter()
    assert wheel.build() == first
    assert time.perf_counter() - began < 2
    assert first.sha256 == hashlib.sha256(first.data).hexdigest()


def test_it_carries_code_cookbooks_and_user_data_and_nothing_else() -> None:
    names = zipfile.ZipFile(io.BytesIO(wheel.build().data)).namelist()
    assert "hubdeploy/config/names.py" in names
    assert "hubdeploy/py.typed" in names
    assert "hubdeploy/_assets/cookbooks/hub_base/metadata.rb" in names
    assert any(name.startswith("hubdeploy/_assets/userdata/") for name in names)
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    assert len(set(names)) == len(names)


def test_its_record_names_every_file_with_its_digest() -> None:
    archive = zipfile.ZipFile(io.BytesIO(wheel.build().data))
    (record,) = [name for name in archive.namelist() if name.endswith("/RECORD")]
    rows = list(csv.reader(io.StringIO(archive.read(record).decode())))
    assert {row[0] for row in rows} == set(archive.namelist())
    for name, digest, size in rows:
        if name != record:
            data = archive.read(name)
            assert digest == f"sha256={wheel._record_digest(data)}"
            assert int(size) == len(data)


@pytest.mark.slow
def test_pip_installs_it_and_what_it_installs_makes_the_same_wheel(tmp_path: Path) -> None:
    built = wheel.build()
    path = tmp_path / built.file_name
    path.write_bytes(built.data)
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(target), str(path)], check=True)
    assert (target / "hubdeploy" / "_assets" / "cookbooks").is_dir()
    again = (
        f"import sys; sys.path.insert(0, {str(target)!r})\n"
        "from hubdeploy.steps import wheel\n"
        "import hubdeploy\n"
        f"assert hubdeploy.__file__.startswith({str(target)!r})\n"
        "print(wheel.build().sha256)"
    )
    done = subprocess.run(
        [sys.executable, "-c", again], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout.strip() == built.sha256
