"""A folder in which commands are run as people run them, each a process of its own."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
from tests.cli.schemas import SCHEMAS

HUBDEPLOY = Path(sys.executable).with_name("hubdeploy")
NO_TARGET = ("init", "config")
"""Commands that need no deployment."""


class Terminal:
    """A folder with a configuration, in which commands are run."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.config = folder / "hubdeploy.toml"
        self.config.write_text(
            f'# ours\nname = "{name}"\nregion = "eu-central-1"\n[hub]\nadmins = ["ada"]\n'
            "[workers]\nmin_nodes = 1 # enough\nmax_nodes = 6\n"
        )

    def _environment(self) -> dict[str, str]:
        env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        return {**env, "XDG_STATE_HOME": str(self.folder / "state"), "NO_COLOR": "1"}

    def __call__(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [HUBDEPLOY, *words, *([] if words[0] in NO_TARGET else ["--sandbox"])],
            cwd=self.folder,
            env=self._environment(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )

    def asked(self, *words: str, answer: str | None) -> subprocess.CompletedProcess[str]:
        """Run at a terminal and answer its question; None: Ctrl-C instead of an answer."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [HUBDEPLOY, *words, "--sandbox"],
            cwd=self.folder,
            env=self._environment(),
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        os.close(theirs)
        assert process.stderr
        said = b""
        while b"[y/N]" not in said and (got := os.read(process.stderr.fileno(), 4096)):
            said += got
        if answer is None:
            _until_it_waits(process.pid)
            process.send_signal(signal.SIGINT)
        else:
            os.write(ours, answer.encode() + b"\n")
        out, rest = process.communicate(timeout=200)
        os.close(ours)
        return subprocess.CompletedProcess(
            words, process.returncode, out.decode(), (said + rest).decode()
        )

    def json(self, kind: str, *words: str) -> dict[str, Any]:
        ran = self(*words, "--json")
        found: dict[str, Any] = json.loads(ran.stdout)
        jsonschema.validate(found, SCHEMAS[kind])
        return found


def _until_it_waits(pid: int) -> None:
    """A signal between the prompt and the read would be seen after the read only."""
    end = time.monotonic() + 30
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
        assert time.monotonic() < end, "it never waits for an answer"
        time.sleep(0.02)
