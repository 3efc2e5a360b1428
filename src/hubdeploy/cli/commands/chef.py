"""``hubdeploy chef``: the Chef server from the operator's machine, through a tunnel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from hubdeploy.cli import help, options

if TYPE_CHECKING:
    from rich.console import Console

    from hubdeploy.operate.chefserver import Overview


def status(
    config: options.Config = options.DEFAULT,
    sandbox: options.Sandbox = False,
    via: options.Via = None,
    profile: options.Profile = None,
    region: options.Region = None,
    as_json: options.Json = False,
) -> None:
    """Show the Chef server's nodes with their last converge, its roles and its cookbooks.

    The server is never open to the world: this goes by Session Manager (where AWS's plugin is
    installed) or by SSH, and asks as the server's admin, whose key is read from SSM.
    """
    from dataclasses import asdict

    from hubdeploy.cli.channels import tunnel
    from hubdeploy.cli.deployment import open_deployment
    from hubdeploy.cli.output import console, emit
    from hubdeploy.operate import chefserver
    from hubdeploy.operate.status import machines

    opened = open_deployment(path=config, sandbox=sandbox, profile=profile, region=region)
    there = machines(aws=opened.aws, names=opened.names)
    way = tunnel(opened, there, via=via)
    with chefserver.connected(way, there, aws=opened.aws, names=opened.names) as server:
        found = chefserver.overview(server, there, names=opened.names)
    if as_json:
        emit("chef", asdict(found))
    else:
        _show(found, console())


ROOMY = 76
"""Columns that the table needs."""


def _show(found: Overview, out: Console) -> None:
    out.print(f"Chef server: {found.server}", markup=False)
    rows = [
        (
            node.machine or f"none: {node.name}",
            " ".join(node.run_list),
            node.address,
            node.converged[:16].replace("T", " ") or "never",
        )
        for node in found.nodes
    ]
    if out.width < ROOMY:
        for machine, run_list, address, converged in rows:
            out.print(f"{machine}: {run_list}", markup=False)
            out.print(f"  {address}, last converge {converged}", markup=False)
    else:
        _table(rows, out)
    for role in found.roles:
        out.print(f"role {role.name}: {' '.join(role.run_list)}", markup=False)
    for name, version in found.cookbooks.items():
        out.print(f"cookbook {name} {version}", markup=False)


def _table(rows: list[tuple[str, str, str, str]], out: Console) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("machine", "run list", "address", "last converge (UTC)"):
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    out.print(table)


def register(app: typer.Typer) -> None:
    group = help.group(
        app, "chef", help="The Chef server, reached through a tunnel.", panel=help.REACH
    )
    help.add(group, status, example="hubdeploy chef status --via ssh")
