"""The login form of nativeauthenticator 1.3 for a JupyterHub that no longer has statsd.

JupyterHub 6 dropped ``statsd`` and passes more arguments when it shows an error on the form; the
library's handler knows neither, so that every login would end in an error 500.
"""

from __future__ import annotations

from typing import Any

from nativeauthenticator.handlers import LoginHandler


class _NoTimer:
    """What statsd's timer was to its callers."""

    def start(self) -> _NoTimer:
        return self

    def stop(self, *, send: bool = True) -> None:
        del send


class _NoStatsd:
    def timer(self, name: str) -> _NoTimer:
        del name
        return _NoTimer()


class HubLoginHandler(LoginHandler):  # type: ignore[misc]
    """The library's form, on today's JupyterHub."""

    statsd = _NoStatsd()

    def _render(
        self, login_error: str | None = None, username: str | None = None, **more: Any
    ) -> Any:
        rendered: Any = self.render_template

        def with_more(name: str, **values: Any) -> Any:
            return rendered(name, **{**more, **values})

        self.render_template = with_more
        try:
            return super()._render(login_error=login_error, username=username)
        finally:
            self.render_template = rendered
