"""IAM SimulatePrincipalPolicy, answered by the same evaluation that every call goes through."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hubdeploy.sandbox.cloud.fault import AwsFault
from hubdeploy.sandbox.cloud.hooks import Hooks
from hubdeploy.sandbox.cloud.rights.policy import Decision, evaluate
from hubdeploy.sandbox.cloud.rights.roles import boundary_of, policies_of

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.calls import Call
    from hubdeploy.sandbox.cloud.server import Cloud

hooks = Hooks()


def _context(call: Call) -> dict[str, str | list[str]]:
    context: dict[str, str | list[str]] = {"aws:RequestedRegion": call.region}
    for entry in call.params.get("ContextEntries") or []:
        values = list(entry.get("ContextKeyValues") or [])
        context[entry["ContextKeyName"]] = values if len(values) != 1 else values[0]
    return context


def _documents(
    cloud: Cloud, call: Call
) -> tuple[list[dict[str, Any]] | None, list[dict[str, Any]] | None]:
    """(policies, boundary) of the principal asked about; None: may do everything."""
    arn = call.params["PolicySourceArn"]
    name = arn.rpartition("/")[2]
    if ":role/" in arn:
        return policies_of(cloud, call.account, name), boundary_of(cloud, call.account, name)
    if ":user/" in arn:
        policies = call.principal.policies if call.principal.arn == arn else None
        return (None if policies is None else list(policies)), None
    raise AwsFault("NoSuchEntity", f"{arn} does not exist.")


@hooks.take("iam", "SimulatePrincipalPolicy")
def simulate(cloud: Cloud, call: Call) -> dict[str, Any]:
    policies, boundary = _documents(cloud, call)
    extra = [json.loads(text) for text in call.params.get("PolicyInputList") or []]
    context = _context(call)
    results = []
    for action in call.params["ActionNames"]:
        if "*" in action:
            raise AwsFault("InvalidInput", f"Invalid action name: {action}")
        for resource in call.params.get("ResourceArns") or ["*"]:
            if policies is None:
                decision = Decision(effect="allowed")
            else:
                decision = evaluate(
                    [*policies, *extra], action, resource, context, boundary=boundary
                )
            results.append(
                {
                    "EvalActionName": action,
                    "EvalResourceName": resource,
                    "EvalDecision": decision.effect,
                    "MatchedStatements": [],
                    "MissingContextValues": [],
                }
            )
    return {"EvaluationResults": results, "IsTruncated": False}
