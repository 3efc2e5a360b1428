"""``hubdeploy ssh``: a shell on a machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hubdeploy.cli import completing, help, options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hubdeploy.cli.deployment import Opened
    from hubdeploy.operate.status import Machine

EXAMPLE = "hubdeploy ssh worker/2"


def ssh(
    machine: Annotated[
        str,
        typer.Argument(
            help="leader, worker/2, or an instance id.", autocompletion=completing.single
        ),
    ] = "leader",
    config: options.Config = options.DEFAULT,
    sandbox: options.Sandbox = False,
    via: options.Via = None,
    profile: options.Profile = None,
    region: options.Region = None,
) -> None:
    """Open a shell on a machine, by Session Manager or by SSH with checked host keys."""
    from hubdeploy.cli.deployment import open_deployment
    from hubdeploy.operate import choose
    from hubdeploy.operate.status import machines

    opened = open_deployment(path=config, sandbox=sandbox, profile=profile, region=region)
    there = machines(aws=opened.aws, names=opened.names)
    target = choose.single(machine, there)
    argv = _argv(opened, target, there, via=via)
    sys.stdout.flush()
    raise typer.Exit(subprocess.run(argv, check=False).returncode)


def _argv(
    opened: Opened, target: Machine, there: Sequence[Machine], *, via: str | None
) -> list[str]:
    """The program to run: its output and keys are the terminal's own."""
    from hubdeploy.cli.channels import kind_of
    from hubdeploy.errors import HubdeployError

    kind = kind_of(opened, via)
    if opened.sandbox is not None and kind != "ssh":
        # what Session Manager is to the account; AWS itself knows nothing of these machines
        return opened.sandbox.shell(target.instance_id)
    session_manager = shutil.which("session-manager-plugin") and shutil.which("aws")
    if kind == "ssm" or (kind == "auto" and session_manager):
        if not session_manager:
            raise HubdeployError(
                "Session Manager needs the AWS CLI and its session-manager-plugin",
                hint="install both, or use --via ssh",
            )
        profile = ["--profile", opened.aws.profile] if opened.aws.profile else []
        return [
            *("aws", "ssm", "start-session", "--target", target.instance_id),
            *("--region", opened.names.region, *profile),
        ]
    if not shutil.which("ssh"):
        raise HubdeployError("there is no ssh program here", hint="install OpenSSH's client")
    return _openssh(opened, target, there)


def _openssh(opened: Opened, target: Machine, there: Sequence[Machine]) -> list[str]:
    from hubdeploy.cli.channels import over_ssh
    from hubdeploy.operate.choose import jump
    from hubdeploy.remote.keys import pinned

    channel = over_ssh(opened, there)
    direct = channel.address(target.target)
    hop = None if direct else jump(there)
    ids = [m.instance_id for m in (target, hop) if m is not None]
    known = opened.key_folder / "keys" / f"{opened.names.deployment}.known_hosts"
    known.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lines = pinned(ids, aws=opened.aws, names=opened.names).items()
    known.write_text("".join(f"{instance} {line}\n" for instance, line in lines), encoding="utf-8")
    common = _options(channel.key, known)
    argv = ["ssh", *common, "-o", f"HostKeyAlias={target.instance_id}"]
    if hop is not None:
        inner = ["ssh", *common, "-o", f"HostKeyAlias={hop.instance_id}", "-W", "%h:%p"]
        way = [*inner, f"{channel.user_of(hop.instance_id)}@{hop.public_ip}"]
        argv += ["-o", f"ProxyCommand={' '.join(map(_quoted, way))}"]
    user = channel.user_of(target.instance_id)
    return [*argv, f"{user}@{direct[0] if direct else target.private_ip}"]


def _options(key: Path | None, known: Path) -> list[str]:
    out = [
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        f"UserKnownHostsFile={_quoted(known.as_posix())}",
    ]
    return [*out, "-i", os.fspath(key)] if key else out


def _quoted(word: str) -> str:
    """For OpenSSH's own splitting into words, and for the shell that a ProxyCommand is run by."""
    return word if " " not in word else '"' + word.replace('"', '\\"') + '"'


def register(app: typer.Typer) -> None:
    help.add(app, ssh, panel=help.REACH, example=EXAMPLE)
