"""Passes bytes between a listening socket of this host and an address somewhere else.

Used where the far side may change or be unreachable by itself: the way of the machines to the
embedded AWS (a Unix socket to a loopback port), and a fixed loopback port in front of a machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

Target = Callable[[], tuple[str, int] | None]
"""Where the next connection goes; None: nowhere at present, and the caller is hung up on."""
_CHUNK = 1 << 16
_CONNECT_TIMEOUT = 10


class Relay:
    """A listener in a thread of its own. ``address`` is a Unix socket's path or (host, port)."""

    def __init__(self, listen: Path | tuple[str, int], target: Target) -> None:
        self._target = target
        if isinstance(listen, Path):
            listen.unlink(missing_ok=True)
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.bind(str(listen))
            listen.chmod(0o600)
        else:
            self._socket = socket.create_server(listen)
        self._listen = listen
        self._socket.listen(128)
        self._loop = asyncio.new_event_loop()
        self._passing: set[asyncio.Task[None] | None] = set()
        self._thread = threading.Thread(target=self._serve, name=f"relay-{listen}", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on (0 was asked for: the one that was free)."""
        name = self._socket.getsockname()
        return int(name[1]) if isinstance(name, tuple) else 0

    def close(self) -> None:
        """Stop listening and cut what is connected. May be repeated."""
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        if isinstance(self._listen, Path):
            self._listen.unlink(missing_ok=True)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        if isinstance(self._listen, Path):
            starting = asyncio.start_unix_server(self._connected, sock=self._socket)
        else:
            starting = asyncio.start_server(self._connected, sock=self._socket)
        server = self._loop.run_until_complete(starting)
        try:
            self._loop.run_forever()
        finally:
            server.close()
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self._loop.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # the loop alone would let go of a task whose near end has closed, before it has ended
        task = asyncio.current_task()
        self._passing.add(task)
        target = self._target()
        try:
            if target is None:
                return
            far_reader, far_writer = await asyncio.wait_for(
                asyncio.open_connection(*target), _CONNECT_TIMEOUT
            )
        except (OSError, TimeoutError) as error:
            log.debug("relay to %s: %s", target, error)
            return
        else:
            try:
                await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
            finally:
                far_writer.close()
        finally:
            writer.close()
            self._passing.discard(task)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction; its end is passed on, the other direction goes on."""
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
