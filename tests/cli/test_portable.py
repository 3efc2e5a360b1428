"""What runs on the operator's machine needs nothing that only Unix has."""

from __future__ import annotations

import subprocess
import sys

IMPORT = """
import importlib, pkgutil, sys
for name in ("fcntl", "pwd", "grp", "resource", "termios", "pty", "tty"):
    sys.modules[name] = None
import hubdeploy
for layer in ("cli", "pipeline", "steps", "doctor", "operate", "remote", "chef", "aws", "config"):
    package = importlib.import_module(f"hubdeploy.{layer}")
    for module in pkgutil.walk_packages(package.__path__, f"hubdeploy.{layer}."):
        importlib.import_module(module.name)
print("all")
"""


def test_every_layer_of_the_command_loads_without_what_windows_lacks() -> None:
    run = subprocess.run(
        [sys.executable, "-c", IMPORT], capture_output=True, text=True, check=False
    )
    assert run.stdout == "all\n", run.stderr
