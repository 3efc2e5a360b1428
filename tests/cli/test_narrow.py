"""Output on narrow terminals: nothing overflows and nothing is cut."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from hubdeploy.cli.commands.chef import _show
from hubdeploy.cli.commands.doctor import _show as show_report
from hubdeploy.cli.output import console, folded
from hubdeploy.doctor.check import Report
from hubdeploy.operate import cost
from hubdeploy.operate.chefserver import ChefNode, Overview
from hubdeploy.pipeline.step import Finding, Severity

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


def printed(out: Console) -> list[str]:
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [40, 44, 60, 80, 200])
def test_what_doctor_finds_is_folded_and_what_to_do_can_be_copied(width: int) -> None:
    out = Console(file=io.StringIO(), width=width, highlight=False)
    command = "aws service-quotas request-service-quota-increase --desired-value 64"
    found = Finding(
        severity=Severity.ERROR,
        subject="vcpus",
        message="vCPUs of standard instances: 4 of 16 are used and 48 more are needed",
        hint=f"ask for more: {command}",
    )
    report = Report(name="aws.quotas", title="Quotas leave room", findings=[found])
    show_report(report, out=out, fix=False)
    *above, hint = printed(out)
    assert max(len(line) for line in above) <= width
    said = " ".join(" ".join(above).split())
    assert said == f"FAIL aws.quotas Quotas leave room {found.message}"
    assert hint == f"      -> {found.hint}"


@pytest.mark.parametrize("width", [40, 80])
def test_prose_breaks_between_words_and_goes_on_further_in(width: int) -> None:
    out = Console(file=io.StringIO(), width=width, highlight=False)
    folded(out, cost.REHEARSAL)
    first, *more = printed(out)
    assert max(len(line) for line in (first, *more)) <= width
    assert first.startswith("  In the sandbox")
    assert more
    assert all(line.startswith("    ") for line in more)
    assert " ".join(" ".join((first, *more)).split()) == cost.REHEARSAL.strip()


def test_an_address_is_never_broken() -> None:
    out = Console(file=io.StringIO(), width=20, highlight=False)
    folded(out, "the hub is at https://notebooks.example.org/hub/login now")
    assert "  https://notebooks.example.org/hub/login" in printed(out)
