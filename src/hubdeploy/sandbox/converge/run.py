"""One converge: run list and attributes in, recipes run by itamae, the node saved."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hubdeploy.chef import runlist
from hubdeploy.chef.objects import Json, Node
from hubdeploy.errors import ChefError
from hubdeploy.sandbox.converge import ohai
from hubdeploy.sandbox.converge.sources import Source

log = logging.getLogger(__name__)

RUBY = Path(__file__).parent / "ruby" / "converge.rb"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a converge went. ``updated`` names resources with the action that changed them, in order;
    ``total`` counts all resource actions met; ``seconds`` is the recipes' own time.
    """

    ok: bool
    error: str
    updated: list[str]
    total: int
    seconds: float

    def as_json(self) -> Json:
        return {
            "ok": self.ok,
            "error": self.error,
            "updated": self.updated,
            "total": self.total,
            "seconds": self.seconds,
        }


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the command line asks for."""

    override_run_list: tuple[str, ...] = ()
    """Instead of the node's own; the node is then not saved, as with Chef's client."""
    attributes: Json = field(default_factory=dict)
    """``run_list`` and normal attributes, kept with the node."""
    why_run: bool = False
    log_level: str = "info"


def converge(source: Source, wishes: Wishes, *, ask: Sequence[str], cache: Path) -> Outcome:
    """Run the node's run list on this machine.

    ``ask`` is the command that answers a recipe's ``search`` (question and answer as JSON on its
    standard streams); ``cache`` is Chef's ``file_cache_path``.

    Raises:
        ChefError: itamae is missing, or the server refuses something before recipes run.
    """
    node = source.node()
    given = dict(wishes.attributes)
    node.run_list = list(given.pop("run_list", None) or node.run_list)
    node.normal = runlist.deep_merge(node.normal, given)
    expanded = runlist.expand(wishes.override_run_list or node.run_list, source.role)
    placed = source.cookbooks(expanded.recipes)
    automatic = ohai.automatic() | {"recipes": expanded.recipes, "roles": expanded.roles}
    spec = {
        "recipes": expanded.recipes,
        "cookbooks": [
            {
                "name": one.name,
                "folder": str(one.folder),
                "version": one.version,
                "dependencies": one.dependencies,
            }
            for one in placed
        ],
        "node": {
            "name": node.name,
            "run_list": node.run_list,
            "chef_environment": node.environment,
            "levels": {
                "role_default": expanded.default,
                "normal": node.normal,
                "role_override": expanded.override,
                "automatic": automatic,
            },
        },
        "config": {
            "file_cache_path": str(cache),
            "node_name": node.name,
            "environment": node.environment,
            "why_run": wishes.why_run,
        },
        "ask": list(ask),
        "why_run": wishes.why_run,
        "log_level": wishes.log_level,
    }
    result = _run_ruby(spec)
    # as with Chef's client, a failed run does not save what it came to
    if result["ok"] and not wishes.override_run_list and not wishes.why_run:
        came = result["node"]
        source.save(
            Node(
                name=node.name,
                run_list=came["run_list"],
                environment=came["chef_environment"],
                **{level: came[level] for level in ("automatic", "default", "normal", "override")},
            )
        )
    return Outcome(
        ok=result["ok"],
        error=result["error"] or "",
        updated=result["updated"],
        total=result["total"],
        seconds=result["seconds"],
    )


def _run_ruby(spec: Json) -> Json:
    ruby = shutil.which("ruby")
    if not ruby or not shutil.which("itamae"):
        raise ChefError(
            "itamae is not installed", hint="apt-get install itamae, or install Chef's client"
        )
    with tempfile.TemporaryDirectory(prefix="hubdeploy-converge-") as folder:
        asked, answered = Path(folder, "spec.json"), Path(folder, "result.json")
        asked.touch(mode=0o600)
        asked.write_text(json.dumps(spec), encoding="utf-8")
        done = subprocess.run(
            [ruby, str(RUBY), str(asked), str(answered)],
            check=False,
            stdin=subprocess.DEVNULL,
            # gems that an operator's shell points to are none of the recipes' business
            env={k: v for k, v in os.environ.items() if k not in ("RUBYOPT", "RUBYLIB")},
        )
        if not answered.exists():
            raise ChefError(
                f"The converge broke off (exit status {done.returncode})",
                hint="see what it wrote above",
            )
        result: Json = json.loads(answered.read_text(encoding="utf-8"))
        return result
