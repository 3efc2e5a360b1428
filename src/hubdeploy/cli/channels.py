"""The channel or tunnel by which a command reaches machines: chosen, or forced by ``--via``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hubdeploy.config.names import Role
from hubdeploy.errors import ConfigError, RemoteError

if TYPE_CHECKING:
    from hubdeploy.cli.deployment import Opened
    from hubdeploy.operate.status import Machine
    from hubdeploy.remote.channel import Channel
    from hubdeploy.remote.ssh import SshChannel
    from hubdeploy.remote.tunnel import Tunnel

USER, CHEF_USER = "admin", "ubuntu"
"""The logins of Debian's images, and of Ubuntu's, which the Chef server's package is made for."""


def channel(opened: Opened, there: Sequence[Machine], *, via: str | None = None) -> Channel:
    """Run Command, then SSH for whom it does not reach, if the operator's address is let in."""
    from hubdeploy.remote.auto import AutoChannel
    from hubdeploy.remote.ssm import SsmChannel

    kind = kind_of(opened, via)
    ssm = SsmChannel(aws=opened.aws, bucket=opened.names.bucket)
    if kind == "ssm":
        return ssm
    if kind == "ssh":
        return over_ssh(opened, there)
    if opened.sandbox is None:
        let_in = bool(opened.config.access.operator_cidrs)
    else:
        let_in = opened.sandbox.kind != "simulated"
    return AutoChannel(first=ssm, second=(lambda: over_ssh(opened, there)) if let_in else None)


def tunnel(opened: Opened, there: Sequence[Machine], *, via: str | None = None) -> Tunnel:
    """Session Manager where AWS's plugin is installed, else SSH where that is let in."""
    from hubdeploy.remote import sessions
    from hubdeploy.remote.tunnel import SshTunnel

    kind = kind_of(opened, via)
    if opened.sandbox is not None:
        return SshTunnel(channel=_ssh_in_sandbox(opened, there))
    if kind == "ssm" or (kind == "auto" and sessions.installed()):
        return sessions.SsmTunnel(aws=opened.aws)
    if kind == "ssh" or opened.config.access.operator_cidrs:
        return SshTunnel(channel=ssh(opened, there))
    raise RemoteError(
        f"{sessions.PLUGIN} is not installed here, and SSH is closed",
        hint="install AWS's plugin, or open SSH with access.operator_cidrs",
    )


def kind_of(opened: Opened, via: str | None) -> str:
    """``auto``, ``ssm`` or ``ssh``: as forced, else as configured."""
    kind = via or opened.config.access.channel
    if kind not in ("auto", "ssm", "ssh"):
        raise ConfigError(f"--via {kind}: no such channel", hint="auto, ssm or ssh")
    return kind


def over_ssh(opened: Opened, there: Sequence[Machine]) -> SshChannel:
    """SSH to where the machines are: in the account, or on this machine."""
    return ssh(opened, there) if opened.sandbox is None else _ssh_in_sandbox(opened, there)


def _ssh_in_sandbox(opened: Opened, there: Sequence[Machine]) -> SshChannel:
    """The machines' own addresses can be dialled from the machine that holds them."""
    if opened.sandbox is not None and opened.sandbox.kind == "simulated":
        raise RemoteError(
            "simulated machines run no services", hint="--machines docker has real ones"
        )
    made = ssh(opened, there)
    made.address = lambda target: (target.private_ip, made.port)
    return made


def ssh(opened: Opened, there: Sequence[Machine]) -> SshChannel:
    """SSH with the deployment's key and the host keys that the machines published."""
    from hubdeploy.operate.choose import jump
    from hubdeploy.remote.keys import key_file, pinned
    from hubdeploy.remote.ssh import SshChannel

    configured = opened.config.access.ssh_key
    # a configured public key means: its private half is in the agent or beside it; the text of
    # a key is no path
    text = bool(configured) and str(configured).startswith(("ssh-", "ecdsa-", "sk-"))
    beside = Path(configured).expanduser().with_suffix("") if configured and not text else None
    hop = jump(there)
    own_image = opened.config.chef.distribution == "goiardi"
    return SshChannel(
        user=USER,
        users={} if own_image else {m.instance_id: CHEF_USER for m in there if m.role == Role.CHEF},
        key=(beside if beside and beside.exists() else None)
        if configured
        else key_file(opened.key_folder, opened.names.deployment),
        host_keys=lambda ids: pinned(ids, aws=opened.aws, names=opened.names),
        jump=hop.target if hop else None,
    )
