"""Sizes and the limits' JSON form."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubdeploy.config.limits import (
    Limits,
    carried_over,
    changed_live,
    format_size,
    live_changes,
    parse_size,
    show_size,
)
from hubdeploy.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("64G", 64 << 30),
        ("64GiB", 64 << 30),
        ("64 gb", 64 << 30),
        ("1.5T", 3 << 39),
        ("512M", 512 << 20),
        ("10", 10),
        ("10B", 10),
        (7, 7),
        (1.9, 1),
        ("0", 0),
    ],
)
def test_sizes_are_read_as_jupyterhub_reads_them(text: str | float, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize("wrong", ["", "G", "-1G", "1e9", "64X", "1..2G", -1, float("nan"), True])
def test_what_is_no_size_is_refused_with_its_name(wrong: str | float) -> None:
    with pytest.raises(ConfigError, match="max_cluster_memory"):
        parse_size(wrong, what="max_cluster_memory")


@given(st.integers(0, 1 << 60))
def test_a_written_size_reads_back_exactly(count: int) -> None:
    assert parse_size(format_size(count)) == count


def test_sizes_for_people_are_short() -> None:
    assert show_size(16 << 30) == "16 GiB"
    assert show_size(15.4 * (1 << 30)) == "15.4 GiB"
    assert show_size(500) == "500 B"


limits = st.builds(
    lambda low, more, rest: Limits(min_nodes=low, max_nodes=low + more, **rest),
    st.integers(0, 50),
    st.integers(0, 500),
    st.fixed_dictionaries(
        {
            name: st.integers(0, 1 << 50)
            for name in (
                "headroom",
                "max_cluster_memory",
                "max_concurrent_users",
                "max_disk_utilization",
                "idle_after",
                "join_deadline",
            )
        }
    ),
)


@given(limits)
def test_the_parameter_reads_back_what_was_written(value: Limits) -> None:
    assert Limits.from_json(value.to_json()) == value


def test_what_the_parameter_lacks_comes_from_the_configuration() -> None:
    base = Limits(max_nodes=9, headroom=7)
    assert Limits.from_json('{"max_nodes": 3}', base=base) == Limits(max_nodes=3, headroom=7)


def test_sizes_stand_in_the_parameter_as_people_write_them() -> None:
    text = Limits(max_cluster_memory=64 << 30).to_json()
    assert json.loads(text)["max_cluster_memory"] == "64G"


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"max_nodes": -1}',
        '{"max_nodes": "4"}',
        '{"max_nodes": true}',
        '{"max_node": 4}',
        '{"min_nodes": 5, "max_nodes": 4}',
        '{"max_cluster_memory": "64X"}',
    ],
)
def test_a_wrong_parameter_is_refused_in_one_clear_line(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Limits.from_json(text)
    assert caught.value.message.startswith("limits:")
    assert "\n" not in caught.value.message


@given(limits, limits, limits)
def test_a_live_change_lasts_until_the_file_is_edited(
    file: Limits, live: Limits, edited: Limits
) -> None:
    text = changed_live(file.to_json(), file, live, by="ada", at="2026-01-01T00:00:00+00:00")
    assert Limits.from_json(text) == live
    kept, changes = carried_over(file, text)
    assert kept == live
    assert set(changes) == {n for n, v in asdict(file).items() if asdict(live)[n] != v}
    assert all(change.by == "ada" for change in changes.values())
    # what the file says anew holds; what it says as before gives way to the change
    later, left = carried_over(edited, text)
    for name, now in asdict(edited).items():
        if name in left:
            assert now == asdict(file)[name]
        assert asdict(later)[name] == (asdict(live)[name] if name in left else now)


@given(limits, limits)
def test_a_live_change_that_is_taken_back_leaves_no_trace(file: Limits, live: Limits) -> None:
    there = changed_live(file.to_json(), file, live, by="ada", at="")
    assert changed_live(there, live, file, by="bob", at="") == file.to_json()


def test_a_file_that_contradicts_a_live_change_wins() -> None:
    file = Limits(min_nodes=1, max_nodes=10)
    text = changed_live(file.to_json(), file, replace(file, max_nodes=4), by="ada", at="")
    assert carried_over(replace(file, min_nodes=6), text) == (replace(file, min_nodes=6), {})


@pytest.mark.parametrize("marks", ["[]", "7", '{"max_nodes": 3}', '{"max_nodes": {"by": "x"}}'])
def test_spoiled_marks_of_changes_are_none(marks: str) -> None:
    text = f'{{"max_nodes": 9, "changed": {marks}}}'
    assert live_changes(text) == {}
    assert carried_over(Limits(), text) == (Limits(), {})
    assert Limits.from_json(text).max_nodes == 9
