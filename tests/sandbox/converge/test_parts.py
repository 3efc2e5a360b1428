"""The adapter's Python parts, and its Ruby as Ruby."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from hubdeploy.errors import ChefError
from hubdeploy.sandbox.converge import ohai
from hubdeploy.sandbox.converge.clientrb import parse_client_rb, read_client_rb
from hubdeploy.sandbox.converge.run import RUBY
from hubdeploy.sandbox.converge.sources import matches


def test_client_rb_is_read_as_chefs_client_reads_it(tmp_path: Path) -> None:
    (tmp_path / "client.rb").write_text(
        "chef_server_url 'https://chef.demo.internal/organizations/hub' # the server\n"
        'node_name("demo-leader-i-1")\n'
        "log_location STDOUT\n"
        "ssl_verify_mode :verify_peer\n"
        "client_key \"#{ENV['HOME']}/x.pem\"\n"
    )
    found = read_client_rb(tmp_path / "client.rb")
    assert found.chef_server_url == "https://chef.demo.internal/organizations/hub"
    assert found.node_name == "demo-leader-i-1"
    assert found.client_key == tmp_path / "client.pem"
    assert found.trust is None
    assert found.environment == "_default"
    assert parse_client_rb("log_level :info\nx = 1\n") == {"log_level": "info"}


def test_a_client_rb_without_a_server_or_none_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ChefError, match="cannot be read"):
        read_client_rb(tmp_path / "client.rb")
    (tmp_path / "client.rb").write_text("node_name 'x'\n")
    with pytest.raises(ChefError, match="names no chef_server_url"):
        read_client_rb(tmp_path / "client.rb")


def test_automatic_attributes_have_ohais_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    found = json.loads(json.dumps(ohai.automatic()))
    assert found["platform"] == "debian"
    assert found["platform_version"].startswith("12")
    assert found["memory"]["total"].endswith("kB")
    assert found["network"]["interfaces"]["lo"]["addresses"]["127.0.0.1"]["family"] == "inet"
    assert found["cpu"]["total"] >= 1
    assert "ec2" not in found


def test_ubuntu_is_of_the_debian_family() -> None:
    text = 'NAME="Ubuntu"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID="22.04"\nVERSION_CODENAME=jammy\n'
    found = ohai.parse_os_release(text)
    assert (found["platform"], found["platform_family"]) == ("ubuntu", "debian")
    assert found["lsb"]["codename"] == "jammy"


def test_memory_is_read_in_kilobytes() -> None:
    found = ohai.parse_meminfo("MemTotal:  100 kB\nMemFree: 5 kB\nSwapTotal: 0 kB\n")
    assert found == {"total": "100kB", "free": "5kB", "swap": {"total": "0kB"}}


@pytest.mark.parametrize(
    ("query", "hit"),
    [
        ("*:*", True),
        ("name:a*", True),
        ("name:b", False),
        ("role:worker AND name:a", True),
        ("role:leader OR recipe:x", True),
        ("NOT role:worker", False),
        ("ec2_zone:z", True),
        ("nothing:here", False),
    ],
)
def test_local_queries_are_answered_as_a_server_would(query: str, hit: bool) -> None:
    row = {
        "name": "a",
        "automatic": {"roles": ["worker"], "recipes": ["x"], "ec2": {"zone": "z"}},
        "default": {"ec2": {"zone": "other"}},
    }
    assert matches(row, query) is hit


def test_rubocop_finds_nothing() -> None:
    rubocop = shutil.which("rubocop")
    assert rubocop, "rubocop is not installed (Debian package rubocop)"
    done = subprocess.run(
        [rubocop, "--format", "emacs", "--cache", "false", "."],
        cwd=RUBY.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
