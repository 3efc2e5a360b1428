"""The reference and the example come from the model and agree with it."""

from __future__ import annotations

import re
from pathlib import Path

from hubdeploy.config.fields import Change
from hubdeploy.config.load import key_paths, parse
from hubdeploy.config.model import Config
from hubdeploy.config.reference import changes_by_key, example, markdown


def test_every_setting_is_in_the_reference_with_a_description() -> None:
    text = markdown()
    for path in key_paths(Config):
        assert f"| `{path.rpartition('.')[2]}` |" in text
    assert "| None |" not in text


def test_a_type_is_told_as_it_is_written_also_where_none_is_the_default() -> None:
    lines = markdown().splitlines()
    assert all("| size |" in line for line in lines if line.startswith("| `memory` |"))
    assert all("| time |" in line for line in lines if line.startswith("| `idle_after` |"))


def test_the_example_is_valid_and_keeps_what_it_was_given() -> None:
    values = {
        "name": "demo",
        "region": "eu-central-1",
        "hub": {"admins": ["ada"], "profiles": [{"name": "big", "title": "Big", "memory": "8G"}]},
    }
    config = parse(example(values))
    assert config.hub.admins == ["ada"]
    assert config.hub.profiles[0].memory == 8 << 30


def test_uncommenting_every_default_changes_nothing() -> None:
    values = {"name": "demo", "region": "eu-central-1"}
    text = example(values)
    uncommented = re.sub(r"^# (\w+ = (?!\(none\)))", r"\1", text, flags=re.MULTILINE)
    assert uncommented != text
    assert parse(uncommented) == parse(text)


def test_the_page_of_the_project_is_as_the_model_says() -> None:
    page = Path(__file__).parents[2] / "docs/configuration.md"
    assert page.read_text() == markdown(), "run make docs"


def test_every_setting_says_what_changing_it_takes() -> None:
    changes = changes_by_key()
    assert changes["name"] is Change.NEVER
    assert changes["workers.max_nodes"] is Change.LIVE
    assert changes["workers.instance_types"] is Change.WORKERS
