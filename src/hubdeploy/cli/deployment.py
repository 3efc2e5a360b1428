"""Opens the deployment that a command works on: configuration, account, or the sandbox."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hubdeploy.errors import ConfigError, HubdeployError

if TYPE_CHECKING:
    from hubdeploy.aws.session import Aws
    from hubdeploy.config.model import Config
    from hubdeploy.config.names import Names
    from hubdeploy.errors import AwsError
    from hubdeploy.pipeline.step import Context
    from hubdeploy.sandbox.known import Sandbox

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A configuration with the account it is for. ``sandbox`` is None on AWS.

    ``refused``: AWS did not say who calls, so that ``names.account`` is empty.
    """

    path: Path
    configured: Config
    """As the file says."""
    config: Config
    """As it is worked with: in the sandbox, smaller."""
    aws: Aws
    names: Names
    sandbox: Sandbox | None
    log_file: Path
    refused: AwsError | None = None

    @property
    def key_folder(self) -> Path:
        """Where the SSH key and the machines' host keys are kept; a rehearsal's go with it."""
        return self.sandbox.directory if self.sandbox else state_dir()

    def rehearsed(self, config: Config) -> Config:
        """What ``up`` would work with for ``config``: in the sandbox, what one machine can hold."""
        if self.sandbox is None:
            return config
        from hubdeploy.sandbox.adapt import adapted

        return adapted(config, self.sandbox)

    def refuse_contradictions(self) -> None:
        """``ConfigError`` with file and line where the limits cannot go together with the memory
        that the configured machines have, or where a hub on AWS would let anybody in as anybody;
        ``HubdeployError`` where the region has no such instance type, before anything is made.
        """
        from hubdeploy.aws.types import sizes
        from hubdeploy.operate.scale import refuse
        from hubdeploy.steps.parameters import limits

        config = self.configured
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        if config.hub.authenticator.kind == "dummy" and self.sandbox is None:
            raise ConfigError(
                f"{place(self.path, text, 'hub.authenticator.kind')}: "
                "'dummy' lets anybody in under any name",
                hint="choose another kind; 'dummy' is for --sandbox",
            )
        wanted = [
            ("leader.instance_type", config.leader.instance_type),
            ("chef.instance_type", config.chef.instance_type),
            ("chef.workstation_type", config.chef.workstation_type),
            *(("workers.instance_types", kind) for kind in config.workers.instance_types),
            *(("hub.profiles", kind) for kind in config.profile_types),
        ]
        known = sizes([kind for _, kind in wanted], aws=self.aws)
        for key, kind in wanted:
            # a rehearsal's types stand for those configured, which its AWS need not know
            if self.sandbox is None and kind not in known:
                raise HubdeployError(
                    f"{place(self.path, text, key)}: EC2 has no instance type {kind} "
                    f"in {config.region}",
                    hint="choose another instance type, or another region",
                )
        refuse(
            limits(config),
            {kind: known[kind] for kind in config.worker_types if kind in known},
            place=lambda key: place(self.path, text, key),
        )

    def context(
        self,
        *,
        planning: bool = False,
        say: Callable[[str], object] = str,
        delete_files: str = "",
    ) -> Context:
        """What the steps of one run share; nothing is remembered from an earlier run."""
        from hubdeploy.aws.inventory import Inventory
        from hubdeploy.pipeline.step import Context

        return Context(
            config=self.config,
            names=self.names,
            aws=self.aws,
            inventory=Inventory(aws=self.aws, names=self.names),
            planning=planning,
            say=say,
            key_folder=self.key_folder,
            delete_files=delete_files,
        )


