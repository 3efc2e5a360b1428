"""A cookbook in a temporary folder, converged on this machine without a server."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from hubdeploy.chef.objects import Json, Node
from hubdeploy.sandbox.converge.run import Outcome, Wishes, converge
from hubdeploy.sandbox.converge.sources import LocalSource


class Kitchen:
    """Cookbook ``t``; recipes write below ``out`` (``OUT`` in their text) and nowhere else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out"
        self.out.mkdir()
        self.write("cookbooks/t/metadata.rb", "name 't'\nversion '1.0.0'\n")

    def write(self, name: str, text: str) -> Path:
        """A file below the folder; ``OUT`` is replaced by the place to write to."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(re.sub(r"\bOUT\b", str(self.out), text))
        return file

    def recipe(self, text: str, *, name: str = "default") -> None:
        self.write(f"cookbooks/t/recipes/{name}.rb", text)

    def converge(
        self,
        text: str | None = None,
        *,
        run_list: tuple[str, ...] = ("recipe[t]",),
        why_run: bool = False,
        log_level: str = "info",
        **attributes: Any,
    ) -> Outcome:
        """One run; ``text`` replaces the default recipe, ``attributes`` are normal ones."""
        if text is not None:
            self.recipe(text)
        normal: Json = attributes
        source = LocalSource(
            self.folder / "cookbooks",
            node=Node(name="local", run_list=list(run_list), normal=normal),
            nodes=self.folder / "nodes",
        )
        return converge(
            source,
            Wishes(why_run=why_run, log_level=log_level),
            ask=self.ask(),
            cache=self.folder / "cache",
        )

    def ask(self) -> list[str]:
        command = [sys.executable, "-m", "hubdeploy.sandbox.converge.main", "--ask", "--local"]
        return [*command, str(self.folder / "cookbooks"), "--nodes", str(self.folder / "nodes")]

    def read(self, name: str) -> str:
        return (self.out / name).read_text()
