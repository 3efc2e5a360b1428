"""What the fleet service keeps: its memory, history, samples, consoles of failed machines."""

from __future__ import annotations

from pathlib import Path

from hubdeploy.hub.fleet.act import Done
from hubdeploy.hub.fleet.model import (
    Alarm,
    Memory,
    SetDesired,
)
from hubdeploy.hub.fleet.store import MOST_DECISIONS, Sample, Store
from tests.hub.fleet.builders import NOW


def test_the_memory_survives_and_an_unreadable_one_is_begun_anew(tmp_path: Path) -> None:
    store = Store(tmp_path)
    memory = Memory(empty_since={"i-1": NOW}, failures=2, chef_left=("i-2",), short_since=NOW)
    store.put_memory(memory)
    assert Store(tmp_path).memory() == memory
    store._put("memory", '{"failures": [}')
    assert Store(tmp_path).memory() == Memory()
    store.close()
    for file in tmp_path.glob("fleet.sqlite*"):
        file.unlink()
    (tmp_path / "fleet.sqlite").write_bytes(b"not a database" * 1000)
    assert Store(tmp_path).memory() == Memory()
    assert (tmp_path / "fleet.damaged").exists()


def test_the_history_says_a_lasting_alarm_once_and_is_bounded(tmp_path: Path) -> None:
    store = Store(tmp_path)
    alarm = Done(action=Alarm(reason="3 waits", code="at-limit"))
    for _ in range(3):
        store.put(NOW, [alarm])
    assert len(store.decisions()) == 1
    store.put(NOW, [])
    store.put(NOW, [alarm])
    assert len(store.decisions()) == 2
    change = Done(action=SetDesired(reason="r", group="g", desired=2, before=1))
    store.put(NOW, [change])
    store.put(NOW, [change])
    assert len(store.decisions()) == 4
    store.note(NOW, *[change] * (MOST_DECISIONS + 10))
    assert len(store.decisions(2 * MOST_DECISIONS)) == MOST_DECISIONS


def test_samples_are_kept_once_a_minute_and_for_two_weeks(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for second in range(0, 600, 10):
        store.sample(
            Sample(at=NOW + second, users=1, waiting=0, machines=1, coming=0, memory=1, reserved=1)
        )
    assert len(store.samples(0)) == 10
    late = NOW + 15 * 86_400
    store.sample(Sample(at=late, users=0, waiting=0, machines=0, coming=0, memory=0, reserved=0))
    assert len(store.samples(0)) == 1


def test_boot_times_are_the_median_of_the_last(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.boot_seconds(otherwise=99) == 99
    for seconds in (100, 110, 900):
        store.booted(NOW, seconds)
    assert store.boot_seconds() == 110


def test_consoles_of_failed_machines_are_bounded(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number in range(25):
        store.keep_console(f"i-{number:02x}", "x" * 100_000)
    assert len(list((tmp_path / "failed").iterdir())) == 20
    assert len(store.console("i-18") or "") == 64 * 1024
    assert store.console("../fleet.sqlite") is None
