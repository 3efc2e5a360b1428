"""One way to run commands on machines, whatever carries them (Run Command or SSH)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

OFFLINE = "offline"
"""A result's problem where the machine never got the command."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A machine to talk to: its instance id, its role and number for people (``worker/2``)."""

    instance_id: str
    label: str
    private_ip: str = ""
    public_ip: str = ""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a command on one machine gave. ``code`` is None if it never ended by itself;
    ``problem`` then says why (``offline``, ``timed out``, ``cancelled`` …)."""

    target: Target
    code: int | None
    stdout: str = ""
    stderr: str = ""
    problem: str = ""

    @property
    def ok(self) -> bool:
        return self.code == 0


class Channel(Protocol):
    """Runs shell commands on machines as root; safe between threads."""

    name: str
    """``ssm`` or ``ssh``."""

    def run(self, targets: Sequence[Target], command: str, *, deadline: float) -> list[Result]:
        """Run ``command`` (a shell script with no secret in it) on all targets at once.

        Waits at most ``deadline`` seconds, then cancels what still runs. Results come in the
        order of ``targets``. Secrets never travel this way: machines read them from SSM.
        """
        ...


def worst(results: Sequence[Result]) -> int:
    """The exit code of several results together: 0 only if all are; no code counts as 1."""
    return max((1 if r.code is None else r.code for r in results), default=0)
