"""The hub in a real browser: log in, start, work, look at the fleet."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.browser import ENTER, SHIFT, Browser, browser
from tests.rehearsal.stage import Stage

pytestmark = [pytest.mark.docker, pytest.mark.browser, pytest.mark.timeout(900)]

EDITOR = ".jp-Notebook .jp-Cell .cm-content"
CODE = "sum(number ** 2 for number in range(1, 101))"
TYPED = f"document.querySelector({EDITOR!r}).innerText.trim()"
RESULT = "document.querySelector('.jp-Notebook .jp-OutputArea-output').innerText"


def until(true: Callable[[], Any], *, what: str, seconds: float = 90) -> Any:
    """The first true value; a page that is not there yet counts as untrue."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            found = true()
        except AssertionError:
            found = None
        if found:
            return found
        time.sleep(0.3)
    raise AssertionError(f"{what}: not within {seconds:.0f} s")


def shows(window: Browser, css: str) -> bool:
    return bool(window.run(f"return document.querySelector({css!r}) !== null"))


def edits(window: Browser) -> bool:
    """Click into the cell; whether it has the keys, which are commands to the notebook otherwise.

    A notebook that has just been opened takes the focus away from its cell once more.
    """
    window.click(EDITOR)
    time.sleep(0.5)
    return bool(window.run(f"return document.activeElement.matches({EDITOR!r})"))


def test_from_login_to_a_notebook_and_the_fleet_page(stage: Stage, pictures: Path) -> None:
    with browser(any_certificate=True) as window:
        window.resize(1200, 800)
        window.go(f"{stage.url}/hub/login")
        window.picture(pictures / "login.png")
        window.type("input[name=username]", "admin")
        window.type("input[name=password]", stage.password)
        window.click("input[type=submit], button[type=submit]")

        until(lambda: "/hub/" in window.url and "login" not in window.url, what="logged in")
        window.go(f"{stage.url}/hub/spawn")
        until(lambda: shows(window, "form [name=profile]"), what="the choice of servers")
        window.picture(pictures / "spawn.png")
        window.click("form input[type=submit], form button[type=submit]")
        until(lambda: shows(window, ".progress, #progress-bar"), what="progress", seconds=30)
        window.picture(pictures / "progress.png")
        until(lambda: "/user/admin/" in window.url, what="the server", seconds=120)

        card = '.jp-LauncherCard[data-category="Notebook"]'
        until(lambda: shows(window, card), what="the launcher")
        window.click(card)
        until(lambda: shows(window, ".jp-Notebook .jp-Cell .cm-content"), what="a notebook")
        until(
            lambda: shows(window, ".jp-Notebook-ExecutionIndicator[data-status=idle]"),
            what="the notebook's kernel",
        )
        until(lambda: edits(window) and edits(window), what="the cell takes what is typed")
        window.write(CODE)
        until(lambda: window.run(f"return {TYPED}") == CODE, what="the cell's text", seconds=10)
        window.keys(ENTER, held=SHIFT)
        until(
            lambda: "338350" in str(window.run(f"return {RESULT}")),
            what="the cell's result",
        )
        window.picture(pictures / "lab.png")

        window.go(f"{stage.url}/services/fleet/")
        until(lambda: "/services/fleet" in window.url and shows(window, "table"), what="fleet page")
        assert "admin" in str(window.run("return document.body.innerText"))
        window.picture(pictures / "fleet.png")
    with stage.user("admin") as admin:
        admin.open_lab()
        assert admin.run("print(6 * 7)").stdout.strip() == "42"
        admin.stop()
