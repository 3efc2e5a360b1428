"""Every error that a person is meant to read.

One base class carries the message (what is wrong, and where), the hint (what to do) and the
exit code, so that the command layer needs no ladder of except clauses. Lower layers raise these;
only ``cli`` prints them.
"""

from __future__ import annotations


class HubdeployError(Exception):
    """Something a person has to know about: one line, a hint, an exit code.

    ``message`` names the resource and what is wrong with it and holds no secret;
    ``hint`` is the next thing to do, or empty; ``exit_code`` is 1 (failed) or 2 (usage).
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", exit_code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if exit_code is not None:
            self.exit_code = exit_code


class ConfigError(HubdeployError):
    """``hubdeploy.toml`` or an option is wrong; nothing was done."""

    exit_code = 2


class AwsError(HubdeployError):
    """AWS refused a call. ``code`` is AWS's own error code, ``operation`` the API operation."""

    def __init__(
        self, message: str, *, hint: str = "", code: str = "", operation: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.operation = operation


class WaitTimeout(HubdeployError):
    """A wait reached its deadline; the message says what was waited for and what was last seen."""


class MachineFailed(HubdeployError):
    """A machine says that its set-up failed, or ended; ``log`` is the tail of its log."""

    def __init__(self, message: str, *, hint: str = "", log: str = "") -> None:
        super().__init__(message, hint=hint)
        self.log = log


class Interrupted(HubdeployError):
    """Ctrl-C: what was begun is finished, nothing new was started."""

    exit_code = 130

    def __init__(self) -> None:
        super().__init__("interrupted", hint="run the same command again to go on from here")


class RemoteError(HubdeployError):
    """A machine could not be reached, or a command on it failed."""


class ChefError(HubdeployError):
    """The Chef server refused a request or could not be reached."""


class SandboxError(HubdeployError):
    """The rehearsal cannot run here, or one of its parts died."""
