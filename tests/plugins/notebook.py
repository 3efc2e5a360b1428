"""A small notebook server: JupyterLab's page, kernels that really run cells, files.

:meth:`Notebook.relay` stands in for what :class:`~tests.plugins.dockerapi.FakeSwarm` lets its
notebooks answer.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import threading
import uuid
from typing import Any

from aiohttp import web

HEADERS = {"X-JupyterHub-Version": "6.1.1"}


class Notebook:
    """``with Notebook() as notebook``: serves on a free port of loopback."""

    def __init__(self) -> None:
        self.port = 0
        self.files: dict[str, str] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Notebook:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(20)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hands a connection on to this server."""
        there = await asyncio.open_connection("127.0.0.1", self.port)
        await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if path.endswith("/channels"):
            return await self._channels(request)
        if path.endswith("/lab"):
            page = "<title>JupyterLab</title>"
            return web.Response(text=page, content_type="text/html", headers=HEADERS)
        if "/api/contents/" in path:
            name = path.rpartition("/")[2]
            if request.method == "PUT":
                self.files[name] = (await request.json())["content"]
            return web.json_response({"content": self.files[name]}, headers=HEADERS)
        if path.endswith("/api/kernels"):
            return web.json_response({"id": uuid.uuid4().hex}, status=201, headers=HEADERS)
        if request.method == "DELETE":
            return web.Response(status=204, headers=HEADERS)
        return web.json_response({"version": "2.14.0"}, headers=HEADERS)

    async def _channels(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for frame in socket:
            asked = frame.json()
            for kind, content in _run(asked["content"]["code"]):
                await socket.send_json(
                    {
                        "header": {"msg_type": kind},
                        "parent_header": asked["header"],
                        "content": content,
                    }
                )
        return socket

    def content(self, name: str) -> bytes:
        """A file that was written."""
        return base64.b64decode(self.files[name])


def _run(code: str) -> list[tuple[str, dict[str, Any]]]:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(code, {})  # noqa: S102 - a kernel is for that
    return [
        ("stream", {"name": "stdout", "text": said.getvalue()}),
        ("status", {"execution_state": "idle"}),
    ]


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
