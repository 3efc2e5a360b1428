"""STS: who is calling, and roles assumed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from hubdeploy.sandbox.cloud.fault import AwsFault
from hubdeploy.sandbox.cloud.hooks import Hooks

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.calls import Call
    from hubdeploy.sandbox.cloud.server import Cloud

hooks = Hooks()


@hooks.take("sts", "GetCallerIdentity")
def identity(_cloud: Cloud, call: Call) -> dict[str, Any]:
    who = call.principal
    ident = f"AROAREHEARSAL:{who.session}" if who.role else "AIDAREHEARSAL"
    return {"UserId": ident, "Account": who.account, "Arn": who.arn}


@hooks.take("sts", "AssumeRole")
def assume(cloud: Cloud, call: Call) -> dict[str, Any]:
    arn, session = call.params["RoleArn"], call.params["RoleSessionName"]
    name = arn.rpartition("/")[2]
    roles = cloud.backend("iam", call.account, "aws").roles.values()
    if not any(role.arn == arn for role in roles):
        text = f"User: {call.principal.arn} is not authorized to perform: sts:AssumeRole on {arn}"
        raise AwsFault("AccessDenied", text)
    issued = cloud.role_credentials(call.account, name, session=session)
    expires = datetime.now(UTC) + timedelta(seconds=int(call.params.get("DurationSeconds") or 3600))
    return {
        "Credentials": {
            "AccessKeyId": issued.access_key,
            "SecretAccessKey": issued.secret_key,
            "SessionToken": issued.token,
            "Expiration": expires,
        },
        "AssumedRoleUser": {
            "AssumedRoleId": f"AROAREHEARSAL:{session}",
            "Arn": f"arn:aws:sts::{call.account}:assumed-role/{name}/{session}",
        },
    }
