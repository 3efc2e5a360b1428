"""Reads logs where they are: on the machines, or in CloudWatch where those do not answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from hubdeploy.aws.session import Aws
from hubdeploy.config.names import Names, Role
from hubdeploy.errors import ConfigError
from hubdeploy.operate import choose, cloudlogs, logs
from hubdeploy.operate.logs import UNITS, Found
from hubdeploy.operate.status import Machine
from hubdeploy.remote.channel import Channel

SOURCES = ("auto", "machine", "cloudwatch")
DEADLINE = 60.0
"""Seconds that a machine may take to answer."""


@dataclass(frozen=True, kw_only=True)
class Reader:
    """``source``: one of :data:`SOURCES`; ``say`` is told once of each machine whose log comes from
    elsewhere than usual."""

    aws: Aws
    names: Names
    there: Sequence[Machine]
    channel: Channel
    source: str = "auto"
    say: Callable[[str], object] = str
    _said: set[str] = field(default_factory=set)

    def read(self, name: str, *, on: str | None, lines: int, since: str) -> list[Found]:
        """A log (``user/NAME``: that of a user's server) of every machine that has it."""
        if self.source == "cloudwatch":
            return self._sent(name, on=on, lines=lines, since=since)
        if self.source == "auto" and not name.startswith("user/") and not self._running(on):
            logs.named(name)
            self._note(f"{on or 'every machine'} does not run: what follows is from CloudWatch")
            return self._sent(name, on=on, lines=lines, since=since)
        found = self._asked(name, on=on, lines=lines, since=since)
        missed = [f for f in found if f.missed]
        if self.source == "machine" or not missed or name.startswith("user/"):
            return found
        for each in missed:
            self._note(f"{each.label}: {each.problem}; what it sent to CloudWatch follows")
        sent = {
            f.label: f
            for each in missed
            for f in self._sent(name, on=each.label, lines=lines, since=since)
        }
        return [sent.get(each.label, each) for each in found]

    def everything(self, on: str | None, *, lines: int, since: str) -> dict[str, Found]:
        """All logs, by machine and log (``worker/1 docker``); users' own are not among them."""

        def one(name: str) -> list[Found]:
            # lines of a file on a machine bear no times
            past = "" if UNITS[name].file and self.source != "cloudwatch" else since
            return self.read(name, on=on, lines=lines, since=past)

        wanted = [name for name, unit in UNITS.items() if self._roles(on) & set(unit.roles)]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(one, wanted))
        return {
            f"{each.label} {name}": each
            for name, some in zip(wanted, found, strict=True)
            for each in some
        }

    def knows(self, which: str) -> bool:
        """Whether it is a machine or a role, or looks like the id of a machine that has ended."""
        return which in _names(self.there) or which.startswith("i-")

    def _roles(self, on: str | None) -> set[str]:
        """Of the machines that are meant; all, where that cannot be known any more."""
        meant = {m.role for m in self.there if on in _names([m])}
        return meant or {role.value for role in Role}

    def _running(self, on: str | None) -> bool:
        running = [m for m in self.there if m.state == "running"]
        if on in (None, "all"):
            return bool(running)
        # what is no machine at all is for the choice among those that run to say
        return on in _names(running) or not self.knows(on)

    def _asked(self, name: str, *, on: str | None, lines: int, since: str) -> list[Found]:
        if name.startswith("user/"):
            command = logs.server_command(name.removeprefix("user/"), lines=lines, since=since)
            wanted = choose.machines(Role.LEADER, self.there)
        else:
            command = logs.command(name, lines=lines, since=since)
            roles = logs.UNITS[name].roles
            wanted = [m for m in choose.machines(on or "all", self.there) if m.role in roles]
            if not wanted and on:
                raise ConfigError(f"{on} has no log {name!r}")
        results = self.channel.run([m.target for m in wanted], command, deadline=DEADLINE)
        return [Found.of(result) for result in results]

    def _sent(self, name: str, *, on: str | None, lines: int, since: str) -> list[Found]:
        return cloudlogs.read(
            name, self.there, on=on, lines=lines, since=since, aws=self.aws, names=self.names
        )

    def _note(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self.say(text)


def _names(machines: Sequence[Machine]) -> set[str]:
    """All that people may call them by."""
    return {name for m in machines for name in (m.label, m.role, m.instance_id)}
