"""Options that many commands share, spelled and explained once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hubdeploy.cli import completing

DEFAULT = Path("hubdeploy.toml")

TARGET = "Which deployment"
OUTPUT = "Output"

Config = Annotated[
    Path,
    typer.Option(
        "--config",
        "-c",
        help="The deployment's configuration file.",
        envvar="HUBDEPLOY_CONFIG",
        rich_help_panel=TARGET,
    ),
]
Sandbox = Annotated[
    bool,
    typer.Option(
        "--sandbox",
        help="Rehearse on this machine; no AWS account needed.",
        rich_help_panel=TARGET,
    ),
]
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        help="AWS profile (as in ~/.aws/config).",
        envvar="AWS_PROFILE",
        show_envvar=False,
        rich_help_panel=TARGET,
    ),
]
Region = Annotated[
    str | None,
    typer.Option("--region", help="Must agree with the file's region.", rich_help_panel=TARGET),
]
Json = Annotated[
    bool, typer.Option("--json", help="One JSON object on stdout.", rich_help_panel=OUTPUT)
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Only the result.", rich_help_panel=OUTPUT)
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Every change as it is made.", rich_help_panel=OUTPUT),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Machines = Annotated[
    str | None,
    typer.Option(
        "--machines",
        help="With --sandbox: 'docker' or 'simulated'; default: docker where it can be had.",
        autocompletion=completing.kinds,
        rich_help_panel=TARGET,
    ),
]
Via = Annotated[
    str | None,
    typer.Option(
        "--via",
        help="How to reach machines: auto, ssm or ssh.",
        autocompletion=completing.channels,
        rich_help_panel=TARGET,
    ),
]
