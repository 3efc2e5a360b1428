"""SSH by paramiko: the second channel, for where Run Command cannot be used.

Host keys are those that the machines published through SSM: an unknown or different key ends the
connection. Machines without a public address are reached through one that has one.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hubdeploy.config.names import Port
from hubdeploy.errors import RemoteError
from hubdeploy.remote.channel import Result, Target
from hubdeploy.remote.keys import parse_host_key

if TYPE_CHECKING:
    import paramiko

CONNECT = 15.0
"""Seconds to reach a machine and prove both sides' keys."""
SILENCE = 5.0
"""Seconds without output after which an ended command is taken to have no more."""


@dataclass(kw_only=True)
class SshChannel:
    """Commands over SSH as ``user`` with sudo; ``users`` names those of other images, by instance
    id.

    ``host_keys(ids)`` gives the pinned key lines. ``jump`` is the machine through which those
    without a public address are reached. ``address`` tells where to dial a target directly (host,
    port), or None if it has to go through ``jump``.
    """

    user: str
    key: Path | None
    host_keys: Callable[[list[str]], dict[str, str]]
    users: Mapping[str, str] = field(default_factory=dict)
    jump: Target | None = None
    address: Callable[[Target], tuple[str, int] | None] = field(
        default=lambda t: (t.public_ip, Port.SSH) if t.public_ip else None
    )
    sudo: bool = True
    port: int = Port.SSH
    """Where machines listen, seen from the jump machine."""
    name: str = field(default="ssh", init=False)

    def user_of(self, instance: str) -> str:
        """The login on a machine."""
        return self.users.get(instance, self.user)

    def run(self, targets: Sequence[Target], command: str, *, deadline: float) -> list[Result]:
        """See :class:`~hubdeploy.remote.channel.Channel`."""
        if not targets:
            return []
        ids = {t.instance_id for t in targets} | ({self.jump.instance_id} if self.jump else set())
        pinned = self.host_keys(sorted(ids))

        def work(target: Target) -> Result:
            try:
                return self._one(target, command, deadline=deadline, pinned=pinned)
            except RemoteError as error:
                return Result(target=target, code=None, problem=error.message)

        with ThreadPoolExecutor(min(16, len(targets)), thread_name_prefix="ssh") as pool:
            return list(pool.map(work, targets))

    def _one(
        self, target: Target, command: str, *, deadline: float, pinned: dict[str, str]
    ) -> Result:
        with self.connection(target, pinned=pinned) as client:
            transport = client.get_transport()
            assert transport is not None
            session = transport.open_session(timeout=CONNECT)
            # the script goes through stdin, so that no process list shows it
            session.exec_command("sudo -n sh -s" if self.sudo else "sh -s")
            session.sendall(command.encode() + b"\n")
            session.shutdown_write()
            out, err = bytearray(), bytearray()
            code = _followed(session, out, err, until=time.monotonic() + deadline)
            if code is None:
                session.close()
                return _result(target, None, out, err, problem="timed out")
            if code < 0:
                problem = "the connection ended, or a signal the command"
                return _result(target, None, out, err, problem=problem)
            return _result(target, code, out, err)

    @contextmanager
    def connection(
        self, target: Target, *, pinned: dict[str, str] | None = None
    ) -> Iterator[paramiko.SSHClient]:
        """A connected client, through the jump machine where the target has no own way in."""
        pinned = self.host_keys([target.instance_id]) if pinned is None else pinned
        with ExitStack() as stack:
            direct = self.address(target)
            sock: socket.socket | paramiko.Channel
            if direct is not None:
                sock = _dial(target, *direct)
            elif self.jump is not None and self.jump.instance_id != target.instance_id:
                hop = stack.enter_context(self.connection(self.jump, pinned=pinned))
                sock = self._through(hop, target)
            else:
                raise RemoteError(
                    f"{target.label} has no public address and there is no machine to go through",
                    hint="use Run Command: --via ssm",
                )
            yield stack.enter_context(self._client(target, sock, pinned))

    def _through(self, hop: paramiko.SSHClient, target: Target) -> paramiko.Channel:
        import paramiko

        transport = hop.get_transport()
        assert transport is not None
        try:
            return transport.open_channel(
                "direct-tcpip", (target.private_ip, self.port), ("127.0.0.1", 0), timeout=CONNECT
            )
        except (paramiko.SSHException, OSError) as error:
            label = self.jump.label if self.jump else "the jump machine"
            raise RemoteError(f"{target.label}: no way through {label}: {error}") from None

    @contextmanager
    def _client(
        self, target: Target, sock: socket.socket | paramiko.Channel, pinned: dict[str, str]
    ) -> Iterator[paramiko.SSHClient]:
        import paramiko

        line = pinned.get(target.instance_id)
        if not line:
            raise RemoteError(
                f"{target.label} has published no host key",
                hint="it may still be booting: `hubdeploy status`; or use --via ssm",
            )
        key = parse_host_key(line)
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        client.get_host_keys().add(target.instance_id, key.get_name(), key)
        try:
            client.connect(
                target.instance_id,
                username=self.user_of(target.instance_id),
                sock=sock,
                key_filename=str(self.key) if self.key else None,
                look_for_keys=False,
                allow_agent=True,
                timeout=CONNECT,
                banner_timeout=CONNECT,
                auth_timeout=CONNECT,
                disabled_algorithms=None,
            )
            yield client
        except paramiko.BadHostKeyException:
            raise RemoteError(
                f"{target.label} shows another host key than it published",
                hint="somebody may be in between; do not go on before you know why",
            ) from None
        except paramiko.AuthenticationException:
            raise RemoteError(
                f"{target.label} refuses the SSH key of user {self.user_of(target.instance_id)}",
                hint="`access.ssh_key` says which key the machines admit",
            ) from None
        except (paramiko.SSHException, EOFError) as error:
            raise RemoteError(f"{target.label}: SSH failed: {error}") from None
        finally:
            client.close()


