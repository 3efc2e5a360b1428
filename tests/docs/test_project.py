"""What the project says of itself to pip, and what it pins."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from hubdeploy.config import assets

ROOT = Path(__file__).parents[2]
OWN = "hubdeploy"


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found: dict[str, str] = {}
    for line in lines:
        # a name and a version: no address, no option, no range
        match = re.fullmatch(r"([A-Za-z0-9][\w.-]*)==([\w.+!]+)", line)
        assert match, line
        found[canonicalize_name(match[1])] = match[2]
    assert len(found) == len(lines)
    return found


def wanted(project: dict[str, Any]) -> list[Requirement]:
    """Everything asked for, whatever the extra."""
    own, extras = project["project"]["dependencies"], project["project"]["optional-dependencies"]
    texts = [*own, *(text for several in extras.values() for text in several)]
    return [each for each in map(Requirement, texts) if each.name != OWN]


def test_what_is_asked_for_is_pinned_to_a_version_that_will_do(project: dict[str, Any]) -> None:
    versions = pinned()
    for requirement in wanted(project):
        version = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version, prereleases=True), requirement


def test_there_is_an_extra_for_each_place_and_one_for_development_that_has_them_all(
    project: dict[str, Any],
) -> None:
    extras = project["project"]["optional-dependencies"]
    assert set(extras) == {"node", "hub", "sandbox", "dev"}
    (itself,) = [each for each in map(Requirement, extras["dev"]) if each.name == OWN]
    assert itself.extras == {"node", "hub", "sandbox"}


@pytest.mark.parametrize(("version", "fits"), [("3.10", False), ("3.11", True), ("3.14", True)])
def test_python_3_11_and_later_will_do(project: dict[str, Any], version: str, fits: bool) -> None:
    assert SpecifierSet(project["project"]["requires-python"]).contains(version) is fits
    # what is checked is what the oldest one understands
    assert project["tool"]["ruff"]["target-version"] == "py311"
    assert project["tool"]["mypy"]["python_version"] == "3.11"
    assert project["tool"]["mypy"]["strict"] is True


def test_the_wheel_that_pip_builds_takes_cookbooks_and_user_data_to_where_they_are_looked_for(
    project: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["src/hubdeploy"]
    carried = wheel["force-include"]
    for source, target in carried.items():
        assert (ROOT / source).is_dir()
        (tmp_path / target).mkdir(parents=True)
    monkeypatch.setattr(assets, "_PACKAGE", tmp_path / "hubdeploy")
    assert assets.cookbooks_dir() == tmp_path / carried["cookbooks"]
    assert assets.userdata_dir() == tmp_path / carried["userdata"]
