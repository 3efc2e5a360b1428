"""A user's walk through the hub: log in, start a server, run a cell, keep a file, stop.

What a browser does, without one: for the health check that really starts a server, for the
rehearsal and for tests. Needs ``requests``, ``tenacity`` and ``websocket-client`` alone.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import requests
import tenacity
import urllib3

from hubdeploy.errors import HubdeployError
from hubdeploy.hub.dial import Dial

TIMEOUT = 30.0
DOCTOR_USER = "hubdeploy-doctor"
_XSRF_FIELD = re.compile(r'name="_xsrf"\s+value="([^"]+)"')


class HubClientError(HubdeployError):
    """The hub refused, or did not do what it was asked; ``status`` is HTTP's, 0 for none."""

    def __init__(self, message: str, *, hint: str = "", status: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.status = status


@dataclass
class Cell:
    """What a cell gave. ``error`` is ``NAME: value`` or empty."""

    stdout: str = ""
    result: str = ""
    error: str = ""


@dataclass
class HubClient:
    """One user of one hub.

    ``url``: where people go, e.g. ``https://notebooks.example.org``. ``verify``: True, a file with
    the CA's certificates, or False for a certificate that is not checked. ``connect``: dial this
    (host, port) instead of what *url* says; names and certificates are still those of *url*.
    ``token``: use the API with it in place of a login; *user* is then whose server it is.
    """

    url: str
    user: str
    verify: bool | str = True
    connect: tuple[str, int] | None = None
    token: str = field(default="", repr=False)
    timeout: float = TIMEOUT

    def __post_init__(self) -> None:
        self.url = self.url.rstrip("/")
        self.dial = Dial(self.url, verify=self.verify, connect=self.connect, timeout=self.timeout)
        self.session = self.dial.session()
        if self.verify is False:
            # asked for: one warning for every request would bury what the command says
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        if self.token:
            self.session.headers["Authorization"] = f"token {self.token}"

    def __enter__(self) -> HubClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    # --- the hub --------------------------------------------------------------------------------

    def health(self) -> str:
        """The hub's version; HubClientError when it does not answer through its proxy."""
        answer = self._request("GET", "/hub/api/")
        try:
            return str(answer.json()["version"])
        except (ValueError, KeyError) as error:
            raise HubClientError(f"{self.url} is not a JupyterHub") from error

    def login(self, password: str) -> None:
        """By the hub's own form (native, shared-password, dummy)."""
        page = self._request("GET", "/hub/login")
        found = _XSRF_FIELD.search(page.text)
        data = {
            "username": self.user,
            "password": password,
            "_xsrf": found.group(1) if found else self._cookie("/hub/"),
        }
        answer = self._request("POST", "/hub/login?next=%2Fhub%2Fhome", data=data, check=False)
        if answer.status_code >= 400 or "/hub/login" in urlsplit(answer.url).path:
            raise HubClientError(
                f"{self.url}: the login of {self.user} was refused",
                hint="wrong password, or the account is not allowed or not yet approved",
                status=answer.status_code,
            )

    def sign_up(self, password: str) -> None:
        """Ask for an account of the hub's own (native)."""
        page = self._request("GET", "/hub/signup")
        found = _XSRF_FIELD.search(page.text)
        data = {
            "username": self.user,
            "signup_password": password,
            "signup_password_confirmation": password,
            "_xsrf": found.group(1) if found else self._cookie("/hub/"),
        }
        self._request("POST", "/hub/signup", data=data)

    def api(self, method: str, path: str, **more: Any) -> Any:
        """The hub's REST API below ``/hub/api``; its JSON, or None."""
        answer = self._request(method, f"/hub/api{path}", headers=self._xsrf("/hub/"), **more)
        return answer.json() if answer.content else None

    # --- servers --------------------------------------------------------------------------------

    @property
    def _me(self) -> str:
        return f"/users/{quote(self.user)}"

    def _server_path(self, name: str) -> str:
        return f"{self._me}/servers/{quote(name)}" if name else f"{self._me}/server"

    def ensure_user(self) -> None:
        """With a token: make the user where the hub does not know it yet."""
        try:
            self.api("GET", self._me)
        except HubClientError as error:
            if error.status != 404:
                raise
            self.api("POST", self._me)

    def server(self, name: str = "") -> dict[str, Any] | None:
        """The server's model, None when it is not active."""
        found: dict[str, Any] | None = self.api("GET", self._me)["servers"].get(name)
        return found

    def start(
        self,
        *,
        name: str = "",
        options: dict[str, Any] | None = None,
        seconds: float = 900.0,
        told: Callable[[str, int], None] | None = None,
    ) -> float:
        """Start the server and wait until it answers; returns the seconds that took.

        ``told`` gets each progress message and its percentage. HubClientError with the hub's own
        words when it fails or is refused.
        """
        begun = time.monotonic()
        self.api("POST", self._server_path(name), json=options or {})
        for event in self.progress(name=name, seconds=seconds):
            if told is not None:
                told(str(event.get("message", "")), int(event.get("progress", 0)))
            if event.get("failed"):
                raise HubClientError(f"{self.user}: {event.get('message', 'the start failed')}")
            if event.get("ready"):
                return time.monotonic() - begun
        raise HubClientError(f"{self.user}: the server was not ready within {seconds:.0f} s")

    def progress(self, *, name: str = "", seconds: float = 900.0) -> Iterator[dict[str, Any]]:
        """The events of a start, until it is ready, has failed, or *seconds* have passed."""
        deadline = time.monotonic() + seconds
        answer = self._request(
            "GET", f"/hub/api{self._server_path(name)}/progress", stream=True, timeout=60
        )
        with answer:
            for line in answer.iter_lines():
                if line.startswith(b"data:"):
                    event: dict[str, Any] = json.loads(line[5:])
                    yield event
                    if event.get("ready") or event.get("failed"):
                        return
                if time.monotonic() > deadline:
                    return

    def stop(self, *, name: str = "", seconds: float = 120.0) -> None:
        """Stop the server and wait until the hub says it is gone."""
        self.api("DELETE", self._server_path(name))
        gone = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda there: there is not None),
            stop=tenacity.stop_after_delay(seconds),
            wait=tenacity.wait_fixed(0.2),
        )
        try:
            gone(self.server, name)
        except tenacity.RetryError:
            raise HubClientError(
                f"{self.user}: the server did not stop in {seconds:.0f} s"
            ) from None

    # --- the notebook ---------------------------------------------------------------------------

    def _base(self, name: str) -> str:
        return f"/user/{quote(self.user)}/{quote(name) + '/' if name else ''}"

    def open_lab(self, *, name: str = "") -> str:
        """JupyterLab's page; its title. With a login this also gets the server's cookies."""
        answer = self._request("GET", f"{self._base(name)}lab")
        found = re.search(r"<title>(.*?)</title>", answer.text, re.S)
        title = found.group(1).strip() if found else ""
        if "jupyter" not in answer.text.lower():
            raise HubClientError(f"{answer.url} is not JupyterLab (it says {title!r})")
        return title

    def notebook(self, method: str, path: str, *, name: str = "", **more: Any) -> Any:
        """The server's REST API below ``/api``; its JSON, or None."""
        base = self._base(name)
        answer = self._request(method, f"{base}api{path}", headers=self._xsrf(base), **more)
        return answer.json() if answer.content else None

    def write(self, path: str, content: bytes, *, name: str = "") -> None:
        """A file in the user's folder."""
        body = {
            "type": "file",
            "format": "base64",
            "content": base64.b64encode(content).decode(),
        }
        self.notebook("PUT", f"/contents/{quote(path)}", name=name, json=body)

    def read(self, path: str, *, name: str = "") -> bytes:
        """A file of the user's folder."""
        query = "type=file&format=base64&content=1"
        model = self.notebook("GET", f"/contents/{quote(path)}?{query}", name=name)
        return base64.b64decode(model["content"])

    def run(self, code: str, *, name: str = "", seconds: float = 60.0) -> Cell:
        """Run *code* in a new kernel over the websocket, as a notebook's cell would."""
        kernel = self.notebook("POST", "/kernels", name=name, json={"name": "python3"})["id"]
        try:
            return self._execute(kernel, code, name, seconds)
        finally:
            self.notebook("DELETE", f"/kernels/{kernel}", name=name)

    def _execute(self, kernel: str, code: str, name: str, seconds: float) -> Cell:
        import websocket

        session = uuid.uuid4().hex
        path = f"{self._base(name)}api/kernels/{kernel}/channels?session_id={session}"
        headers = [f"Authorization: token {self.token}"] if self.token else []
        try:
            socket = self.dial.websocket(
                path, cookie=self._cookies(self._base(name)), headers=headers, timeout=seconds
            )
        except (websocket.WebSocketException, OSError, ssl.SSLError) as error:
            raise HubClientError(f"{self.user}: no websocket to the kernel ({error})") from error
        message = _execute_request(code, session=session, user=self.user)
        try:
            socket.send(json.dumps(message))
            return _collect(socket, message["header"]["msg_id"], time.monotonic() + seconds)
        except (websocket.WebSocketException, OSError) as error:
            raise HubClientError(f"{self.user}: the kernel's websocket broke ({error})") from error
        finally:
            socket.close()

    # --- transport ------------------------------------------------------------------------------

    def _request(
        self, method: str, path: str, *, check: bool = True, **more: Any
    ) -> requests.Response:
        more.setdefault("timeout", self.timeout)
        # said with each request: REQUESTS_CA_BUNDLE overrides what the session says
        more.setdefault("verify", self.session.verify)
        try:
            answer = self.session.request(method, self.url + path, **more)
        except requests.RequestException as error:
            raise HubClientError(
                f"{method} {self.url}{path}: {error}", hint="does the address lead to the hub?"
            ) from error
        if check and answer.status_code >= 400:
            raise HubClientError(
                f"{method} {path.split('?')[0]}: {answer.status_code} {_said(answer)}",
                status=answer.status_code,
            )
        return answer

    def _xsrf(self, path: str) -> dict[str, str]:
        if self.token:
            return {}
        return {"X-XSRFToken": self._cookie(path), "Referer": f"{self.url}{path}"}

    def _cookie(self, path: str) -> str:
        for cookie in self.session.cookies:
            if cookie.name == "_xsrf" and cookie.path == path:
                return cookie.value or ""
        return ""

    def _cookies(self, path: str) -> str:
        return "; ".join(
            f"{cookie.name}={cookie.value}"
            for cookie in self.session.cookies
            if path.startswith(cookie.path)
        )


