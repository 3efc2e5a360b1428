"""Session Manager: sessions begin for machines whose agent is online, and end.

Their data goes over AWS's own web socket protocol, which is not spoken here: ``StreamUrl`` leads
nowhere. What is checked is who may begin which session, and that it is ended.
"""

from __future__ import annotations

import secrets
import uuid
from typing import TYPE_CHECKING, Any

from hubdeploy.sandbox.cloud import hosts
from hubdeploy.sandbox.cloud.fault import AwsFault
from hubdeploy.sandbox.cloud.hooks import Hooks

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.calls import Call
    from hubdeploy.sandbox.cloud.server import Cloud

hooks = Hooks()
_DOCUMENTS = ("SSM-SessionManagerRunShell", "AWS-StartPortForwardingSession")


def open_sessions(cloud: Cloud, account: str, region: str) -> dict[str, str]:
    """Instance by session id."""
    found: dict[str, str] = cloud.store(account, region, "sessions", dict)
    return found


@hooks.take("ssm", "StartSession")
def start(cloud: Cloud, call: Call) -> dict[str, Any]:
    target, document = call.params["Target"], call.params.get("DocumentName", _DOCUMENTS[0])
    if document not in _DOCUMENTS:
        raise AwsFault("InvalidDocument", f"Document {document} does not exist.")
    if target not in hosts.online(cloud, call.account, call.region):
        raise AwsFault("TargetNotConnected", f"{target} is not connected.")
    ident = f"operator-{uuid.uuid4().hex[:17]}"
    open_sessions(cloud, call.account, call.region)[ident] = target
    return {
        "SessionId": ident,
        "TokenValue": secrets.token_urlsafe(64),
        "StreamUrl": f"wss://ssmmessages.{call.region}.invalid/v1/data-channel/{ident}",
    }


@hooks.take("ssm", "TerminateSession")
def terminate(cloud: Cloud, call: Call) -> dict[str, Any]:
    ident = call.params["SessionId"]
    open_sessions(cloud, call.account, call.region).pop(ident, None)
    return {"SessionId": ident}
