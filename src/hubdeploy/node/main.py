"""``hubdeploy-node``: the agent's command line, for systemd units, recipes and people."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hubdeploy.config.names import MACHINE_HOME, Phase, Role
from hubdeploy.errors import HubdeployError
from hubdeploy.node.aws import Cloud
from hubdeploy.node.machine import load

# Modules of the single verbs are imported where they are used: `--help` and guards stay quick.

_HELP = {"no_args_is_help": True}
app = typer.Typer(
    help="What a machine of a hubdeploy deployment does for itself. Every verb is idempotent.",
    pretty_exceptions_enable=False,
    add_completion=False,
    **_HELP,  # type: ignore[arg-type]
)


def _group(name: str, text: str) -> typer.Typer:
    group = typer.Typer(help=text, **_HELP)  # type: ignore[arg-type]
    app.add_typer(group, name=name)
    return group


phase_app = _group("phase", "What this machine says of itself.")
chef_app = _group("chef-server", "The Chef server's machine.")
workstation_app = _group("workstation", "The workstation's machine.")
swarm_app = _group("swarm", "Docker Swarm.")
images_app = _group("images", "Notebook images.")
spot_app = _group("spot", "Spot interruptions.")
use_app = _group("use", "What the notebooks use.")
hub_app = _group("hub", "The hub's secrets and database (leader).")
tls_app = _group("tls", "The hub's certificate (leader).")
state_app = _group("state", "The leader's own volume.")
ssh_app = _group("ssh", "SSH.")
logs_app = _group("logs", "Logs.")

Check = Annotated[
    bool,
    typer.Option("--check", help="Change nothing; exit 0 if all is in place, 1 if not."),
]


def _cloud() -> Cloud:
    return Cloud(machine=load())


def _ensure(check: bool, in_place: Callable[[Cloud], bool], act: Callable[[Cloud], object]) -> None:
    cloud = _cloud()
    if check:
        raise typer.Exit(0 if in_place(cloud) else 1)
    act(cloud)


# ---------------------------------------------------------------------------------- all roles


@phase_app.command("set")
def phase_set(
    phase: Annotated[Phase, typer.Argument(help="One of the phases.")],
    detail: Annotated[str, typer.Argument(help="What for, or why.")] = "",
    log: Annotated[Path | None, typer.Option(help="File whose end goes along.")] = None,
) -> None:
    """Write the phase parameter."""
    from hubdeploy.node import phases

    tail = log.read_text(errors="replace") if log else ""
    phases.put(_cloud(), phase, detail, log_tail=tail)


@app.command()
def identity(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Who EC2 says this machine is."""
    cloud = _cloud()
    found = {**asdict(cloud.machine.identity), "node": cloud.machine.node_name}
    if as_json:
        typer.echo(json.dumps(found))
    else:
        for key, value in found.items():
            typer.echo(f"{key:14} {value}")


@app.command()
def boot(role: Annotated[Role, typer.Argument(help="The kind of machine.")]) -> None:
    """Go through the boot of this machine, from wherever it got to."""
    from hubdeploy.node import boot as booting

    cloud = _cloud()
    if cloud.machine.role is not role:
        raise HubdeployError(
            f"This machine is a {cloud.machine.role}, not a {role}",
            hint="its user data belongs to another kind of machine",
        )
    booting.boot(cloud)


@app.command()
def update(check: Check = False) -> None:
    """Install the release's agent beside this one and switch to it."""
    from hubdeploy.node import release

    _ensure(
        check,
        lambda cloud: release.is_current(cloud, release.read(cloud)),
        lambda cloud: release.update(cloud, release.read(cloud)),
    )


@app.command()
def leave(
    force: Annotated[bool, typer.Option(help="Even if the system is not going down.")] = False,
) -> None:
    """At the machine's end: leave swarm and Chef server. Does nothing at a reboot."""
    from hubdeploy.node import leaving

    leaving.leave(_cloud(), force=force)


@app.command()
def doctor(
    fleet: Annotated[bool, typer.Option(help="Only the fleet at a glance (leader).")] = False,
) -> None:
    """Facts about this machine as one JSON object."""
    from hubdeploy.node import doctor as examine
    from hubdeploy.node import glance

    typer.echo(json.dumps(glance.glance() if fleet else examine.facts(_cloud()), indent=1))


@ssh_app.command("publish-host-key")
def ssh_publish() -> None:
    """Publish the public SSH host key through SSM."""
    from hubdeploy.node import hostkey

    hostkey.publish(_cloud())


@logs_app.command("ship")
def logs_ship() -> None:
    """Follow the journal and send it to CloudWatch Logs; does not end."""
    from hubdeploy.node import logs

    logs.ship(_cloud())


# ------------------------------------------------------------------------------- Chef machines


@chef_app.command("install")
def chef_install() -> None:
    """Put the Chef server's package on this machine."""
    from hubdeploy.node import chefserver

    chefserver.install(_cloud())


@chef_app.command("configure")
def chef_configure() -> None:
    """Certificate, configuration, start."""
    from hubdeploy.node import chefserver

    chefserver.configure(_cloud())


@chef_app.command("publish")
def chef_publish() -> None:
    """Publish address, certificate and keys, then that the server is there."""
    from hubdeploy.node import chefserver

    chefserver.publish(_cloud())


@chef_app.command("backup")
def chef_backup() -> None:
    """Dump the server into the bucket."""
    from hubdeploy.node import chefserver

    typer.echo(chefserver.backup(_cloud()))


@chef_app.command("restore")
def chef_restore() -> None:
    """Load the newest backup into a server without data."""
    from hubdeploy.node import chefserver

    chefserver.restore(_cloud())


