"""What the fleet service does in the users' folders: it counts, and leaves notes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from hubdeploy.hub.fleet import notice
from hubdeploy.hub.fleet.disk import Scanner
from tests.hub.fleet.builders import NOW


def test_the_scan_sums_by_user_and_follows_no_links(tmp_path: Path) -> None:
    homes = tmp_path / "home"
    for user, size in (("ann", 100_000), ("bob", 5_000)):
        (homes / user / "deep").mkdir(parents=True)
        (homes / user / "deep" / "data").write_bytes(b"x" * size)
    (homes / "bob" / "loop").symlink_to(homes / "ann")
    scanner = Scanner(homes, tmp_path / "usage.json", rate=0)
    scanner.scan()
    assert [use.folder for use in scanner.usage] == ["ann", "bob"]
    ann, bob = scanner.usage
    assert 100_000 <= ann.size < 120_000
    assert (ann.files, bob.files) == (1, 2)
    assert scanner.total == ann.size + bob.size
    again = Scanner(homes, tmp_path / "usage.json", rate=0)
    assert again.usage == scanner.usage, "known at once after a restart"


def test_the_scan_is_held_to_its_rate(tmp_path: Path) -> None:
    (tmp_path / "ann").mkdir()
    for number in range(30):
        (tmp_path / "ann" / str(number)).touch()
    scanner = Scanner(tmp_path, tmp_path.parent / "usage.json", rate=100)
    began = time.monotonic()
    scanner.scan()
    assert time.monotonic() - began >= 0.3


def test_a_note_is_left_in_the_users_folder_and_a_newer_one_takes_its_place(tmp_path: Path) -> None:
    (tmp_path / "ann").mkdir()
    notice.tell("ann", NOW, homes=tmp_path)
    (note,) = (tmp_path / "ann").iterdir()
    assert "13:46:40 UTC" in note.read_text()
    notice.tell("ann", NOW + 60, homes=tmp_path)
    (note,) = (tmp_path / "ann").iterdir()
    assert "13:47:40 UTC" in note.read_text()
    assert note.stat().st_mode & 0o777 == 0o644
    notice.tell("nobody", NOW, homes=tmp_path)


def test_a_note_never_goes_through_a_users_link(tmp_path: Path) -> None:
    homes, outside = tmp_path / "homes", tmp_path / "outside"
    (homes / "bob").mkdir(parents=True)
    outside.mkdir()
    (homes / "eve").symlink_to(outside)
    notice.tell("eve", NOW, homes=homes)
    assert list(outside.iterdir()) == []
    (outside / "target").write_text("root's")
    (homes / "bob" / notice.NAME).symlink_to(outside / "target")
    notice.tell("bob", NOW, homes=homes)
    assert (outside / "target").read_text() == "root's"
    (note,) = (homes / "bob").iterdir()
    assert not note.is_symlink()
    assert "13:46:40 UTC" in note.read_text()


def test_a_folder_in_the_notes_place_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "ann" / notice.NAME).mkdir(parents=True)
    notice.tell("ann", NOW, homes=tmp_path)
    assert [path.name for path in (tmp_path / "ann").iterdir()] == [notice.NAME]
    assert "ann cannot be told" in caplog.text
