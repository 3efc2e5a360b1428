"""Tunnels to ports that nobody outside may reach: by a real sshd, to a real Chef server."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.plugins.goiardi import Goiardi
from tests.plugins.sshd import Sshd, free_port

from hubdeploy.chef.server import ChefServer
from hubdeploy.errors import RemoteError
from hubdeploy.remote.channel import Target
from hubdeploy.remote.keys import key_file, public_key
from hubdeploy.remote.ssh import SshChannel
from hubdeploy.remote.tunnel import SshTunnel

LEADER = Target(instance_id="i-0aaa", label="leader", private_ip="127.0.0.1", public_ip="127.0.0.1")
CHEF = Target(instance_id="i-0ccc", label="chef", private_ip="127.0.0.1")


def tunnel(sshd: Sshd, *, host_key: str = "", jump: Target | None = LEADER) -> SshTunnel:
    """The leader has an address, the Chef server has none."""
    line = host_key or sshd.host_key
    return SshTunnel(
        channel=SshChannel(
            user=getpass.getuser(),
            key=sshd.key,
            host_keys=lambda ids: dict.fromkeys(ids, line),
            jump=jump,
            address=lambda target: ("127.0.0.1", sshd.port) if target.public_ip else None,
        )
    )


@pytest.fixture
def echo() -> Iterator[int]:
    """A service that sends everything back once the caller has finished; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        def answer(connection: socket.socket) -> None:
            with connection:
                heard = bytearray()
                while part := connection.recv(65536):
                    heard += part
                connection.sendall(heard)

        threading.Thread(target=serve, daemon=True).start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)


def ask(local: str, body: bytes) -> bytes:
    host, _, port = local.partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:

        def send() -> None:
            # the other side may have gone meanwhile: what is read then tells
            with contextlib.suppress(OSError):
                connection.sendall(body)
                connection.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        heard = bytearray()
        while part := connection.recv(65536):
            heard += part
        sender.join()
        return bytes(heard)


def test_the_chef_server_is_asked_through_the_leader(sshd: Sshd, goiardi: Goiardi) -> None:
    with (
        tunnel(sshd).open(CHEF, port=goiardi.port) as local,
        ChefServer(
            goiardi.url,
            client="admin",
            key=goiardi.admin_key,
            trust=goiardi.certificate,
            connect=local,
        ) as server,
    ):
        assert server.check().flavour == "goiardi"
        # several at once, each a connection of its own
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(lambda _: server.clients(), range(24)))
        assert local != goiardi.connect


def test_large_bodies_arrive_whole_and_half_closed_connections_are_told(
    sshd: Sshd, echo: int
) -> None:
    bodies = [os.urandom(3_000_000 + n) for n in range(3)]
    with tunnel(sshd).open(CHEF, port=echo) as local, ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda body: ask(local, body), bodies))
    digest = hashlib.sha256
    assert [digest(f).digest() for f in found] == [digest(b).digest() for b in bodies]


def test_a_machine_with_an_address_of_its_own_needs_no_other(sshd: Sshd, echo: int) -> None:
    with tunnel(sshd, jump=None).open(LEADER, port=echo) as local:
        assert ask(local, b"hello") == b"hello"


def test_a_closed_port_is_said_before_anything_is_sent(sshd: Sshd) -> None:
    closed = free_port()
    with pytest.raises(RemoteError) as caught, tunnel(sshd).open(CHEF, port=closed):
        pass
    assert f"chef: port {closed} cannot be reached (through leader)" in caught.value.message


def test_another_host_key_than_the_published_one_opens_nothing(sshd: Sshd, tmp_path: Path) -> None:
    other = public_key(key_file(tmp_path, "other"))
    with (
        pytest.raises(RemoteError, match="another host key"),
        tunnel(sshd, host_key=other).open(CHEF, port=1),
    ):
        pass


def test_without_any_way_the_other_channel_is_named(sshd: Sshd) -> None:
    with pytest.raises(RemoteError) as caught, tunnel(sshd, jump=None).open(CHEF, port=1):
        pass
    assert "--via ssm" in caught.value.hint


def test_nothing_listens_once_the_block_has_ended(sshd: Sshd, echo: int) -> None:
    with tunnel(sshd).open(CHEF, port=echo) as local:
        assert ask(local, b"x") == b"x"
    with pytest.raises(OSError):
        ask(local, b"x")
    assert not [t for t in threading.enumerate() if t.name.startswith("tunnel-")]


def test_a_service_that_goes_away_cuts_its_connections_only(sshd: Sshd, echo: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as passing:
        port = int(passing.getsockname()[1])
        with tunnel(sshd).open(CHEF, port=port) as local:
            passing.shutdown(socket.SHUT_RDWR)
            passing.close()
            assert ask(local, b"x") == b""
            with tunnel(sshd).open(CHEF, port=echo) as other:
                assert ask(other, b"still") == b"still"
