"""Which command shows a log, and what is new in it at the next look."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubdeploy.errors import ConfigError
from hubdeploy.operate import logs


def test_the_time_is_asked_of_what_has_times_and_refused_where_lines_have_none() -> None:
    assert "--since -10m" in logs.command("hub", lines=5, since="10m")
    assert "--since 48h " in logs.server_command("ada", lines=5, since="2d")
    with pytest.raises(ConfigError, match="bear no times"):
        logs.command("cloud-init", lines=5, since="10m")
    for wrong in ("yesterday", "10", "m"):
        with pytest.raises(ConfigError, match="not a time"):
            logs.server_command("ada", lines=5, since=wrong)


def test_the_fleets_lines_are_looked_for_among_many_of_the_hubs() -> None:
    words = logs.command("fleet", lines=200)
    assert "-n 10000" in words
    assert words.endswith("| tail -n 200")


@pytest.mark.parametrize("name", [*logs.UNITS, "user"])
def test_every_command_is_one_that_a_shell_takes(name: str) -> None:
    words = logs.server_command("a@b", lines=3) if name == "user" else logs.command(name, lines=3)
    subprocess.run(["sh", "-n", "-c", words], check=True)


@given(
    st.lists(st.sampled_from("abc"), max_size=12),
    st.lists(st.sampled_from("abc"), max_size=6),
    st.integers(1, 8),
)
def test_following_a_log_loses_no_line_that_is_in_the_window(
    before: list[str], more: list[str], window: int
) -> None:
    old, new = before[-window:], [*before, *more][-window:]
    found = logs.fresh("\n".join(old), "\n".join(new))
    # lines that repeat may be taken for old ones only where nothing tells them apart
    assert new[len(new) - len(found) :] == found
    assert len(found) <= len(more) or len(more) >= window or not old
    rest = new[: len(new) - len(found)]
    assert old[len(old) - len(rest) :] == rest


def test_a_line_that_repeats_the_last_one_is_shown() -> None:
    assert logs.fresh("a\nb\nb", "a\nb\nb\nb") == ["b"]
    assert logs.fresh("a\nb", "a\nb\na\nb") == ["a", "b"]
    assert logs.fresh("", "a") == ["a"]
    assert logs.fresh("a", "x\ny") == ["x", "y"]
