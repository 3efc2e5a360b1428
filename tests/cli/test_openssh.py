"""The words that OpenSSH is started with, read back by OpenSSH itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hubdeploy.cli.commands.ssh import _options, _quoted


@pytest.mark.parametrize("folder", ["plain", "Ada L"])
def test_openssh_takes_the_known_hosts_file_for_one_file(tmp_path: Path, folder: str) -> None:
    known = tmp_path / folder / "demo.known_hosts"
    read = subprocess.run(
        ["ssh", "-G", "-F", "/dev/null", *_options(None, known), "leader"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"userknownhostsfile {known}\n" in read
    assert "stricthostkeychecking true" in read


def test_a_word_with_blanks_stays_one_word_in_the_command_of_the_way_in_between() -> None:
    words = ["ssh", "-o", 'UserKnownHostsFile="/home/Ada L/known"', "-i", "/home/Ada L/key"]
    line = " ".join(map(_quoted, words))
    seen = subprocess.run(
        ["sh", "-c", f"printf '%s\\n' {line}"], capture_output=True, text=True, check=True
    ).stdout
    assert seen.splitlines() == words
