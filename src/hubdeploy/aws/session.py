"""Clients for AWS: made once, shared by threads, every call logged without secrets.

Creating clients and sessions is not thread-safe in boto3, using them is: so they are made under a
lock and kept.

botocore repeats a call whose answer was lost. What makes something would then make it twice, or be
refused as already there: such calls are made once, and the next run finds what they made.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from hubdeploy.aws.errors import translated
from hubdeploy.aws.hints import NO_TIME, THROTTLED
from hubdeploy.aws.masking import masked
from hubdeploy.aws.waiting import retry_codes

log = logging.getLogger("hubdeploy.aws.calls")

ONCE = (
    "add_role_",
    "allocate_",
    "associate_",
    "attach_",
    "authorize_",
    "change_",
    "create_",
    "detach_",
    "import_",
    "revoke_",
    "run_",
    "send_",
)
"""How operations begin that do not do the same when they are done again."""
AGAIN = frozenset({"create_tags", "create_or_update_tags"})
"""Those that do nevertheless."""
BUSY = THROTTLED | NO_TIME
"""The codes by which AWS says that it has not begun with a call."""

CallHook = Callable[[str, str], None]
"""Called with (service, operation) before each attempt's call."""


def is_made_once(operation: str, params: Mapping[str, Any]) -> bool:
    """Whether a call is not to be repeated when its answer is lost."""
    if operation == "put_parameter":
        return not params.get("Overwrite")
    return operation.startswith(ONCE) and operation not in AGAIN


@dataclass(kw_only=True)
class Aws:
    """One account and region, through the default credential chain or a given endpoint.

    ``endpoint_url`` is set for the sandbox only, together with ``credentials``
    (access key, secret key, session token or None).
    """

    region: str
    profile: str | None = None
    endpoint_url: str | None = None
    credentials: tuple[str, str, str | None] | None = None
    on_call: CallHook | None = None
    patience: float = 120.0
    """Seconds for which a call that is made once is tried again while AWS has no time for it."""
    _clients: dict[str, Any] = field(default_factory=dict, repr=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    @cached_property
    def _session(self) -> Any:
        import boto3

        access, secret, token = self.credentials or (None, None, None)
        session = boto3.session.Session(
            profile_name=self.profile,
            region_name=self.region,
            aws_access_key_id=access,
            aws_secret_access_key=secret,
            aws_session_token=token,
        )
        events = session.events
        events.register("before-call", self._before)
        events.register("after-call", self._after)
        return session

    def client(self, service: str, *, region: str | None = None, once: bool = False) -> Any:
        """The shared client of a service, e.g. ``client("ec2")``; ``once``: it repeats no call.

        :class:`~hubdeploy.errors.AwsError` if profile, region or configuration do not allow one.
        """
        key = f"{service}@{region or self.region}{' once' if once else ''}"
        with translated(service, "client"), self._lock:
            if key not in self._clients:
                from botocore.config import Config as BotoConfig

                self._clients[key] = self._session.client(
                    service,
                    region_name=region or self.region,
                    endpoint_url=self.endpoint_url,
                    config=BotoConfig(
                        retries={"mode": "standard", "total_max_attempts": 1 if once else 6},
                        max_pool_connections=32,
                        connect_timeout=10,
                        read_timeout=60,
                        # Cloud Map's data plane has a host prefix that no other endpoint resolves
                        inject_host_prefix=self.endpoint_url is None,
                    ),
                )
            return self._clients[key]

    def call(self, service: str, operation: str, **params: Any) -> dict[str, Any]:
        """One call; AWS's refusal is raised as :class:`~hubdeploy.errors.AwsError` with a hint.

        ``operation`` is the method's name (``create_vpc``).
        """
        once = is_made_once(operation, params)

        def attempt() -> dict[str, Any]:
            with translated(service, operation):
                client = self.client(service, once=once)
                result: dict[str, Any] = getattr(client, operation)(**params)
                return result

        if not once:
            return attempt()
        what = f"AWS to have time for {operation}"
        return retry_codes(attempt, what=what, codes=BUSY, deadline=self.patience)

    def pages(self, service: str, operation: str, key: str, **params: Any) -> list[Any]:
        """All items under ``key`` of a read, page by page where AWS gives pages."""
        with translated(service, operation):
            client = self.client(service)
            if not client.can_paginate(operation):
                return list(getattr(client, operation)(**params).get(key, []))
            paginator = client.get_paginator(operation)
            return [item for page in paginator.paginate(**params) for item in page.get(key, [])]

    @cached_property
    def account(self) -> str:
        """The account's number; the first call that needs valid credentials."""
        return str(self.call("sts", "get_caller_identity")["Account"])

    def _before(self, model: Any, params: Any, **_: Any) -> None:
        if self.on_call is not None:
            self.on_call(model.service_model.service_name, model.name)
        params.setdefault("context", {})["hubdeploy_started"] = time.monotonic()

    def _after(self, http_response: Any, parsed: Any, model: Any, context: Any, **_: Any) -> None:
        if not log.isEnabledFor(logging.DEBUG):
            return
        took = time.monotonic() - context.get("hubdeploy_started", time.monotonic())
        error = parsed.get("Error", {}).get("Code", "") if isinstance(parsed, dict) else ""
        log.debug(
            "%s.%s %s %.3fs %s %s",
            model.service_model.service_name,
            model.name,
            http_response.status_code,
            took,
            error,
            json.dumps(masked(parsed), default=str)[:2000],
        )
