"""A fleet service that answers the hub as a test says."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Fleet:
    """A service that answers as told and keeps what it was asked."""

    def __init__(self) -> None:
        self.answer: Any = {"allowed": True}
        self.limits: Any = None
        self.status = 200
        self.asked: list[tuple[str, str]] = []
        fleet = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                fleet.asked.append((self.path, self.headers.get("Authorization", "")))
                told = fleet.answer
                if self.path.endswith("/api/limits") and fleet.limits is not None:
                    told = fleet.limits
                body = told if isinstance(told, str) else json.dumps(told)
                self.send_response(fleet.status)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/services/fleet"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
