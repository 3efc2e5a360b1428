"""What a worker says that its notebooks use."""

from __future__ import annotations

from pathlib import Path

import pytest

from hubdeploy.config.use import LENGTH, Use
from hubdeploy.node.use import Sample, between, memory_of, tell

MIB = 1 << 20
SECOND = 10**9


@pytest.mark.parametrize(
    ("stats", "used"),
    [
        ({"usage": 300 * MIB, "stats": {"inactive_file": 100 * MIB}}, 200 * MIB),
        ({"usage": 300 * MIB, "stats": {"total_inactive_file": 50 * MIB}}, 250 * MIB),
        ({"usage": 5 * MIB, "stats": {"inactive_file": 9 * MIB}}, 0),
        ({}, 0),
    ],
)
def test_the_page_cache_that_can_be_had_back_is_not_used(stats: dict[str, int], used: int) -> None:
    assert memory_of(stats) == used


def test_cpu_is_what_was_spent_between_two_looks() -> None:
    before = Sample(at=100.0, memory=1, cpu={"stays": 50 * SECOND, "ends": 900 * SECOND})
    after = Sample(at=160.0, memory=7, cpu={"stays": 80 * SECOND, "new": 60 * SECOND})
    assert between(before, after, now=1000.0) == Use(at=1000.0, memory=7, cpu=SECOND * 3 // 2)


def test_a_container_that_was_restarted_spends_nothing_negative() -> None:
    before = Sample(at=0.0, memory=0, cpu={"a": 50 * SECOND})
    assert between(before, Sample(at=60.0, memory=0, cpu={"a": 0}), now=0.0).cpu == 0


def test_it_is_told_in_one_write_of_constant_length_to_root_alone(tmp_path: Path) -> None:
    folder = tmp_path / "hub" / "use"
    for use in (Use(at=1e9, memory=1 << 50, cpu=10**15), Use(at=2e9, memory=1, cpu=2)):
        tell(folder, "i-1", use)
        (file,) = folder.iterdir()
        assert file.stat().st_size == LENGTH
        assert Use.decode(file.read_bytes()) == use
        assert file.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
