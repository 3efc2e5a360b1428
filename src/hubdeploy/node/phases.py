"""The machine's phase: one SSM parameter that says what it is doing, or why it failed."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime

from hubdeploy.config.names import Phase
from hubdeploy.node.aws import Cloud

log = logging.getLogger(__name__)

_MOST = 4000
"""Characters; a standard parameter holds 4 KB."""


def now() -> str:
    """ISO 8601, UTC, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def encode(phase: Phase, detail: str = "", *, log_tail: str = "") -> str:
    """The parameter's JSON, cut so that it fits: the log's end is what counts."""
    value = {
        "phase": phase.value,
        "detail": _plain(detail)[:500],
        "at": now(),
        "log": _plain(log_tail)[-_MOST:],
    }
    while len(text := json.dumps(value)) > _MOST and value["log"]:
        # a character takes up to two in JSON: half of what is too much goes at a time
        value["log"] = value["log"][(len(text) - _MOST + 1) // 2 :]
    return text


def _plain(text: str) -> str:
    return re.sub(r"[^ -~\n]", "?", text)


def put(cloud: Cloud, phase: Phase, detail: str = "", *, log_tail: str = "") -> None:
    """Say it.

    Raises:
        AwsError: it could not be written.
    """
    machine = cloud.machine
    name = machine.names.parameters.phase(machine.role, machine.identity.instance_id)
    log.info("phase %s %s", phase, detail)
    cloud.put_parameter(name, encode(phase, detail, log_tail=log_tail))


def current(cloud: Cloud) -> Phase | None:
    """What was said last; None if nothing, or nothing known."""
    machine = cloud.machine
    name = machine.names.parameters.phase(machine.role, machine.identity.instance_id)
    said = cloud.parameter_json(name) or {}
    try:
        return Phase(said.get("phase", ""))
    except ValueError:
        return None
