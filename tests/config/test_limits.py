"""Sizes and the limits' JSON form."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubdeploy.config.limits import Limits, format_size, parse_size, show_size
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
