"""Runs ``up`` or ``down`` in a process that dies at a given call. Started as a program of its own.

It imports everything once and forks for each job, so that a death costs no import. Jobs come as
JSON lines on standard input; each is answered by the exit code of its process.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import threading
from typing import Any

DIED = 77
"""Exit code of a process that died at the call it was told to die at."""
SERVICES = (
    "autoscaling",
    "cloudwatch",
    "ec2",
    "ecr",
    "efs",
    "iam",
    "logs",
    "s3",
    "servicediscovery",
    "ssm",
)
_READS = ("Describe", "Get", "List", "Head")


class Killer:
    """The test's side: ``run(...)`` gives the exit code."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.steps.killing"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, **job: Any) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)


def _die_after(aws: Any, nth: int) -> None:
    """End the process, without a word, when the answer to the nth mutating call has come."""
    lock = threading.Lock()
    seen = [0]

    def after(model: Any, **_: Any) -> None:
        if model.name.startswith(_READS):
            return
        with lock:
            seen[0] += 1
            if seen[0] == nth:
                os._exit(DIED)

    aws._session.events.register("after-call", after)


def _work(job: dict[str, Any]) -> int:
    from hubdeploy.aws.session import Aws
    from hubdeploy.pipeline import runner
    from hubdeploy.steps import all_steps
    from tests.steps.rig import config, context

    settings = config(**job["tables"])
    aws = Aws(
        region=settings.region,
        endpoint_url=job["endpoint_url"],
        credentials=tuple(job["credentials"]),
    )
    if job["die_after"]:
        _die_after(aws, job["die_after"])
    run = {"up": runner.up, "down": runner.down}[job["direction"]]
    try:
        run(all_steps(context(aws, job["account"], settings)))
    except runner.PipelineFailed as failed:
        for step, error in failed.failures.items():
            sys.stderr.write(f"{step}: {error.message}\n")
        return 1
    return 0


def _serve() -> None:
    import boto3  # noqa: F401 - before the first fork
    import botocore.loaders

    import hubdeploy.steps.waits  # noqa: F401
    from hubdeploy.aws.session import Aws
    from hubdeploy.steps.artifacts import packed

    packed()
    # the services' models are parsed here once, instead of in every process that is to die
    botocore.loaders.create_loader = functools.cache(botocore.loaders.create_loader)
    warm = Aws(
        region="eu-central-1", endpoint_url="http://127.0.0.1:9", credentials=("a", "b", None)
    )
    for service in SERVICES:
        warm.client(service)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 70
            try:
                code = _work(json.loads(line))
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
