"""The login form of nativeauthenticator 1.3 for a JupyterHub that no longer has statsd.

JupyterHub 6 dropped ``statsd`` and passes more arguments when it shows an error on the form; the
library's handler knows neither, so that every login would end in an error 500.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
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
    _more: Mapping[str, Any] = MappingProxyType({})

    def _render(
        self, login_error: str | None = None, username: str | None = None, **more: Any
    ) -> Any:
        self._more = more
        return super()._render(login_error=login_error, username=username)

    def render_template(self, name: str, **values: Any) -> Any:
        """With what the error page asked for and the library's form drops (``sync``)."""
        more, self._more = self._more, {}
        return super().render_template(name, **{**more, **values})
