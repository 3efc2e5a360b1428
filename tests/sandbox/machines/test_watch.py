"""What died is heard of, also when the engine's stream of events was broken at that moment."""

from __future__ import annotations

import contextlib
import queue
import secrets
import shutil
import socket
import threading
from collections.abc import Iterator

import docker
import pytest
from docker.models.containers import Container

from hubdeploy.sandbox.engine import SANDBOX_LABEL
from hubdeploy.sandbox.images import catalog
from hubdeploy.sandbox.images.build import Images
from hubdeploy.sandbox.machines import container
from hubdeploy.sandbox.machines.watch import Watch

pytestmark = pytest.mark.docker

KILLED = 137


class Line:
    """A way to the real engine's socket that can be cut."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.url = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if self.closed:
                    near.close()
                    continue
                far = socket.socket(socket.AF_UNIX)
                far.connect("/var/run/docker.sock")
                self._open += [near, far]
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError), source.makefile("rb", buffering=0) as stream:
            shutil.copyfileobj(stream, target.makefile("wb", buffering=0), 1 << 16)

    def cut(self) -> None:
        self.closed = True
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open = []

    def close(self) -> None:
        self.cut()
        self._listener.close()


@pytest.fixture
def line() -> Iterator[Line]:
    opened = Line()
    yield opened
    opened.close()


def test_a_death_is_told_at_once_and_one_while_the_stream_was_broken_later(
    docker_engine: docker.DockerClient, sandbox_images: Images, line: Line
) -> None:
    name = f"watch-{secrets.token_hex(4)}"
    told: queue.Queue[tuple[str, int]] = queue.Queue()
    made: list[Container] = []

    def start(instance: str) -> Container:
        made.append(
            docker_engine.containers.run(
                sandbox_images.ensure(catalog.machine()),
                entrypoint=["sleep", "300"],
                detach=True,
                network_mode="none",
                labels={SANDBOX_LABEL: name, container.INSTANCE_LABEL: instance},
            )
        )
        return made[-1]

    watch = Watch(
        docker.DockerClient(base_url=line.url),
        sandbox=name,
        died=lambda instance, code: told.put((instance, code)),
    )
    try:
        start("i-first").kill()
        assert told.get(timeout=20) == ("i-first", KILLED)

        second = start("i-second")
        line.cut()
        second.kill()
        line.closed = False
        found = {told.get(timeout=20)}
        while ("i-second", KILLED) not in found:
            found.add(told.get(timeout=20))

        # and it goes on listening
        third = start("i-third")
        third.kill()
        while ("i-third", KILLED) not in found:
            found.add(told.get(timeout=20))
    finally:
        watch.close()
        for one in made:
            one.remove(force=True)
