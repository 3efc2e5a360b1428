"""JSON Schemas of the ``--json`` outputs: what programs may rely on."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from hubdeploy.config.limits import SIZES, Limits
from hubdeploy.config.model import Config

TEXT = {"type": "string"}
NUMBER = {"type": "number"}
COUNT = {"type": "integer", "minimum": 0}


def obj(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """An object with exactly these keys, the required ones always there."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": sorted(required),
        "additionalProperties": False,
    }


def many(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


def named(kind: str) -> dict[str, Any]:
    return {"const": f"hubdeploy/{kind}/1"}


CHANGE = obj(
    {
        "step": TEXT,
        "action": {"enum": ["create", "update", "replace", "delete", "keep"]},
        "resource": TEXT,
        "title": TEXT,
        "reason": TEXT,
        "disrupts": TEXT,
        "fields": many(obj({"name": TEXT, "old": TEXT, "new": TEXT})),
    }
)
COUNTS = obj(dict.fromkeys(("create", "update", "replace", "delete"), COUNT))
MACHINE = obj(
    dict.fromkeys(
        (
            "label",
            "role",
            "instance_id",
            "instance_type",
            "zone",
            "private_ip",
            "public_ip",
            "state",
            "phase",
            "detail",
            "since",
            "launched",
        ),
        TEXT,
    )
)
GROUP = obj(dict.fromkeys(("minimum", "desired", "maximum", "in_service"), COUNT))
TYPE_GROUP = obj({"instance_type": TEXT, "preference": TEXT, "desired": COUNT, "in_service": COUNT})
STATUS = {
    "deployment": TEXT,
    "region": TEXT,
    "exists": {"type": "boolean"},
    "url": TEXT,
    "machines": many(MACHINE),
    "group": {"anyOf": [GROUP, {"type": "null"}]},
    "groups": many(TYPE_GROUP),
    # sizes as they are written; none while there is no deployment
    "limits": obj(
        {},
        {
            **{f.name: TEXT if f.name in SIZES else COUNT for f in fields(Limits)},
            "changed": {
                "type": "object",
                "additionalProperties": obj({"by": TEXT, "at": TEXT, "was": COUNT}),
            },
        },
    ),
}
LIMITS = obj({f.name: COUNT for f in fields(Limits)})
"""Sizes in bytes, times in seconds."""
_MODEL = Config.model_json_schema(mode="serialization")
DOLLARS = {"type": ["number", "null"]}
COST = obj(
    {
        **dict.fromkeys(("idle", "full", "one_worker", "user_hour", "files_gb_month"), DOLLARS),
        **dict.fromkeys(("published", "problem", "assumed"), TEXT),
        "missing": many(TEXT),
    }
)
COST_CHANGE = obj({"idle": DOLLARS, "full": DOLLARS, "one_worker": DOLLARS, "problem": TEXT})
FINDING = obj(
    {
        "severity": {"enum": ["ok", "warning", "error"]},
        "subject": TEXT,
        "message": TEXT,
        "hint": TEXT,
    }
)
SCHEMAS: dict[str, dict[str, Any]] = {
    "plan": obj(
        {
            "schema": named("plan"),
            "counts": COUNTS,
            "changes": many(CHANGE),
            "cost": COST,
            "cost_change": {"anyOf": [COST_CHANGE, {"type": "null"}]},
        }
    ),
    "up": obj(
        {
            "schema": named("up"),
            "changed": {"type": "boolean"},
            "seconds": NUMBER,
            "counts": COUNTS,
            "changes": many(CHANGE),
            "status": obj(STATUS),
        }
    ),
    "status": obj({"schema": named("status"), **STATUS, "cost": COST}),
    "watch": obj(
        {
            "schema": named("watch"),
            "at": TEXT,
            "problem": TEXT,
            "status": obj(STATUS),
            "fleet": {"type": ["object", "null"]},
            "limits": many(
                obj(
                    {
                        "name": TEXT,
                        "used": COUNT,
                        "limit": COUNT,
                        "size": {"type": "boolean"},
                        "near": {"enum": ["", "near", "at"]},
                    }
                )
            ),
        }
    ),
    "scale": obj(
        {
            "schema": named("scale"),
            "before": LIMITS,
            "after": LIMITS,
            "running": COUNT,
            "file": {"type": ["string", "null"]},
        }
    ),
    "doctor": obj(
        {
            "schema": named("doctor"),
            "healthy": {"type": "boolean"},
            "checks": many(
                obj(
                    {
                        "name": TEXT,
                        "title": TEXT,
                        "severity": {"enum": ["ok", "warning", "error"]},
                        "seconds": NUMBER,
                        "repaired": TEXT,
                        "findings": many(FINDING),
                    }
                )
            ),
        }
    ),
    "run": obj(
        {
            "schema": named("run"),
            "results": many(
                obj(
                    {
                        "machine": TEXT,
                        "instance": TEXT,
                        "code": {"type": ["integer", "null"]},
                        "problem": TEXT,
                        "stdout": TEXT,
                        "stderr": TEXT,
                    }
                )
            ),
        }
    ),
    "chef": obj(
        {
            "schema": named("chef"),
            "server": TEXT,
            "nodes": many(
                obj(
                    {
                        **dict.fromkeys(("name", "machine", "address", "converged"), TEXT),
                        "run_list": many(TEXT),
                    }
                )
            ),
            "roles": many(obj({"name": TEXT, "run_list": many(TEXT)})),
            "cookbooks": {"type": "object", "additionalProperties": TEXT},
        }
    ),
    "config-check": obj(
        {"schema": named("config-check"), "file": TEXT, "name": TEXT, "valid": {"const": True}}
    ),
    "config": {
        **obj(
            {
                "schema": named("config"),
                "config": {key: value for key, value in _MODEL.items() if key != "$defs"},
            }
        ),
        "$defs": _MODEL["$defs"],
    },
    "secrets": obj({"schema": named("secrets"), "set": many(TEXT), "known": many(TEXT)}),
    "down": obj(
        {
            "schema": named("down"),
            "seconds": NUMBER,
            "counts": COUNTS,
            "changes": many(CHANGE),
            "left": many(TEXT),
        },
        {"swept": many(TEXT)},
    ),
}
COMMANDS = {
    "chef status": "chef",
    "config check": "config-check",
    "config show": "config",
    "doctor": "doctor",
    "down": "down",
    "plan": "plan",
    "run": "run",
    "scale": "scale",
    "secret list": "secrets",
    "status": "status",
    "up": "up",
}
"""Every command that has ``--json``, and the schema of what it then prints."""
