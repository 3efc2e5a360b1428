"""Output on narrow terminals: nothing overflows and nothing is cut."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from hubdeploy.cli.commands.chef import _show
from hubdeploy.cli.output import console
from hubdeploy.operate.chefserver import ChefNode, Overview

NODE = ChefNode(
    name="demo-leader-i-0123456789abcdef0",
    machine="leader",
    run_list=["role[leader]"],
    address="10.42.100.4",
    converged="2026-11-26T12:00:00Z",
)


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_the_chef_servers_nodes_fit_any_terminal(width: int) -> None:
    out = Console(file=io.StringIO(), width=width, highlight=False)
    found = Overview(server="https://chef.demo.internal", nodes=[NODE], roles=[], cookbooks={})
    _show(found, out)
    assert isinstance(out.file, io.StringIO)
    lines = out.file.getvalue().splitlines()
    assert max(len(line) for line in lines) <= width
    assert "…" not in "".join(lines)
    text = " ".join(" ".join(lines).split())
    for cell in ("leader", "role[leader]", "10.42.100.4", "2026-11-26 12:00"):
        assert cell in text


@pytest.mark.parametrize(("columns", "width"), [("", 80), ("44", 44), ("200", 200)])
def test_a_pipe_is_as_wide_as_columns_says(
    monkeypatch: pytest.MonkeyPatch, columns: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert console().width == width
