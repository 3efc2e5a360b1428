"""A way from this machine to a port of a machine that nothing outside may reach.

The Chef server takes connections from the deployment's machines only. An operator reaches it by
SSH (a connection forwarded inside an authenticated one) or by Session Manager (no open port at
all); either gives a port on this machine's loopback for as long as it is needed.
"""

from __future__ import annotations

import logging
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from hubdeploy.errors import RemoteError
from hubdeploy.remote.channel import Target
from hubdeploy.remote.ssh import CONNECT, SshChannel

if TYPE_CHECKING:
    import paramiko

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
_CHUNK = 64 * 1024
_POLL = 0.05
"""Seconds until the listener notices that it is to end."""


class Tunnel(Protocol):
    """Opens ports of machines on this one."""

    name: str
    """``ssm`` or ``ssh``."""

    def open(self, target: Target, *, port: int) -> AbstractContextManager[str]:
        """``HOST:PORT`` on this machine that leads to ``port`` of ``target`` within the block.

        Any number of connections, also at once. :class:`RemoteError` if there is no way, or
        nothing listens at its end.
        """
        ...


@dataclass(kw_only=True)
class SshTunnel:
    """Through the target's own SSH where that can be dialled, else through the jump machine.

    From the jump machine the target's port is dialled directly: the firewall lets the leader to
    the Chef server's HTTPS, and nobody from inside to its SSH.
    """

    channel: SshChannel
    name: str = field(default="ssh", init=False)

    @contextmanager
    def open(self, target: Target, *, port: int) -> Iterator[str]:
        """See :class:`Tunnel`."""
        jump = self.channel.jump
        if self.channel.address(target) is not None or jump is None:
            hop, there = target, (LOOPBACK, port)
        else:
            hop, there = jump, (target.private_ip, port)
        with ExitStack() as stack:
            client = stack.enter_context(self.channel.connection(hop))
            transport = client.get_transport()
            assert transport is not None
            way = _Way(transport=transport, there=there, label=target.label, hop=hop.label)
            way.dial().close()  # says now, in words, what would else end in a cut connection
            server = stack.enter_context(_Listener(way))
            thread = threading.Thread(
                target=server.serve_forever, args=(_POLL,), name=f"tunnel-{target.label}"
            )
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            yield f"{LOOPBACK}:{server.server_address[1]}"


@dataclass(frozen=True, kw_only=True)
class _Way:
    """An authenticated connection to ``hop``, and what is dialled from there."""

    transport: paramiko.Transport
    there: tuple[str, int]
    label: str
    hop: str

    def dial(self) -> paramiko.Channel:
        import paramiko

        try:
            return self.transport.open_channel(
                "direct-tcpip", self.there, (LOOPBACK, 0), timeout=CONNECT
            )
        except (paramiko.SSHException, EOFError, OSError) as error:
            through = "" if self.hop == self.label else f" (through {self.hop})"
            raise RemoteError(
                f"{self.label}: port {self.there[1]} cannot be reached{through}: {error}",
                hint="is the service there up? `hubdeploy doctor` says what is wrong",
            ) from None


class _Handler(socketserver.BaseRequestHandler):
    """One connection, passed on in both directions until both have ended."""

    server: _Listener

    def handle(self) -> None:
        try:
            channel = self.server.way.dial()
        except RemoteError as error:
            log.warning("%s", error)
            return
        with channel:
            back = threading.Thread(target=_pump, args=(channel, self.request), daemon=True)
            back.start()
            _pump(self.request, channel)
            back.join()


class _Listener(socketserver.ThreadingTCPServer):
    """On a free port of this machine's loopback."""

    allow_reuse_address = True
    daemon_threads = True
    # those who still talk are cut off with the SSH connection
    block_on_close = False

    def __init__(self, way: _Way) -> None:
        self.way = way
        super().__init__((LOOPBACK, 0), _Handler)


def _pump(source: socket.socket | paramiko.Channel, sink: socket.socket | paramiko.Channel) -> None:
    """Pass bytes on until ``source`` ends, then say so to ``sink``: half a connection."""
    try:
        while part := source.recv(_CHUNK):
            sink.sendall(part)
    except OSError as error:
        log.debug("a tunnelled connection broke: %s", error)
    try:
        sink.shutdown(socket.SHUT_WR)
    except (OSError, EOFError):
        log.debug("the other side of a tunnelled connection had gone already")
