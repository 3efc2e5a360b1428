"""The sandbox's background server: ``python -m hubdeploy.sandbox.server``.

Started by :mod:`hubdeploy.sandbox.launch`; holds the embedded AWS and its machines until it is
told to stop, by request or by SIGTERM.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubdeploy.sandbox import notebook_tag
from hubdeploy.sandbox.cloud import kept
from hubdeploy.sandbox.cloud.admin import Admin
from hubdeploy.sandbox.cloud.credentials import operator
from hubdeploy.sandbox.cloud.follow import Follower
from hubdeploy.sandbox.cloud.hosts import instances
from hubdeploy.sandbox.cloud.server import Cloud
from hubdeploy.sandbox.cloud.settings import CloudSettings
from hubdeploy.sandbox.machines.interface import Machines

if TYPE_CHECKING:
    from hubdeploy.sandbox.containers import Doors

log = logging.getLogger("hubdeploy.sandbox")
ACCOUNT = "123456789012"
"""The embedded AWS's only account."""


NOTE_EVERY = 2.0
"""Seconds after which a new file system is recorded, should this process be killed."""


class Server:
    """One sandbox: cloud, machines, and the thread between them."""

    def __init__(self, *, name: str, kind: str, why: str, directory: Path) -> None:
        self.name, self.kind, self.why, self.directory = name, kind, why, directory
        self.token = secrets.token_urlsafe(24)
        self.stopping = threading.Event()
        self.keep_files = True
        self.spared: Collection[str] = ()
        self.remove = True
        self.cloud = Cloud(CloudSettings(launch_retry=5.0))
        notebook_tag.keep(self.cloud)
        self.endpoint_url = self.cloud.listen()
        self.doors: Doors | None = None
        self.machines: Machines = self._machines()
        self.cloud.machines = self.machines
        self.follower = Follower(self.cloud, self.machines)
        admin = Admin(self.token)
        admin.routes = {
            "/describe": self._describe,
            "/directions": self._directions,
            "/stop": self._stop,
        }
        self.cloud.admin = admin

    def _machines(self) -> Machines:
        if self.kind == "simulated":
            from hubdeploy.sandbox.machines.simulated import Plan, SimulatedMachines

            return SimulatedMachines(self.cloud, Plan(power_on=0.2, phase=0.1, power_off=0.1))
        from hubdeploy.sandbox import containers

        return containers.machines(self)

    def run(self, *, ready: int) -> None:
        """Serve until told to stop."""
        kept.restore(self.cloud, ACCOUNT, self.directory / kept.RECORD)
        self.follower.start()
        self._write_state()
        os.write(ready, b"ready\n")
        os.close(ready)
        threading.Thread(target=warm_up, daemon=True).start()
        while not self.stopping.wait(NOTE_EVERY):
            kept.note_files(self.cloud, ACCOUNT, self.directory / kept.RECORD)
        log.info("stopping")
        self.follower.close()
        record = self.directory / kept.RECORD
        if self.keep_files:
            kept.keep(self.cloud, ACCOUNT, record)
            self.spared = kept.parts(record)
        else:
            record.unlink(missing_ok=True)
        self.cloud.close()
        if self.kind == "docker":
            from hubdeploy.sandbox import containers

            containers.close(self)
        else:
            self.machines.close(remove=True)
        (self.directory / "state.json").unlink(missing_ok=True)
        log.info("stopped")

    def _write_state(self) -> None:
        state = {
            "pid": os.getpid(),
            "kind": self.kind,
            "why": self.why,
            "endpoint_url": self.endpoint_url,
            "access_key": operator(ACCOUNT).access_key,
            "token": self.token,
        }
        path = self.directory / "state.json"
        fresh = path.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps(state))
        fresh.replace(path)

    def _describe(self, _body: dict[str, Any]) -> dict[str, Any]:
        return {
            "name": self.name,
            "machines": self.kind,
            "endpoint_url": self.endpoint_url,
            "calls": len(self.cloud.calls),
            "regions": [
                region
                for account, region in self.cloud.sites()
                if any(i.state != "terminated" for i in instances(self.cloud, account, region))
            ],
        }

    def _directions(self, _body: dict[str, Any]) -> dict[str, Any]:
        if self.kind == "simulated":
            return {"lines": []}
        from hubdeploy.sandbox import containers

        return {"lines": containers.directions(self)}

    def _stop(self, body: dict[str, Any]) -> dict[str, Any]:
        self.keep_files = bool(body.get("keep_files", True))
        # after the answer has left
        threading.Timer(0.05, self.stopping.set).start()
        return {"stopping": True}


def warm_up() -> None:
    """Load what the first deployment will use while the operator still reads the plan."""
    from moto.backends import get_backend

    for service in ("ec2", "iam", "ssm", "s3", "efs", "autoscaling", "servicediscovery", "ecr"):
        get_backend(service)
    for service in ("logs", "cloudwatch", "route53"):
        get_backend(service)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="hubdeploy.sandbox.server", description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--machines", choices=("docker", "simulated"), required=True)
    parser.add_argument("--why", default="", help="why the machines are only simulated")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--ready", type=int, required=True, help="descriptor to say 'ready' on")
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    server = Server(
        name=options.name, kind=options.machines, why=options.why, directory=options.directory
    )

    def stop(_number: int, _frame: object) -> None:
        server.stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    server.run(ready=options.ready)
    return 0


if __name__ == "__main__":
    sys.exit(main())
