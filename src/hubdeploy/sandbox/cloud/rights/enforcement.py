"""The layer that refuses, with the words of AWS."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from hubdeploy.sandbox.cloud.fault import AwsFault
from hubdeploy.sandbox.cloud.rights.needs import Unmapped, needs
from hubdeploy.sandbox.cloud.rights.policy import evaluate
from hubdeploy.sandbox.cloud.rights.roles import boundary_of, policies_of

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.calls import Call
    from hubdeploy.sandbox.cloud.server import Cloud

log = logging.getLogger(__name__)


def last_accessed(cloud: Cloud, account: str) -> set[str]:
    """Actions that were allowed to people (not to roles) so far, as IAM's access advisor has them;
    those included that a service took on the caller's behalf."""
    return cloud.store(account, "aws", "last-accessed", set)


def enforce(cloud: Cloud, call: Call) -> None:
    """Raise AWS's refusal unless the caller's policies allow all that the call needs."""
    if cloud.settings.unlimited_rights:
        return
    who = call.principal
    try:
        wanted = needs(cloud, call)
    except Unmapped:
        log.error("%s: %s is not in the table of actions", who.arn, call.name)
        raise refusal(call, f"{call.name} (not in the rehearsal's table of actions)", "*") from None
    if not wanted:
        return
    if who.role:
        policies = policies_of(cloud, call.account, who.role)
        boundary = boundary_of(cloud, call.account, who.role)
    else:
        policies, boundary = list(who.policies or ()), None
    common = {
        "aws:RequestedRegion": call.region,
        "aws:PrincipalAccount": call.account,
        "aws:ResourceAccount": call.account,
        "aws:PrincipalArn": who.arn,
        "aws:SecureTransport": "true",
        "aws:PrincipalType": "AssumedRole" if who.role else "User",
        "aws:userid": f"AROAREHEARSAL:{who.session}" if who.role else "AIDAREHEARSAL",
    }
    for need in wanted:
        context = {**common, **need.context}
        decision = evaluate(policies, need.action, need.resource, context, boundary=boundary)
        if not decision.allowed:
            log.warning("%s may not %s on %s (%s)", who.arn, need.action, need.resource, call.name)
            raise refusal(call, need.action, need.resource, explicit=decision.effect[0] == "e")
    if not who.role:
        last_accessed(cloud, call.account).update(need.action for need in wanted)


def refusal(call: Call, action: str, resource: str, *, explicit: bool = False) -> AwsFault:
    because = (
        "with an explicit deny in an identity-based policy"
        if explicit
        else f"because no identity-based policy allows the {action} action"
    )
    text = (
        f"User: {call.principal.arn} is not authorized to perform: {action} on resource: "
        f"{resource} {because}"
    )
    if call.service == "ec2":
        text = f"You are not authorized to perform this operation. {text}"
        return AwsFault("UnauthorizedOperation", text, status=403)
    if call.service in ("s3", "sts", "iam", "autoscaling", "cloudwatch", "route53"):
        return AwsFault("AccessDenied", text, status=403)
    return AwsFault("AccessDeniedException", text, status=400)