@workstation_app.command("publish")
def workstation_publish(check: Check = False) -> None:
    """Bring the release's cookbooks and roles to the Chef server."""
    from hubdeploy.node import workstation

    _ensure(check, workstation.is_published, workstation.publish)


@workstation_app.command("watch")
def workstation_watch() -> None:
    """Publish whenever the release changes; does not end."""
    from hubdeploy.node import workstation

    workstation.watch(_cloud())


@workstation_app.command("nodes")
def workstation_nodes() -> None:
    """The machines that the Chef server knows, with their last check-in, as JSON."""
    from hubdeploy.node import chefnodes

    typer.echo(json.dumps(chefnodes.listed(_cloud())))


@workstation_app.command("forget")
def workstation_forget(name: str) -> None:
    """Delete the node and client of a machine that is gone."""
    from hubdeploy.node import chefnodes

    chefnodes.forget(_cloud(), name)


@workstation_app.command("knife")
def workstation_knife() -> None:
    """Install the publisher's workstation package, for people who want knife."""
    from hubdeploy.node import workstation

    workstation.knife(_cloud())


# ------------------------------------------------------------------------------ leader, workers


@app.command()
def register(check: Check = False) -> None:
    """Be a node of the Chef server."""
    from hubdeploy.node import client

    _ensure(check, client.is_registered, client.register)


@app.command()
def converge(
    update_first: Annotated[
        bool, typer.Option("--update/--no-update", help="Update this agent before.")
    ] = True,
) -> None:
    """Run the Chef client once."""
    from hubdeploy.node import converging, release

    cloud = _cloud()
    if update_first and release.update(cloud, release.read(cloud)):
        agent = f"{MACHINE_HOME}/venv/bin/hubdeploy-node"
        os.execv(agent, [agent, "converge", "--no-update"])
    result = converging.converge(cloud)
    typer.echo(f"{result.updated} of {result.total} resources updated in {result.seconds} s")


@swarm_app.command("lead")
def swarm_lead(check: Check = False) -> None:
    """Leader: start the swarm, be its drained manager, publish token and address."""
    from hubdeploy.node import swarm

    _ensure(check, swarm.is_leading, swarm.lead)


@swarm_app.command("join")
def swarm_join(check: Check = False) -> None:
    """Worker: join the leader's swarm, drained, and pull the notebook images."""
    from hubdeploy.node import swarm

    _ensure(check, swarm.is_joined, swarm.join)


@swarm_app.command("watch")
def swarm_watch() -> None:
    """Keep the membership, whatever is rebuilt; does not end."""
    from hubdeploy.node import swarm

    swarm.watch(_cloud())


@swarm_app.command("leave")
def swarm_leave() -> None:
    """Worker: leave the swarm."""
    from hubdeploy.node import swarm

    swarm.leave(_cloud())


@swarm_app.command("drain")
def swarm_drain(node: Annotated[str, typer.Argument(help="Node id or host name.")]) -> None:
    """Leader, by hand: no more servers on a node, running ones move."""
    from hubdeploy.node import swarm

    swarm.drain(node)


@images_app.command("pull")
def images_pull() -> None:
    """Pull every notebook image of the settings."""
    from hubdeploy.node import images, release

    for image in images.wanted(release.settings(_cloud())):
        images.pull(image)


@spot_app.command("watch")
def spot_watch() -> None:
    """Watch for the interruption notice; does not end on a spot instance."""
    from hubdeploy.node import spot

    spot.watch(_cloud())


@use_app.command("watch")
def use_watch() -> None:
    """Worker: tell what the notebooks really use, for the fleet's page; does not end."""
    from hubdeploy.node import use

    use.watch(_cloud())


@hub_app.command("secrets")
def hub_secrets(check: Check = False) -> None:
    """The hub's secrets from SSM into files of root."""
    from hubdeploy.node import hubfiles

    _ensure(check, hubfiles.secrets_in_place, hubfiles.write_secrets)


@hub_app.command("backup")
def hub_backup() -> None:
    """Copy the hub's database into the bucket."""
    from hubdeploy.node import hubfiles

    typer.echo(hubfiles.backup(_cloud()) or "no database yet")


@hub_app.command("restore")
def hub_restore(check: Check = False) -> None:
    """The newest backup, where there is no database."""
    from hubdeploy.node import hubfiles

    _ensure(check, hubfiles.is_restored, hubfiles.restore)


@tls_app.command("ensure")
def tls_ensure(
    check: Check = False,
    renew: Annotated[bool, typer.Option(help="Try now, even what was put off.")] = False,
) -> None:
    """Have the hub's certificate, or a self-signed stand-in until it can be had."""
    from hubdeploy.node import tls

    _ensure(check, tls.in_place, lambda cloud: tls.ensure(cloud, renew=renew))


@state_app.command("mount")
def state_mount(check: Check = False) -> None:
    """Attach and mount the state volume."""
    from hubdeploy.node import volume

    _ensure(check, volume.is_mounted, volume.mount)


# ---------------------------------------------------------------------------------------- main


def main() -> None:
    """Entry point: errors as one line and a hint on stderr, exit code 1 (2 for usage)."""
    level = os.environ.get("HUBDEPLOY_LOG", "INFO").upper()
    logging.basicConfig(stream=sys.stderr, level=level, format="%(levelname)s %(message)s")
    for noisy in ("botocore", "boto3", "urllib3", "docker"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    os.umask(0o022)
    try:
        app()
    except HubdeployError as error:
        typer.echo(f"error: {error.message}", err=True)
        if error.hint:
            typer.echo(f"hint: {error.hint}", err=True)
        output = getattr(error, "output", "")
        if output:
            typer.echo(output, err=True)
        raise SystemExit(error.exit_code) from None
