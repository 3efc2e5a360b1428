"""systemd units that the agent writes for itself; recipes write those of hub, swarm and spot."""

from __future__ import annotations

from hubdeploy.config.names import MACHINE_HOME, Role
from hubdeploy.node import release, system
from hubdeploy.node.aws import Cloud

AGENT = f"{MACHINE_HOME}/venv/bin/hubdeploy-node"

_SERVICE = """\
[Unit]
Description=hubdeploy: {title}
Wants=network-online.target
After=network-online.target
[Service]
Type=oneshot
ExecStart={agent} {arguments}
TimeoutStartSec={seconds}
"""

_TIMER = """\
[Unit]
Description=hubdeploy: {title}
[Timer]
{when}
RandomizedDelaySec={spread}
Persistent=true
[Install]
WantedBy=timers.target
"""

_DAEMON = """\
[Unit]
Description=hubdeploy: {title}
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0
[Service]
ExecStart={agent} {arguments}
Restart=always
RestartSec=10
{more}
[Install]
WantedBy=multi-user.target
"""

# Started late and so stopped early: Docker and the network are still there at its stop.
_LEAVE = """\
[Unit]
Description=hubdeploy: leave swarm and Chef server when the machine ends
Wants=network-online.target
After=network-online.target docker.service dbus.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop={agent} leave
TimeoutStopSec=60
[Install]
WantedBy=multi-user.target
"""


def timed(
    cloud: Cloud, name: str, *, title: str, arguments: str, when: str, spread: str, seconds: int
) -> None:
    """A oneshot service and its timer."""
    root = cloud.machine.root
    service = _SERVICE.format(title=title, agent=AGENT, arguments=arguments, seconds=seconds)
    system.unit(root, f"{name}.service", service, start=False)
    system.unit(root, f"{name}.timer", _TIMER.format(title=title, when=when, spread=spread))


def daemon(cloud: Cloud, name: str, *, title: str, arguments: str, more: str = "") -> None:
    """A service that always runs."""
    text = _DAEMON.format(title=title, agent=AGENT, arguments=arguments, more=more)
    system.unit(cloud.machine.root, f"{name}.service", text)


def common(cloud: Cloud) -> None:
    """All roles: log shipping; leader and workers: leaving at the end."""
    daemon(
        cloud,
        "hubdeploy-logs",
        title="journal to CloudWatch",
        arguments="logs ship",
        more="MemoryMax=200M",
    )
    if cloud.machine.role in (Role.LEADER, Role.WORKER):
        system.unit(cloud.machine.root, "hubdeploy-leave.service", _LEAVE.format(agent=AGENT))


def chef_server(cloud: Cloud) -> None:
    """The daily backup (which also looks after certificate and registration)."""
    timed(
        cloud,
        "hubdeploy-chef-backup",
        title="backup of the Chef server",
        arguments="chef-server backup",
        when="OnCalendar=*-*-* 03:00:00",
        spread="30min",
        seconds=3600,
    )


def workstation(cloud: Cloud) -> None:
    """Watches the release and publishes again."""
    daemon(
        cloud,
        "hubdeploy-workstation",
        title="publish cookbooks and roles of each release",
        arguments="workstation watch",
    )


def node(cloud: Cloud) -> None:
    """Leader and workers: the converge timer; leader: backup and certificate timers."""
    every = max(300, int(release.settings(cloud)["converge_every"]))
    timed(
        cloud,
        "hubdeploy-converge",
        title="converge",
        arguments="converge",
        when=f"OnActiveSec={every}s\nOnUnitInactiveSec={every}s",
        spread=f"{every // 10}s",
        seconds=7200,
    )
    if cloud.machine.role is Role.LEADER:
        timed(
            cloud,
            "hubdeploy-hub-backup",
            title="backup of the hub's database",
            arguments="hub backup",
            when="OnActiveSec=15min\nOnUnitActiveSec=6h",
            spread="5min",
            seconds=600,
        )
        timed(
            cloud,
            "hubdeploy-tls",
            title="certificate",
            arguments="tls ensure",
            # the CA is asked at most once an hour; what only waits for a name or nginx is not
            when="OnActiveSec=1min\nOnUnitInactiveSec=5min",
            spread="2min",
            seconds=900,
        )
