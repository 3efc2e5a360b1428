"""Sizes and times are read and written without loss."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubdeploy.config.fields import format_span, parse_size, parse_span
from hubdeploy.config.limits import format_size


@given(st.integers(min_value=1, max_value=1 << 50))
def test_a_size_survives_being_written(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.integers(min_value=0, max_value=10**8))
def test_a_time_survives_being_written(seconds: int) -> None:
    assert parse_span(format_span(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("2G", 2 << 30), ("1.5 GiB", 3 << 29), ("512m", 512 << 20), (7, 7)]
)
def test_sizes_are_powers_of_1024(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1G", "2X", True, None, 1.5])
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(text)
