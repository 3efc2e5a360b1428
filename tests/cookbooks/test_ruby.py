"""The cookbooks as Ruby, as cookbooks, and their library functions."""

from __future__ import annotations

import ipaddress
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cookbooks.rendering import COOKBOOKS, call, settings

RUBY = sorted(COOKBOOKS.rglob("*.rb"))


def test_every_ruby_file_parses() -> None:
    assert len(RUBY) > 20
    # one interpreter for all: `ruby -c` looks at its first file only
    script = "ARGV.each { |f| RubyVM::InstructionSequence.compile(File.read(f), f) }"
    done = subprocess.run(
        ["ruby", "-w", "-e", script, *map(str, RUBY)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr


def test_every_template_compiles() -> None:
    templates = sorted(COOKBOOKS.rglob("*.erb"))
    assert templates
    script = (
        "require 'erb'; ARGV.each { |f| RubyVM::InstructionSequence.compile("
        "ERB.new(File.read(f), trim_mode: '-').src, f) }"
    )
    done = subprocess.run(
        ["ruby", "-e", script, *map(str, templates)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_rubocop_finds_nothing() -> None:
    rubocop = shutil.which("rubocop")
    assert rubocop, "rubocop is not installed (Debian package rubocop)"
    done = subprocess.run(
        [rubocop, "--format", "emacs", "--cache", "false", "."],
        cwd=COOKBOOKS,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("cookbook", sorted(path.name for path in COOKBOOKS.glob("hub_*")))
def test_a_cookbook_says_who_it_is(cookbook: str) -> None:
    folder = COOKBOOKS / cookbook
    metadata = (folder / "metadata.rb").read_text()
    assert f"name '{cookbook}'" in metadata
    assert "chef_version" in metadata
    assert (folder / "README.md").is_file()
    needed = set(re.findall(r"include_recipe '(\w+)::", _text(folder, "recipes")))
    declared = set(re.findall(r"^depends '(\w+)'", metadata, flags=re.M))
    assert needed - {cookbook} == declared


def test_recipes_that_are_included_exist() -> None:
    for cookbook, recipe in re.findall(r"include_recipe '(\w+)::(\w+)'", _text(COOKBOOKS, ".")):
        assert (COOKBOOKS / cookbook / "recipes" / f"{recipe}.rb").is_file(), (cookbook, recipe)


def test_sources_that_are_named_exist() -> None:
    for recipe in RUBY:
        for name in re.findall(r"^\s+source '([^']+)'", recipe.read_text(), flags=re.M):
            cookbook = COOKBOOKS / recipe.relative_to(COOKBOOKS).parts[0]
            found = [cookbook / kind / name for kind in ("templates", "files")]
            assert any(path.is_file() for path in found), (recipe, name)


def test_recipes_read_only_settings_that_there_are() -> None:
    # besides, each node has what EC2 says of it
    known = {*settings(), "machine"}
    used = set(re.findall(r"node\['hubdeploy'\]\['(\w+)'\]", _text(COOKBOOKS, ".")))
    assert used
    assert used <= known


def test_a_guards_command_line_needs_nothing_that_a_recipe_installs() -> None:
    """Chef fails where it cannot start a guard's program, as with --why-run on a new machine."""
    guards = re.findall(r'(?:not_if|only_if) "(\S+)', _text(COOKBOOKS, "."))
    assert set(guards) == {"#{agent}", "mountpoint"}


def test_attributes_that_recipes_read_have_defaults() -> None:
    defaults = set(re.findall(r"^default\['(\w+)'\]\['(\w+)'\]", _text(COOKBOOKS, "."), re.M))
    used = set(re.findall(r"node\['(hub_\w+)'\]\['(\w+)'\]", _text(COOKBOOKS, ".")))
    assert used == defaults


def test_dockers_own_networks_and_the_swarms_do_not_overlap() -> None:
    for pool in ("10.200.0.0/14", "172.20.0.0/16", "192.168.0.0/18"):
        lower, upper = map(ipaddress.IPv4Network, call("HubBase::Pool.halves", pool))
        bridge = ipaddress.IPv4Interface(call("HubBase::Pool.bridge", pool))
        assert not lower.overlaps(upper)
        assert list(ipaddress.IPv4Network(pool).subnets()) == [lower, upper]
        assert bridge.network.subnet_of(lower)
        assert bridge.ip not in (bridge.network.network_address, bridge.network.broadcast_address)


def test_the_same_settings_give_the_same_text() -> None:
    one = call("HubBase::Text.json", {"b": [{"d": 1, "c": None}], "a": "ü"})
    two = call("HubBase::Text.json", {"a": "ü", "b": [{"c": None, "d": 1}]})
    assert one == two
    assert json.loads(one) == {"a": "ü", "b": [{"c": None, "d": 1}]}


def test_the_proxys_modules_are_pinned_with_their_checksums_and_name_no_host() -> None:
    text = (COOKBOOKS / "hub_leader/files/package-lock.json").read_text()
    packages = json.loads(text)["packages"]
    assert packages["node_modules/configurable-http-proxy"]["version"] == "5.1.0"
    assert all(item["integrity"] for name, item in packages.items() if name)
    assert not any("resolved" in item for item in packages.values())


NODES = {"Debian 12": (18, 13), "Debian 13": (20, 19)}
"""Node's version as each release first had it."""


def _fits(engines: str, version: tuple[int, int]) -> bool:
    """npm's ranges, as far as the lock file has them."""
    for one in engines.split("||"):
        found = re.fullmatch(r"\s*(>=|\^|)\s*(\d+)(?:\.(\d+))?(?:\.\d+)?\s*|\s*\*\s*", one)
        assert found, f"a range that this test does not know: {one}"
        operator, least = found[1], (int(found[2] or 0), int(found[3] or 0))
        if version >= least and (operator in (">=", None) or version[0] == least[0]):
            return True
    return False


@pytest.mark.parametrize("release", NODES)
def test_the_proxys_modules_run_on_the_distributions_node(release: str) -> None:
    packages = json.loads((COOKBOOKS / "hub_leader/files/package-lock.json").read_text())[
        "packages"
    ]
    engines = {name: item.get("engines", {}).get("node", "*") for name, item in packages.items()}
    assert engines["node_modules/configurable-http-proxy"] != "*"
    assert [name for name, range_ in engines.items() if not _fits(range_, NODES[release])] == []


def test_a_range_of_versions_is_read_as_npm_does() -> None:
    assert _fits(">= 18", (18, 13))
    assert not _fits(">= 20", (18, 13))
    assert _fits("^16 || ^18 || >=20", (18, 13))
    assert not _fits("^16 || >=20", (18, 13))
    assert not _fits(">=22.12.0", (20, 19))
    assert _fits("*", (18, 13))


def test_dockers_command_and_apparmors_parser_are_named_as_the_release_has_them() -> None:
    always = ["docker.io", "iptables", "ca-certificates"]
    assert call("HubBase::Packages.docker", "12", True) == [*always, "apparmor"]
    assert call("HubBase::Packages.docker", "13.2", False) == [*always, "docker-cli"]


def test_a_container_is_not_taken_for_a_machine_with_apparmor(tmp_path: Path) -> None:
    enabled, container = tmp_path / "enabled", tmp_path / "container"
    ask = ("HubBase::State.apparmor?", str(enabled), str(container))
    assert call(*ask) is False
    enabled.write_text("Y\n")
    assert call(*ask) is True
    container.write_text("docker\n")
    assert call(*ask) is False


def _text(folder: Path, part: str) -> str:
    return "\n".join(path.read_text() for path in sorted((folder / part).rglob("*.rb")))
