"""What this copy of hubdeploy is: version, commit if run from a checkout, Python."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

from hubdeploy import __version__


def commit() -> str:
    """Short commit of the checkout this runs from, with ``+`` if it has changes; else empty."""
    root = Path(__file__).parents[3]
    if not (root / ".git").exists():
        return ""
    described = subprocess.run(
        ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip()


def build_info() -> str:
    """``hubdeploy 0.1.0 (abc1234, Python 3.11.7, Linux x86_64)``."""
    parts = [
        commit(),
        f"Python {platform.python_version()}",
        f"{platform.system()} {platform.machine()}",
    ]
    return f"hubdeploy {__version__} ({', '.join(part for part in parts if part)})"
