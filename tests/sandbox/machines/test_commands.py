"""Run Command on machines."""

from __future__ import annotations

import threading
import time

import pytest

from hubdeploy.errors import SandboxError
from tests.plugins.machines import Lab, LabMachine

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def machine(lab: Lab) -> LabMachine:
    return lab.boot()


def test_output_and_exit_code_come_apart(machine: LabMachine) -> None:
    result = machine.run("echo out; echo err >&2; exit 7")
    assert (result.code, result.stdout, result.stderr) == (7, "out\n", "err\n")


def test_a_script_may_name_its_interpreter(machine: LabMachine) -> None:
    assert machine.out("#!/usr/bin/env python3\nprint(6 * 7)") == "42"


def test_large_output_arrives_whole(machine: LabMachine) -> None:
    assert len(machine.out("seq 200000").splitlines()) == 200_000


def test_the_deadline_ends_all_that_was_started(machine: LabMachine) -> None:
    started = time.monotonic()
    result = machine.run("echo begun; sleep 321 & sleep 321", timeout=1)
    assert result.timed_out
    assert result.code == -1
    assert result.stdout == "begun\n"
    assert time.monotonic() - started < 10
    assert machine.run("pgrep -x -f 'sleep 321'").code == 1


def test_a_cancelled_command_is_ended(machine: LabMachine) -> None:
    cancelled = threading.Event()
    threading.Timer(0.7, cancelled.set).start()
    result = machine.lab.machines.run(
        machine.id, "echo begun; sleep 654 & sleep 654", timeout=60, cancelled=cancelled
    )
    assert result.cancelled
    assert not result.timed_out
    assert machine.run("pgrep -x -f 'sleep 654'").code == 1


def test_a_daemon_left_behind_does_not_hold_the_caller(machine: LabMachine) -> None:
    started = time.monotonic()
    machine.out("setsid sleep 77 & echo done")
    assert time.monotonic() - started < 10
    assert machine.out("pgrep -x -f 'sleep 77'")


def test_a_machine_that_does_not_run_takes_no_command(lab: Lab) -> None:
    with pytest.raises(SandboxError, match="is gone"):
        lab.machines.run("i-00000000000000000", "true", timeout=5, cancelled=threading.Event())


def test_commands_run_side_by_side(machine: LabMachine) -> None:
    results: list[str] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(machine.out(f"sleep 1; echo {n}")))
        for n in range(5)
    ]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["0", "1", "2", "3", "4"]
    assert time.monotonic() - started < 4.5
