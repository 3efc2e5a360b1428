"""Single settings are changed in place."""

from __future__ import annotations

from pathlib import Path

import pytest

from hubdeploy.config.edit import updated, write
from hubdeploy.errors import ConfigError

TEXT = """# my deployment
name = "demo"  # never change
region = "eu-central-1"

[workers]
# how many at most
max_nodes = 4  # for now
"""


def test_comments_and_order_are_kept() -> None:
    text, config = updated(TEXT, {"workers.max_nodes": 20}, source="x")
    assert text == TEXT.replace("max_nodes = 4", "max_nodes = 20")
    assert config.workers.max_nodes == 20


def test_a_missing_table_is_added() -> None:
    text, config = updated(TEXT, {"limits.max_concurrent_users": 7}, source="x")
    assert "[limits]\nmax_concurrent_users = 7" in text
    assert config.limits.max_concurrent_users == 7


def test_what_would_not_be_valid_is_refused() -> None:
    with pytest.raises(ConfigError, match="workers"):
        updated(TEXT, {"workers.max_nodes": 0}, source="x")


def test_writing_keeps_the_mode_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "hubdeploy.toml"
    path.write_text(TEXT)
    path.chmod(0o600)
    write(path, "new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