def open_deployment(
    *,
    path: Path,
    sandbox: bool,
    profile: str | None = None,
    region: str | None = None,
    machines: str | None = None,
    start: bool = False,
    anonymous: bool = False,
    say: Callable[[str], object] = str,
    logged: bool = True,
) -> Opened:
    """Read the configuration and find the account (or the sandbox, which ``start`` begins).

    ``anonymous``: without credentials that AWS takes there is something to do as well.
    Every AWS call from here on goes to the run's log file, secrets masked; where nothing is
    ``logged``, there is none.
    """
    from hubdeploy.aws.session import Aws
    from hubdeploy.config.load import load
    from hubdeploy.config.names import Names
    from hubdeploy.errors import AwsError

    if machines is not None and not sandbox:
        raise ConfigError("--machines goes with --sandbox", hint="on AWS they are instances")
    if machines not in (None, "docker", "simulated"):
        raise ConfigError(f"--machines {machines}: no such kind", hint="docker or simulated")
    if sandbox and not path.exists() and path == Path("hubdeploy.toml"):
        from hubdeploy.config.load import parse

        config = parse('name = "rehearsal"\nregion = "eu-central-1"\n')
    else:
        config = load(path)
    if region is not None and region != config.region:
        raise ConfigError(
            f"--region {region}: {path} says {config.region}",
            hint="a deployment stays in its region; use another configuration file",
        )
    log_file = _log_to(config.name) if logged else Path(os.devnull)
    configured = config
    if not sandbox:
        aws = Aws(region=config.region, profile=profile, patience=config.waits.settle)
        try:
            _refuse_sandbox(aws)
        except AwsError:
            if not anonymous:
                raise
        running = None
    else:
        from hubdeploy.sandbox import known, launch
        from hubdeploy.sandbox.adapt import adapted

        running = (
            launch.start(config.name, machines=machines, say=say)
            if start
            else known.find(config.name)
        )
        if running is None:
            raise ConfigError(
                f"no sandbox {config.name!r} is running here",
                hint="hubdeploy up --sandbox starts it",
            )
        _refuse_other_region(config, running)
        config = adapted(config, running)
        aws = Aws(
            region=config.region,
            endpoint_url=running.endpoint_url,
            credentials=running.credentials,
            patience=config.waits.settle,
        )
    refused, account = None, ""
    try:
        account = aws.account
    except AwsError as error:
        if not anonymous:
            raise
        refused = error
    return Opened(
        path=path,
        configured=configured,
        config=config,
        aws=aws,
        names=Names(deployment=config.name, region=config.region, account=account),
        sandbox=running,
        log_file=log_file,
        refused=refused,
    )


def place(path: Path, text: str, key: str) -> str:
    """``hubdeploy.toml:12: workers.max_nodes``; the key alone where there is no file."""
    from hubdeploy.config.load import line_of

    line = line_of(text, tuple(key.split(".")))
    return f"{path}:{line}: {key}" if line else f"{path}: {key}" if text else key


def _refuse_other_region(config: Config, sandbox: Sandbox) -> None:
    """A sandbox is one machine's worth: `down` ends it, with whatever else would stand there."""
    others = [r for r in sandbox.request("/describe")["regions"] if r != config.region]
    if others:
        raise ConfigError(
            f"the sandbox {config.name!r} rehearses {config.name} in {others[0]}, "
            f"not in {config.region}",
            hint=f'`hubdeploy down --sandbox` with region = "{others[0]}", or take another name',
        )


def _refuse_sandbox(aws: Aws) -> None:
    """AWS_ENDPOINT_URL (or a profile) may lead to a stand-in on this machine."""
    from urllib.parse import urlsplit

    for service in ("sts", "ec2"):
        url = str(aws.client(service).meta.endpoint_url)
        host = urlsplit(url).hostname or ""
        if host == "localhost" or host.startswith("127.") or host == "::1":
            raise ConfigError(
                f"the endpoint of AWS is {url}, which is no AWS",
                hint="unset AWS_ENDPOINT_URL, or use --sandbox",
            )


def state_dir() -> Path:
    """Where hubdeploy keeps logs and keys on the operator's machine."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "hubdeploy"


KEPT_LOGS = 50


def _log_to(deployment: str) -> Path:
    """Begin this run's log file (0600) and drop the oldest ones."""
    folder = state_dir() / "logs"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    path = folder / f"{re.sub(r'[^a-z0-9-]', '', deployment)}-{stamp}-{os.getpid()}.log"
    for old in sorted(folder.glob("*.log"))[:-KEPT_LOGS]:
        old.unlink(missing_ok=True)
    handler = logging.FileHandler(path, delay=True, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(threadName)s %(name)s %(message)s"))
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    root = logging.getLogger("hubdeploy")
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    log.info("%s%s", BEGAN, next((word for word in sys.argv[1:] if word[:1] != "-"), ""))
    return path


BEGAN = "hubdeploy "
"""Begins a run's log; the command follows, without what is given to it."""


def last_run(deployment: str, command: str) -> str:
    """The log of the newest run of ``command`` from this machine; empty if none is kept."""
    folder = state_dir() / "logs"
    for path in sorted(folder.glob(f"{deployment}-*T*-*.log"), key=_written, reverse=True):
        text = path.read_text(encoding="utf-8", errors="replace")
        if f" {BEGAN}{command}" in text.split("\n", 1)[0]:
            return text
    return ""


def _written(path: Path) -> float:
    return path.stat().st_mtime
