"""What machines' servers use, read from the shared file system without believing anything."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from hubdeploy.config.use import Use
from hubdeploy.hub.fleet.use import FORGET, OLD, Reader
from hubdeploy.node.use import tell
from tests.hub.fleet.builders import CORE, GIB, NOW


def reader(folder: Path, *instances: str, now: float = NOW) -> Reader:
    made = Reader(folder, lambda: frozenset(instances), clock=lambda: now)
    made.read()
    return made


def test_what_a_machine_tells_is_read(tmp_path: Path) -> None:
    use = Use(at=NOW - 20, memory=3 * GIB, cpu=CORE // 4)
    tell(tmp_path, "i-1", use)
    tell(tmp_path, "i-strange", use)
    assert reader(tmp_path, "i-1", "i-2").use == {"i-1": use}


def test_what_is_old_or_from_a_clock_far_ahead_is_not_shown(tmp_path: Path) -> None:
    tell(tmp_path, "i-old", Use(at=NOW - OLD - 1, memory=1, cpu=1))
    tell(tmp_path, "i-ahead", Use(at=NOW + 3600, memory=1, cpu=1))
    assert reader(tmp_path, "i-old", "i-ahead").use == {}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b'{"at": 1e9, "memory": 1}',
        b'{"at": 999990, "memory": -1, "cpu": 0}',
        b'{"at": NaN, "memory": 1, "cpu": 0}',
        b'{"at": 999990, "memory": Infinity, "cpu": 0}',
        b'{"at": 999990, "memory": {}, "cpu": 0}',
        b"\xff\xfe",
        b"1" * 100_000,
    ],
)
def test_nonsense_says_nothing(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "i-1.json").write_bytes(text)
    assert reader(tmp_path, "i-1").use == {}


def test_links_and_pipes_are_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    tell(elsewhere, "i-1", Use(at=NOW, memory=1, cpu=1))
    folder = tmp_path / "use"
    folder.mkdir()
    (folder / "i-1.json").symlink_to(elsewhere / "i-1.json")
    os.mkfifo(folder / "i-2.json")
    assert reader(folder, "i-1", "i-2").use == {}


def test_ended_machines_files_go_after_a_day(tmp_path: Path) -> None:
    now = time.time()
    for name in ("i-here", "i-gone"):
        tell(tmp_path, name, Use(at=now, memory=1, cpu=1))
    reader(tmp_path, "i-here", now=now + FORGET - 60)
    assert len(list(tmp_path.iterdir())) == 2
    reader(tmp_path, "i-here", now=now + FORGET + 60)
    assert [path.name for path in tmp_path.iterdir()] == ["i-here.json"]


def test_a_folder_that_is_not_there_yet_is_borne(tmp_path: Path) -> None:
    assert reader(tmp_path / "none", "i-1").use == {}


def test_five_hundred_machines_cost_little(tmp_path: Path) -> None:
    names = [f"i-{number:017x}" for number in range(500)]
    for name in names:
        tell(tmp_path, name, Use(at=NOW, memory=GIB, cpu=CORE))
    made = Reader(tmp_path, lambda: frozenset(names), clock=lambda: NOW)
    began = time.thread_time()
    made.read()
    assert time.thread_time() - began < 0.5
    assert len(made.use) == 500
