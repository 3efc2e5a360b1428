"""``hubdeploy-converge``: shaped like ``cinc-client``, for machines that have none."""

from __future__ import annotations

import argparse
import fcntl
import json
import logging
import sys
from pathlib import Path
from typing import Any

from hubdeploy.chef.objects import Node
from hubdeploy.chef.server import ChefServer
from hubdeploy.errors import ChefError, HubdeployError
from hubdeploy.sandbox.converge.clientrb import ClientSettings, read_client_rb
from hubdeploy.sandbox.converge.run import Outcome, Wishes, converge
from hubdeploy.sandbox.converge.sources import LocalSource, ServerSource, Source, register

CONFIGS = (Path("/etc/cinc/client.rb"), Path("/etc/chef/client.rb"))


def parser() -> argparse.ArgumentParser:
    built = argparse.ArgumentParser(
        prog="hubdeploy-converge",
        description="Run this node's Chef recipes with itamae (rehearsals and tests).",
    )
    built.add_argument("--once", action="store_true", help="accepted: there is no other way")
    built.add_argument(
        "-c", "--config", type=Path, help="client.rb (default: /etc/cinc, /etc/chef)"
    )
    built.add_argument("-j", "--json-attributes", type=Path, help="run_list and normal attributes")
    built.add_argument("-o", "--override-runlist", default="", help="instead of the node's own")
    built.add_argument("-W", "--why-run", action="store_true", help="say what would be changed")
    built.add_argument("-l", "--log_level", default="info", help="debug, info, warn, error")
    built.add_argument("-L", "--logfile", help="accepted: the log goes to standard output")
    built.add_argument("--chef-license", help="accepted and ignored")
    built.add_argument("--no-color", action="store_true", help="accepted: colours only on a tty")
    local = built.add_argument_group("without a server")
    local.add_argument("--local", type=Path, metavar="COOKBOOKS", help="folder of cookbooks")
    local.add_argument("--run-list", default="", help="for --local: recipe[a],role[b]")
    local.add_argument("--attributes", type=Path, help="for --local: as --json-attributes")
    local.add_argument(
        "--nodes", type=Path, help="for --local: JSON files that search answers from"
    )
    built.add_argument("--json", type=Path, dest="result", help="write the outcome to this file")
    built.add_argument("--ask", action="store_true", help=argparse.SUPPRESS)
    return built


def main(arguments: list[str] | None = None) -> None:
    """Entry point: exits 0 when the run list converged, 1 when not."""
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    try:
        if options.ask:
            source, _ = _source(options, None)
            json.dump(source.answer(json.load(sys.stdin)), sys.stdout)
            return
        outcome = _run(options)
    except HubdeployError as error:
        sys.exit(f"hubdeploy-converge: {error.message}\n{error.hint}".rstrip())
    if options.result:
        options.result.write_text(json.dumps(outcome.as_json()), encoding="utf-8")
    state = "complete" if outcome.ok else "failed"
    sys.stdout.write(
        f"Infra Phase {state}, {len(outcome.updated)}/{outcome.total} resources updated"
        f" in {outcome.seconds:.2f} seconds\n"
    )
    if not outcome.ok:
        sys.exit(1)


def _run(options: argparse.Namespace) -> Outcome:
    settings = None if options.local else read_client_rb(_config(options))
    cache = settings.cache if settings else Path("/tmp/hubdeploy-converge")
    cache.mkdir(parents=True, exist_ok=True)
    wishes = Wishes(
        override_run_list=tuple(_entries(options.override_runlist)),
        attributes=_json(options.json_attributes),
        why_run=options.why_run,
        log_level=options.log_level,
    )
    with (cache / "running").open("w") as lock:
        # as Chef's client: a second run waits for the first
        fcntl.flock(lock, fcntl.LOCK_EX)
        source, again = _source(options, settings)
        ask = [sys.executable, "-m", "hubdeploy.sandbox.converge.main", "--ask", *again]
        return converge(source, wishes, ask=ask, cache=cache)


def _config(options: argparse.Namespace) -> Path:
    if options.config:
        given: Path = options.config
        return given
    return next((one for one in CONFIGS if one.is_file()), CONFIGS[0])


def _source(
    options: argparse.Namespace, settings: ClientSettings | None
) -> tuple[Source, list[str]]:
    """The source, and the options by which a helper process reaches the same one."""
    if options.local:
        given = _json(options.attributes)
        run_list = _entries(options.run_list) or given.pop("run_list", [])
        node = Node(name="local", run_list=run_list, normal=given)
        again = ["--local", str(options.local)]
        if options.nodes:
            again += ["--nodes", str(options.nodes)]
        return LocalSource(options.local, node=node, nodes=options.nodes), again
    config = _config(options)
    settings = settings or read_client_rb(config)
    source = ServerSource(
        _server(settings),
        name=settings.node_name,
        environment=settings.environment,
        cache=settings.cache / "cookbooks",
    )
    return source, ["--config", str(config)]


def _server(settings: ClientSettings) -> ChefServer:
    if settings.client_key.exists():
        return ChefServer(
            settings.chef_server_url,
            client=settings.node_name,
            key=settings.client_key,
            trust=settings.trust,
        )
    if not settings.validation_key.exists():
        raise ChefError(
            f"There is neither {settings.client_key} nor {settings.validation_key}",
            hint="register the machine first",
        )
    validator = ChefServer(
        settings.chef_server_url,
        client=settings.validation_client_name,
        key=settings.validation_key,
        trust=settings.trust,
    )
    return register(validator, settings.node_name, key_file=settings.client_key)


def _entries(text: str) -> list[str]:
    return [one.strip() for one in text.split(",") if one.strip()]


def _json(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        raw: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ChefError(f"{file} is not readable JSON: {error}") from None
    return raw


if __name__ == "__main__":
    main()
