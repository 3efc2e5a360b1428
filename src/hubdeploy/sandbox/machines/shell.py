"""The few commands that simulated machines understand, so that Run Command has something to run."""

from __future__ import annotations

import json
import shlex
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from hubdeploy.config.names import TAG_DEPLOYMENT, TAG_ROLE, Role
from hubdeploy.sandbox.machines.interface import CommandResult, MachineSpec

if TYPE_CHECKING:
    from hubdeploy.sandbox.machines.simulated import SimulatedMachines

Command = Callable[[MachineSpec, list[str]], CommandResult]
_UNKNOWN = 127


def said(text: str = "", *, code: int = 0, error: str = "") -> CommandResult:
    return CommandResult(code=code, stdout=text, stderr=error)


class Shell:
    """Runs scripts line by line; tests add commands to ``commands`` by their first word."""

    def __init__(self, machines: SimulatedMachines) -> None:
        self._machines = machines
        self.ran: list[tuple[str, str]] = []
        """(instance id, script) of everything that was run."""
        self.commands: dict[str, Command] = {
            "echo": lambda _spec, words: said(" ".join(words) + "\n"),
            "true": lambda _spec, _words: said(),
            ":": lambda _spec, _words: said(),
            "set": lambda _spec, _words: said(),
            "export": lambda _spec, _words: said(),
            "cd": lambda _spec, _words: said(),
            "false": lambda _spec, _words: said(code=1),
            "hostname": lambda spec, _words: said(f"{spec.hostname}\n"),
            "uptime": lambda _spec, _words: said(" up 1 min,  0 users,  load average: 0.00\n"),
            "id": lambda _spec, _words: said("uid=0(root) gid=0(root) groups=0(root)\n"),
            "df": lambda _spec, _words: said(
                "Filesystem  Size  Used  Avail  Use%  Mounted on\n"
                "/dev/root    20G    2G    18G   10%  /\n"
            ),
            "docker": self._docker,
            "systemctl": self._systemctl,
            "journalctl": self._journal,
            "tail": self._journal,
            "hubdeploy-node": self._agent,
            "cloud-init": lambda _spec, _words: said("status: done\n"),
        }

    def run(
        self, spec: MachineSpec, script: str, *, timeout: float, cancelled: threading.Event
    ) -> CommandResult:
        self.ran.append((spec.instance_id, script))
        deadline = time.monotonic() + timeout
        stdout, stderr, code = "", "", 0
        for line in self._lines(script):
            skip_on = "&&" if code else "||"
            operator, words = line
            if operator == skip_on and operator:
                continue
            if operator == "||" and code == 0:
                continue
            name, rest = words[0].rpartition("/")[2], words[1:]
            if name == "exit":
                return said(stdout, code=int(rest[0]) if rest else code, error=stderr)
            if name == "sleep":
                result = self._sleep(float(rest[0]), deadline, cancelled)
            else:
                command = self.commands.get(name)
                if command is None:
                    message = f"{name}: not a command of simulated machines\n"
                    result = said(code=_UNKNOWN, error=message)
                else:
                    result = command(spec, rest)
            stdout, stderr, code = stdout + result.stdout, stderr + result.stderr, result.code
            if result.timed_out or result.cancelled:
                return CommandResult(
                    code=-1,
                    stdout=stdout,
                    stderr=stderr,
                    timed_out=result.timed_out,
                    cancelled=result.cancelled,
                )
        return said(stdout, code=code, error=stderr)

    @staticmethod
    def _lines(script: str) -> list[tuple[str, list[str]]]:
        """(operator before it, words) of each simple command; redirections are dropped, and what
        a pipe leads into."""
        found: list[tuple[str, list[str]]] = []
        for line in script.splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|<>")
            lexer.whitespace_split = True
            words: list[str] = []
            operator, skip, piped = "", False, False
            for token in lexer:
                if token in (";", "&&", "||", "|", "&"):
                    if words:
                        found.append((operator, words))
                    operator, words = token if token in ("&&", "||") else "", []
                    piped = token == "|"
                elif set(token) <= {"<", ">", "&"}:
                    skip = True
                elif skip:
                    skip = False
                elif not piped and token not in ("sudo", "exec"):
                    words.append(token)
            if words:
                found.append((operator, words))
        return found

    def _sleep(self, seconds: float, deadline: float, cancelled: threading.Event) -> CommandResult:
        left = deadline - time.monotonic()
        if cancelled.wait(min(seconds, max(left, 0.0))):
            return CommandResult(code=-1, stdout="", stderr="", cancelled=True)
        if seconds > left:
            return CommandResult(code=-1, stdout="", stderr="", timed_out=True)
        return said()

    def _docker(self, spec: MachineSpec, words: list[str]) -> CommandResult:
        if words[:2] == ["node", "ls"]:
            if spec.tags.get(TAG_ROLE) != Role.LEADER:
                return said(code=1, error="This node is not a swarm manager.\n")
            deployment = self._deployment(spec)
            return said("".join(json.dumps(self._node(m)) + "\n" for m in deployment))
        if words[:1] in (["info"], ["version"], ["ps"]) or words[:2] == ["service", "ls"]:
            return said()
        return said(code=1, error=f"docker {words[0] if words else ''}: not simulated\n")

    def _deployment(self, spec: MachineSpec) -> list[MachineSpec]:
        return [
            machine
            for machine in self._machines.specs()
            if machine.account == spec.account
            and machine.tags.get(TAG_DEPLOYMENT) == spec.tags.get(TAG_DEPLOYMENT)
            and machine.tags.get(TAG_ROLE) in (Role.LEADER, Role.WORKER)
        ]

    @staticmethod
    def _node(machine: MachineSpec) -> dict[str, object]:
        leader = machine.tags.get(TAG_ROLE) == Role.LEADER
        return {
            "ID": machine.instance_id.removeprefix("i-").ljust(25, "0")[:25],
            "Hostname": machine.hostname,
            "Status": "Ready",
            "Availability": "Drain" if leader else "Active",
            "ManagerStatus": "Leader" if leader else "",
            "EngineVersion": "20.10.24",
            "Self": leader,
        }

    def _systemctl(self, _spec: MachineSpec, words: list[str]) -> CommandResult:
        return said("active\n" if words[:1] == ["is-active"] else "")

    def _journal(self, spec: MachineSpec, _words: list[str]) -> CommandResult:
        return said(self._machines.console(spec.instance_id))

    def _agent(self, spec: MachineSpec, words: list[str]) -> CommandResult:
        """``hubdeploy-node``: facts where facts are asked for, otherwise silence and success."""
        if words[:2] == ["doctor", "--fleet"]:
            return said(
                json.dumps(
                    {"at": time.time(), "problems": ["simulated machines run no fleet service"]}
                )
            )
        if words[:1] == ["doctor"]:
            facts = {
                "role": spec.tags.get(TAG_ROLE, ""),
                "instance": spec.instance_id,
                "simulated": True,
            }
            return said(json.dumps(facts) + "\n")
        if words[:2] == ["workstation", "nodes"]:
            deployment = spec.tags.get(TAG_DEPLOYMENT, "")
            nodes = [
                {
                    "name": f"{deployment}-{machine.tags.get(TAG_ROLE)}-{machine.instance_id}",
                    "instance": machine.instance_id,
                    "checked_in": time.time(),
                }
                for machine in self._deployment(spec)
            ]
            return said(json.dumps(nodes) + "\n")
        if words[:1] == ["identity"]:
            identity = {
                "instance_id": spec.instance_id,
                "instance_type": spec.instance_type,
                "zone": spec.zone,
                "private_ip": spec.private_ip,
                "spot": spec.spot,
            }
            return said(json.dumps(identity) + "\n")
        return said()
