"""The channel that is chosen: Run Command, and SSH for whom it does not reach."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.plugins.sshd import Sshd, free_port
from tests.plugins.standing import Standing

from hubdeploy.cli.channels import channel as choose_channel
from hubdeploy.cli.commands.ssh import _argv as shell_on
from hubdeploy.cli.deployment import Opened
from hubdeploy.errors import HubdeployError, RemoteError
from hubdeploy.operate import status
from hubdeploy.operate.status import Machine
from hubdeploy.remote.auto import AutoChannel
from hubdeploy.remote.ssh import SshChannel
from hubdeploy.remote.ssm import SsmChannel
from hubdeploy.sandbox.known import Sandbox

HOW = 'echo "${SSH_CONNECTION:+by ssh}"'


@pytest.fixture
def machines(standing: Standing) -> list[Machine]:
    """The workstation's agent does not answer any more."""
    there = status.machines(aws=standing.aws, names=standing.names)
    stopped = next(m.instance_id for m in there if m.label == "workstation")
    standing.aws.call("ec2", "stop_instances", InstanceIds=[stopped])
    agents = SsmChannel(aws=standing.aws, bucket=standing.names.bucket)
    standing.cloud.wait(lambda: stopped not in agents.online(), what="the stop")
    return there


@pytest.fixture
def opened(standing: Standing, tmp_path: Path) -> Callable[..., Opened]:
    def make(kind: str | None) -> Opened:
        sandbox = kind and Sandbox(
            name="demo",
            kind=kind,
            endpoint_url="http://127.0.0.1:1",
            directory=tmp_path,
            pid=0,
            access_key="x",
            token="x",
        )
        return Opened(
            path=tmp_path / "hubdeploy.toml",
            config=standing.config,
            configured=standing.config,
            aws=standing.aws,
            names=standing.names,
            sandbox=sandbox or None,
            log_file=tmp_path / "log",
        )

    return make


def ssh_to(server: Sshd, port: int) -> SshChannel:
    return SshChannel(
        user=getpass.getuser(),
        key=server.key,
        host_keys=lambda ids: dict.fromkeys(ids, server.host_key),
        address=lambda _: ("127.0.0.1", port),
        sudo=False,
    )


def test_only_who_is_offline_is_dialled(
    standing: Standing, machines: list[Machine], sshd: Sshd
) -> None:
    auto = AutoChannel(
        first=SsmChannel(aws=standing.aws, bucket=standing.names.bucket, every=0.2),
        second=lambda: ssh_to(sshd, sshd.port),
    )
    results = auto.run([m.target for m in machines], HOW, deadline=10)
    assert [r.target.label for r in results] == [m.label for m in machines]
    assert all(r.ok for r in results)
    assert [r.target.label for r in results if r.stdout == "by ssh\n"] == ["workstation"]


def test_who_is_reached_by_neither_is_named_with_both_reasons(
    standing: Standing, machines: list[Machine], sshd: Sshd
) -> None:
    auto = AutoChannel(
        first=SsmChannel(aws=standing.aws, bucket=standing.names.bucket, every=0.2),
        second=lambda: ssh_to(sshd, free_port()),
    )
    results = auto.run([m.target for m in machines], "true", deadline=10)
    (failed,) = [r for r in results if not r.ok]
    assert failed.target.label == "workstation"
    assert failed.problem.startswith(
        "offline in Run Command; by SSH: workstation cannot be reached"
    )


def test_where_ssh_is_closed_the_offline_are_named(
    opened: Callable[..., Opened], machines: list[Machine]
) -> None:
    auto = choose_channel(opened(None), machines)
    results = auto.run([m.target for m in machines], "true", deadline=10)
    assert {r.target.label: r.problem for r in results if r.problem} == {"workstation": "offline"}


def test_via_ssh_dials_a_rehearsals_machine_at_its_own_address(
    opened: Callable[..., Opened],
    machines: list[Machine],
    sshd: Sshd,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    made = choose_channel(opened("docker"), machines, via="ssh")
    assert isinstance(made, SshChannel)
    assert made.address(machines[0].target) == (machines[0].private_ip, 22)
    # what listens there is a stand-in; the way to it is the command's own
    made.port, made.key, made.user, made.sudo = sshd.port, sshd.key, getpass.getuser(), False
    made.host_keys = lambda ids: dict.fromkeys(ids, sshd.host_key)
    here = machines[0].target.__class__(instance_id="i-0a", label="leader", private_ip="127.0.0.1")
    (result,) = made.run([here], HOW, deadline=10)
    assert result.stdout.strip() == "by ssh"
    with pytest.raises(RemoteError, match="simulated machines run no services"):
        choose_channel(opened("simulated"), machines, via="ssh")


def test_a_shell_in_a_rehearsal_never_goes_to_aws(
    opened: Callable[..., Opened], machines: list[Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def shell(_: Sandbox, instance: str) -> list[str]:
        asked.append(instance)
        return ["a shell"]

    monkeypatch.setattr(Sandbox, "shell", shell)
    for via in (None, "auto", "ssm"):
        assert shell_on(opened("docker"), machines[0], machines, via=via) == ["a shell"]
    assert asked == [machines[0].instance_id] * 3
    argv = shell_on(opened("docker"), machines[0], machines, via="ssh")
    assert argv[0] == "ssh"
    assert argv[-1] == f"admin@{machines[0].private_ip}"
    with pytest.raises(RemoteError, match="simulated machines run no services"):
        shell_on(opened("simulated"), machines[0], machines, via="ssh")


def test_a_shell_is_had_by_the_way_that_is_asked_for(
    opened: Callable[..., Opened],
    machines: list[Machine],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    worker = next(m for m in machines if m.label == "worker/1")
    with pytest.raises(HubdeployError, match="session-manager-plugin"):
        shell_on(opened(None), worker, machines, via="ssm")
    with pytest.raises(HubdeployError, match="--via foo: no such channel"):
        shell_on(opened(None), worker, machines, via="foo")
    by_ssh = shell_on(opened(None), worker, machines, via=None)
    assert by_ssh[-1] == f"admin@{worker.private_ip}"
    assert any("ProxyCommand=" in word for word in by_ssh), "a worker has no public address"
    for name in ("aws", "session-manager-plugin"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    by_ssm = ["aws", "ssm", "start-session", "--target", worker.instance_id]
    assert shell_on(opened(None), worker, machines, via=None)[:5] == by_ssm
    assert shell_on(opened(None), worker, machines, via="ssh")[0] == "ssh"
