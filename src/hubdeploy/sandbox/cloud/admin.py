"""The sandbox's own requests under ``/_sandbox/``: is it alive, what is it, end it.

They carry the token that only the state directory holds.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.server import Cloud

Route = Callable[[dict[str, Any]], dict[str, Any]]


class Admin:
    """Routes by path; values are functions of the request's JSON."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.routes: dict[str, Route] = {}

    def serve(self, path: str, *, token: str, body: bytes) -> tuple[int, dict[str, Any]]:
        if not hmac.compare_digest(token, self.token):
            return 403, {"error": "not allowed"}
        route = self.routes.get(path)
        if route is None:
            return 404, {"error": f"no such request: {path}"}
        return 200, route(json.loads(body) if body else {})


def answer(cloud: Cloud, environ: dict[str, Any]) -> Any:
    path = environ["PATH_INFO"].removeprefix("/_sandbox")
    admin = cloud.admin
    status: int
    value: dict[str, Any]
    if path == "/alive":
        status, value = 200, {"alive": True}
    elif admin is None:
        status, value = 404, {"error": "not a sandbox"}
    else:
        token = environ.get("HTTP_X_SANDBOX_TOKEN", "")
        status, value = admin.serve(path, token=token, body=environ["wsgi.input"].read())
    data = json.dumps(value).encode()
    return status, [("Content-Type", "application/json"), ("Content-Length", str(len(data)))], data
