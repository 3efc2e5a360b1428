"""SSH against a real sshd on loopback: host keys, refusals, deadlines, the way through a jump."""

from __future__ import annotations

import getpass
import time
from pathlib import Path

import pytest
from tests.plugins.sshd import Sshd, free_port

from hubdeploy.errors import RemoteError
from hubdeploy.remote import ssh
from hubdeploy.remote.channel import Target, worst
from hubdeploy.remote.keys import key_file, public_key
from hubdeploy.remote.ssh import SshChannel

TARGET = Target(instance_id="i-0aaa", label="leader", private_ip="127.0.0.1")


@pytest.fixture
def server(sshd: Sshd) -> Sshd:
    return sshd


def channel(server: Sshd, *, key: Path | None = None, host_key: str | None = None) -> SshChannel:
    line = server.host_key if host_key is None else host_key
    return SshChannel(
        user=getpass.getuser(),
        key=key or server.key,
        host_keys=lambda ids: dict.fromkeys(ids, line),
        address=lambda _: ("127.0.0.1", server.port),
        sudo=False,
    )


def test_a_command_gives_its_output_and_exit_code(server: Sshd) -> None:
    (result,) = channel(server).run([TARGET], "echo out; echo err >&2; exit 3", deadline=10)
    assert (result.code, result.stdout, result.stderr) == (3, "out\n", "err\n")
    assert worst([result]) == 3


def test_long_output_arrives_whole(server: Sshd) -> None:
    (result,) = channel(server).run([TARGET], "seq 1 60000", deadline=20)
    assert result.ok
    assert result.stdout.splitlines()[-1] == "60000"


def test_output_that_comes_after_the_exit_code_arrives_too(server: Sshd) -> None:
    (result,) = channel(server).run([TARGET], "(sleep 1; seq 1 9000) & exit 4", deadline=20)
    assert result.code == 4
    assert result.stdout.splitlines()[-1:] == ["9000"]


def test_what_a_command_leaves_running_is_not_waited_for(
    server: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "SILENCE", 0.5)
    began = time.monotonic()
    (result,) = channel(server).run([TARGET], "sleep 30 & echo begun", deadline=60)
    assert (result.code, result.stdout) == (0, "begun\n")
    assert time.monotonic() - began < 20


def test_a_command_that_a_signal_ended_has_no_exit_code(server: Sshd) -> None:
    (result,) = channel(server).run([TARGET], "echo begun; kill -9 $$", deadline=10)
    assert (result.code, result.stdout) == (None, "begun\n")
    assert "signal" in result.problem
    assert worst([result]) == 1


def test_the_script_is_in_no_process_list(server: Sshd) -> None:
    (result,) = channel(server).run(
        [TARGET], "x=needle-in-a-script; tr '\\0' ' ' < /proc/$$/cmdline", deadline=10
    )
    assert result.ok
    assert "needle" not in result.stdout


def test_a_command_past_its_deadline_is_ended(server: Sshd) -> None:
    began = time.monotonic()
    (result,) = channel(server).run([TARGET], "echo begun; sleep 60", deadline=1)
    assert time.monotonic() - began < 10
    assert (result.code, result.problem, result.stdout) == (None, "timed out", "begun\n")


def test_another_host_key_than_the_published_one_ends_the_connection(
    server: Sshd, tmp_path: Path
) -> None:
    other = public_key(key_file(tmp_path, "other"))
    (result,) = channel(server, host_key=other).run([TARGET], "true", deadline=10)
    assert result.code is None
    assert "another host key" in result.problem


def test_a_machine_that_published_no_key_is_not_trusted(server: Sshd) -> None:
    (result,) = channel(server, host_key="").run([TARGET], "true", deadline=10)
    assert "published no host key" in result.problem


def test_a_key_that_is_not_admitted_is_named(server: Sshd, tmp_path: Path) -> None:
    stranger = key_file(tmp_path, "stranger")
    (result,) = channel(server, key=stranger).run([TARGET], "true", deadline=10)
    assert "refuses the SSH key" in result.problem


def test_a_closed_port_says_where_it_dialled(server: Sshd) -> None:
    closed = free_port()
    way = channel(server)
    way.address = lambda _: ("127.0.0.1", closed)
    (result,) = way.run([TARGET], "true", deadline=10)
    assert f"cannot be reached at 127.0.0.1 port {closed}" in result.problem


def test_without_address_and_jump_the_other_channel_is_named(server: Sshd) -> None:
    way = channel(server)
    way.address = lambda _: None
    with pytest.raises(RemoteError) as caught, way.connection(TARGET):
        pass
    assert "--via ssm" in caught.value.hint


def test_a_made_key_is_kept_and_closed_to_others(tmp_path: Path) -> None:
    first = key_file(tmp_path, "demo")
    assert first.stat().st_mode & 0o777 == 0o600
    assert key_file(tmp_path, "demo").read_bytes() == first.read_bytes()


def test_a_machine_without_an_address_is_reached_through_one_that_has_one(server: Sshd) -> None:
    worker = Target(instance_id="i-0bbb", label="worker/1", private_ip="127.0.0.1")
    way = channel(server)
    way.jump, way.port = TARGET, server.port
    way.address = lambda target: ("127.0.0.1", server.port) if target is TARGET else None
    results = way.run([TARGET, worker], "echo $SSH_CONNECTION", deadline=10)
    assert [r.ok for r in results] == [True, True]