def _said(answer: requests.Response) -> str:
    """The reason in an error's answer, in one line."""
    try:
        return str(answer.json().get("message", ""))
    except (ValueError, AttributeError):
        found = re.search(r"<h1[^>]*>(.*?)</h1>", answer.text, re.S)
        return " ".join(found.group(1).split()) if found else answer.reason


def _execute_request(code: str, *, session: str, user: str) -> dict[str, Any]:
    header = {
        "msg_id": uuid.uuid4().hex,
        "username": user,
        "session": session,
        "msg_type": "execute_request",
        "version": "5.3",
        "date": "",
    }
    content = {
        "code": code,
        "silent": False,
        "store_history": False,
        "user_expressions": {},
        "allow_stdin": False,
        "stop_on_error": True,
    }
    return {
        "header": header,
        "parent_header": {},
        "metadata": {},
        "content": content,
        "buffers": [],
        "channel": "shell",
    }


def _collect(socket: Any, message_id: str, deadline: float) -> Cell:
    cell = Cell()
    while time.monotonic() < deadline:
        frame = socket.recv()
        if not isinstance(frame, str):
            continue
        message = json.loads(frame)
        if (message.get("parent_header") or {}).get("msg_id") != message_id:
            continue
        content = message["content"]
        match message["header"]["msg_type"]:
            case "stream" if content["name"] == "stdout":
                cell.stdout += content["text"]
            case "execute_result":
                cell.result = content["data"].get("text/plain", "")
            case "error":
                cell.error = f"{content['ename']}: {content['evalue']}"
            case "status" if content["execution_state"] == "idle":
                return cell
    raise HubClientError("the kernel did not finish the cell in time")
