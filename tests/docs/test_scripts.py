"""The scripts that a fresh machine runs first."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("script", ["scripts/prepare", ".ci/run"])
def test_the_projects_own_scripts_are_clean(script: str) -> None:
    checked = subprocess.run(
        ["shellcheck", ROOT / script], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout
