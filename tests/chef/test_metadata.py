"""metadata.rb is read without running it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hubdeploy.chef.metadata import parse_metadata, read_metadata
from hubdeploy.errors import ChefError

TEXT = """\
# the base of all machines
name 'hub_base'   # its name
version "1.2.3"
description 'What every machine has: Docker, #EFS, \\'users\\''
long_description <<~TEXT
  Two
  lines, it's said.
TEXT
license 'BSD-3-Clause'
chef_version '>= 16.0', '< 20'
supports 'debian', '>= 12.0'
%s
depends 'other'
depends('apt',
        '~> 7.4')
privacy true
"""


def test_the_usual_forms_are_understood() -> None:
    found = parse_metadata(TEXT % "supports 'ubuntu'")
    assert found.name == "hub_base"
    assert found.version == "1.2.3"
    assert found.description == "What every machine has: Docker, #EFS, 'users'"
    assert found.long_description == "Two lines, it's said."
    assert found.dependencies == {"other": ">= 0.0.0", "apt": "~> 7.4"}
    assert found.platforms == {"debian": ">= 12.0", "ubuntu": ">= 0.0.0"}
    assert found.chef_versions == [[">= 16.0", "< 20"]]
    assert found.privacy is True
    assert json.dumps(found.as_json())


@pytest.mark.parametrize(
    "line",
    [
        "%w(debian ubuntu).each { |os| supports os }",
        "version IO.read('VERSION')",
        'version "#{1}.0.0"',
        "depends x",
        "system 'rm -rf /'",
        "depends 'a', 'about 3'",
        "name",
        "name 'a', 'b'",
    ],
)
def test_what_needs_ruby_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(ChefError, match="line 12"):
        parse_metadata(TEXT % line)


def test_a_version_that_chef_does_not_take_is_refused() -> None:
    for version in ("1", "1.2.3.4", "1.2-beta", ""):
        with pytest.raises(ChefError, match="not a version"):
            parse_metadata(f"name 'a'\nversion '{version}'\n")


def test_metadata_json_goes_first_and_a_folder_without_either_is_no_cookbook(
    tmp_path: Path,
) -> None:
    with pytest.raises(ChefError, match="not a cookbook"):
        read_metadata(tmp_path)
    (tmp_path / "metadata.rb").write_text("version '1.0.0'\n")
    assert read_metadata(tmp_path).name == tmp_path.name
    (tmp_path / "metadata.json").write_text('{"name": "x", "version": "2.0.0", "more": 1}')
    assert read_metadata(tmp_path).version == "2.0.0"
