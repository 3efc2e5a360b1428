"""Kills ``up`` or ``down`` at given calls, and runs it again. Started as a program of its own.

It imports everything and makes one finished deployment, and forks for each job: an embedded AWS
with its machines, as it stood then, in which processes die (``os._exit``, with whatever other
calls were in flight) and others run to the end. So a job costs its runs and nothing else.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.connection import Connection, Listener
from typing import Any

from tests.steps.carrying import Send, carry, into, through

DIED = 77
"""Exit code of a process that died at the call it was told to die at."""
FINISHED, FRESH = "100000000000", "100000000001"
"""Accounts: one with a deployment that nobody disturbed, one in which nothing was done."""
DEADLINE = 240
"""Seconds after which a job that hangs is ended."""
_READS = ("Describe", "Get", "List", "Head")
Run = tuple[str, int]
"""``up`` or ``down``, and the mutating call after which it dies; 0: it runs to the end."""


# ---- the test's side -----------------------------------------------------------------------------


class Killer:
    """``start(...)`` gives a job's result when it has come; jobs run beside each other."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.steps.killing"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._jobs: dict[int, Future[dict[str, Any]]] = {}
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def start(self, account: str, *runs: Run) -> Future[dict[str, Any]]:
        """Make these runs one after the other in an account as it stood at first.

        The result has ``codes``, the processes' exit codes, ``calls``, how many mutating calls
        each made, and ``state``, what is in the account then.
        """
        with self._lock:
            number = len(self._jobs)
            self._jobs[number] = Future()
            job = {"number": number, "account": account, "runs": runs}
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
        return self._jobs[number]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            path = line.strip()
            if path.isdecimal():
                self._jobs[int(path)].set_exception(RuntimeError("the job broke; see above"))
                continue
            with open(path) as file:
                result = json.load(file)
            os.unlink(path)
            self._jobs[result["number"]].set_result(result)
        for job in self._jobs.values():
            if not job.done():
                job.set_exception(RuntimeError("the killing program has ended"))

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=DEADLINE)
        self._reader.join(timeout=10)


# ---- the program's side --------------------------------------------------------------------------


@dataclass
class Account:
    """What :mod:`tests.steps.account` reads."""

    account: str
    aws: Any


def session(account: str, send: Send) -> Any:
    from hubdeploy.aws.session import Aws
    from hubdeploy.sandbox.cloud.credentials import operator

    keys = operator(account)
    aws = Aws(
        region="eu-central-1",
        endpoint_url="http://127.0.0.1:9",
        credentials=(keys.access_key, keys.secret_key, keys.token),
    )
    carry(aws, send)
    return aws


def run(direction: str, account: str, send: Send, *, die_after: int = 0) -> int:
    """The whole of the command, its lock held; the exit code."""
    from hubdeploy.aws.lock import held
    from hubdeploy.errors import HubdeployError
    from hubdeploy.pipeline import runner
    from hubdeploy.steps import all_steps
    from tests.steps.rig import WAITS, config, context

    aws, settings = session(account, send), config(waits=dict.fromkeys(WAITS, DEADLINE))
    if die_after:
        _die_after(aws, die_after)
    ctx = context(aws, account, settings)
    try:
        with held(aws, ctx.names, purpose=direction):
            {"up": runner.up, "down": runner.down}[direction](all_steps(ctx))
    except runner.PipelineFailed as failed:
        for step, error in failed.failures.items():
            sys.stderr.write(f"{step}: {error.message}\n")
        return 1
    except HubdeployError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    return 0


def _die_after(aws: Any, nth: int) -> None:
    """End the process, without a word, when the answer to the nth mutating call has come."""
    lock, seen = threading.Lock(), [0]

    def after(model: Any, **_: Any) -> None:
        if model.name.startswith(_READS):
            return
        with lock:
            seen[0] += 1
            if seen[0] == nth:
                os._exit(DIED)

    aws._session.events.register("after-call", after)


