"""A real Chromium, driven by the WebDriver protocol over plain HTTP (Debian's chromedriver)."""

from __future__ import annotations

import base64
import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from tests.plugins.hubprocess import free_port

ENTER, SHIFT = "\ue007", "\ue008"
"""Keys by WebDriver's table of key codes (W3C WebDriver, "Keyboard actions")."""
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


@dataclass
class Browser:
    """One window. ``find`` and ``run`` raise AssertionError with the driver's words."""

    base: str

    def go(self, url: str) -> None:
        self._post("url", {"url": url})

    @property
    def url(self) -> str:
        return str(self._get("url"))

    def resize(self, width: int, height: int) -> None:
        """The page's own area, as a phone or a desk shows it."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._post(
            "goog/cdp/execute",
            {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics},
        )

    def dark(self, on: bool) -> None:
        feature = {"name": "prefers-color-scheme", "value": "dark" if on else "light"}
        self._post(
            "goog/cdp/execute",
            {"cmd": "Emulation.setEmulatedMedia", "params": {"features": [feature]}},
        )

    def find(self, css: str) -> str:
        found = self._post("element", {"using": "css selector", "value": css})
        return str(found[ELEMENT])

    def type(self, css: str, text: str) -> None:
        element = self.find(css)
        self._post(f"element/{element}/clear", {})
        self._post(f"element/{element}/value", {"text": text})

    @retry(
        retry=retry_if_exception_type(AssertionError),
        stop=stop_after_delay(15),
        wait=wait_fixed(0.2),
        reraise=True,
    )
    def click(self, css: str) -> None:
        """As soon as it can be clicked: what has just been drawn may be hidden for a moment."""
        self._post(f"element/{self.find(css)}/click", {})

    def run(self, script: str) -> Any:
        """The value that *script* (a function body) returns."""
        return self._post("execute/sync", {"script": script, "args": []})

    def write(self, text: str) -> None:
        """Type where the focus is."""
        self.keys(*text)

    def keys(self, *keys: str, held: str = "") -> None:
        """Press each in turn, while *held* is down."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        if held:
            down, up = ({"type": kind, "value": held} for kind in ("keyDown", "keyUp"))
            actions = [down, *actions, up]
        self._post("actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def picture(self, file: Path) -> None:
        """The whole page, not only what is in view."""
        taken = self._post(
            "goog/cdp/execute",
            {"cmd": "Page.captureScreenshot", "params": {"captureBeyondViewport": True}},
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(taken["data"]))

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return _value(requests.post(f"{self.base}/{path}", json=body, timeout=60))

    def _get(self, path: str) -> Any:
        return _value(requests.get(f"{self.base}/{path}", timeout=60))


def _value(answer: requests.Response) -> Any:
    value = answer.json()["value"]
    assert answer.ok, value
    return value


@contextlib.contextmanager
def browser(*, any_certificate: bool = False) -> Iterator[Browser]:
    """A headless window with a profile of its own; all of it ended on leaving.

    ``any_certificate``: the rehearsal's certificate is self-signed.
    """
    driver = shutil.which("chromedriver")
    assert driver, "Debian's chromium-driver is not installed"
    port = free_port()
    with tempfile.TemporaryDirectory() as profile:
        process = subprocess.Popen(
            [driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        base = f"http://127.0.0.1:{port}"
        session = ""
        try:
            _wait(base)
            arguments = [
                "--headless=new",
                "--no-sandbox",  # tests run as root, where Chromium's own has no rights
                "--disable-dev-shm-usage",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-proxy-server",
                f"--user-data-dir={profile}",
            ]
            wanted = {
                "alwaysMatch": {
                    "acceptInsecureCerts": any_certificate,
                    "goog:chromeOptions": {"args": arguments},
                }
            }
            made = _value(
                requests.post(f"{base}/session", json={"capabilities": wanted}, timeout=60)
            )
            session = f"{base}/session/{made['sessionId']}"
            yield Browser(session)
        finally:
            if session:
                with contextlib.suppress(requests.RequestException):
                    requests.delete(session, timeout=20)
            process.terminate()
            process.wait(timeout=20)


def _wait(base: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        with contextlib.suppress(requests.RequestException):
            if requests.get(f"{base}/status", timeout=2).json()["value"]["ready"]:
                return
        assert time.monotonic() < deadline, "chromedriver does not answer"
        time.sleep(0.1)