def _dial(target: Target, host: str, port: int) -> socket.socket:
    try:
        return socket.create_connection((host, port), timeout=CONNECT)
    except OSError as error:
        raise RemoteError(
            f"{target.label} cannot be reached at {host} port {port}: {error.strerror or error}",
            hint="is your address in access.operator_cidrs? or use --via ssm",
        ) from None


def _followed(
    session: paramiko.Channel, out: bytearray, err: bytearray, *, until: float
) -> int | None:
    """Read until the command has ended and all of its output is here.

    The exit code comes as soon as the command ends, and so before the last of its output where
    machine or network are slow. What the command left running may hold the output open for ever:
    then :data:`SILENCE` ends it.

    Returns:
        The exit code; below 0 if the server gave none; None if it still runs at ``until``
        (monotonic seconds).
    """
    heard = time.monotonic()
    while True:
        moved, now = _drain(session, out, err), time.monotonic()
        ended = session.exit_status_ready()
        if moved or not ended:
            heard = now
        if not moved:
            if ended and (session.eof_received or session.closed or now - heard > SILENCE):
                return session.recv_exit_status()
            time.sleep(0.02)
        if now > until:
            return session.recv_exit_status() if ended else None


def _drain(session: paramiko.Channel, out: bytearray, err: bytearray) -> bool:
    moved = False
    if session.recv_ready():
        out += session.recv(65536)
        moved = True
    if session.recv_stderr_ready():
        err += session.recv_stderr(65536)
        moved = True
    return moved


def _result(
    target: Target, code: int | None, out: bytearray, err: bytearray, *, problem: str = ""
) -> Result:
    return Result(
        target=target,
        code=code,
        stdout=out.decode("utf-8", "replace"),
        stderr=err.decode("utf-8", "replace"),
        problem=problem,
    )