class Stage:
    """An embedded AWS with machines, between runs without a thread of its own."""

    def __init__(self) -> None:
        from hubdeploy.sandbox.cloud.server import Cloud
        from hubdeploy.sandbox.machines.simulated import SimulatedMachines

        self.cloud = Cloud()
        self.cloud.settings.unlimited_rights = True
        self.machines = SimulatedMachines(self.cloud)
        self.cloud.machines = self.machines
        self._told: dict[str, Any] = {}
        self.follow()

    def follow(self) -> None:
        """From now on the machines do what their instances are told."""
        from hubdeploy.sandbox.cloud.follow import Follower

        self.follower = Follower(self.cloud, self.machines)
        vars(self.follower).update(self._told)
        self.follower.start()

    def rest(self) -> None:
        """All threads end; ``follow`` takes it up where it is, in this process or in a fork."""
        for machine in list(self.machines._machines.values()):
            while not any("phase ready" in line for line in machine.console):
                time.sleep(0.01)
            machine.stopping.set()  # the workstation would watch the release for ever
            assert machine.thread is not None
            machine.thread.join(timeout=30)
        self.follower.close()
        self._told = {name: vars(self.follower)[name] for name in ("_told", "_volumes", "_tags")}
        assert threading.active_count() == 1, threading.enumerate()

    def listen(self, listener: Listener) -> None:
        send = into(self.cloud)

        def serve(connection: Connection[Any, Any]) -> None:
            try:
                while True:
                    connection.send(send(connection.recv()))
            except (EOFError, OSError):
                return

        def accept() -> None:
            while True:
                thread = threading.Thread(target=serve, args=(listener.accept(),), daemon=True)
                thread.start()

        threading.Thread(target=accept, daemon=True).start()


def play(stage: Stage, job: dict[str, Any]) -> dict[str, Any]:
    """One job, in a process of its own: its runs, each a process, and what is there then."""
    from tests.steps import account as accounts

    account, address = job["account"], tempfile.mktemp(prefix="hubdeploy-kill-")
    with Listener(address, family="AF_UNIX", backlog=64) as listener:
        stage.cloud.calls.clear()
        runs = [_prepared(direction, account, address, nth) for direction, nth in job["runs"]]
        stage.follow()
        stage.listen(listener)
        codes, calls = [], [0]
        for begin in runs:
            codes.append(begin())
            calls.append(len(stage.cloud.calls.mutations(account=account)))
        state = accounts.read(Account(account, session(account, into(stage.cloud))))
    return {
        "number": job["number"],
        "codes": codes,
        "calls": [after - before for before, after in pairwise(calls)],
        "state": state,
    }


def _prepared(direction: str, account: str, address: str, die_after: int) -> Callable[[], int]:
    """A process that waits for its turn: forked while there are no threads yet."""
    gate, opening = os.pipe()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.close(opening)
            if os.read(gate, 1):
                code = run(direction, account, through(address), die_after=die_after)
        finally:
            os._exit(code)
    os.close(gate)

    def begin() -> int:
        os.write(opening, b"!")
        os.close(opening)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    return begin


def _too_late(*_: object) -> None:
    raise TimeoutError(f"the job is not done after {DEADLINE} s")


def main() -> None:
    import boto3  # noqa: F401 - before the first fork
    import botocore.session

    import hubdeploy.steps.waits  # noqa: F401
    from hubdeploy.steps.artifacts import packed
    from tests.steps import account as accounts

    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    packed()
    # the services' models are parsed here once, instead of in every process that is to die
    botocore.session.create_loader = functools.cache(botocore.session.create_loader)
    stage = Stage()
    assert run("up", FINISHED, into(stage.cloud)) == 0
    accounts.read(Account(FINISHED, session(FINISHED, into(stage.cloud))))
    stage.rest()
    for line in sys.stdin:
        job = json.loads(line)
        if os.fork() == 0:
            code = 70
            try:
                signal.signal(signal.SIGALRM, _too_late)
                signal.alarm(DEADLINE)
                result = play(stage, job)
                with tempfile.NamedTemporaryFile("w", delete=False) as file:
                    json.dump(result, file)
                sys.stdout.write(f"{file.name}\n")
                sys.stdout.flush()
                code = 0
            except BaseException:
                traceback.print_exc()
                raise
            finally:
                if code:
                    sys.stdout.write(f"{job['number']}\n")
                    sys.stdout.flush()
                os._exit(code)
        # those that have ended meanwhile
        while True:
            try:
                if os.waitpid(-1, os.WNOHANG) == (0, 0):
                    break
            except ChildProcessError:
                break


if __name__ == "__main__":
    main()
