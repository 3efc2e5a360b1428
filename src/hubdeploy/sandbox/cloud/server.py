"""The server: one embedded AWS in this process, on loopback and wherever else it is asked to."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from email.utils import formatdate
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from hubdeploy.errors import SandboxError
from hubdeploy.sandbox.cloud.calls import Call, CallLog, Record
from hubdeploy.sandbox.cloud.credentials import Credentials, KeyRing, Principal, operator
from hubdeploy.sandbox.cloud.fault import AwsFault, Faults, Killed
from hubdeploy.sandbox.cloud.hooks import Hooks
from hubdeploy.sandbox.cloud.settings import CloudSettings

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.admin import Admin
    from hubdeploy.sandbox.machines.interface import Machines

# moto reads these when it is imported
os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
os.environ.setdefault("S3_IGNORE_SUBDOMAIN_BUCKETNAME", "true")
os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "false")

log = logging.getLogger(__name__)
T = TypeVar("T")
GLOBAL_SERVICES = frozenset({"iam", "sts", "s3", "route53", "pricing"})


@cache
def _backends(service: str) -> Any:
    """moto lists its own directory at each look-up."""
    from moto.backends import get_backend

    return get_backend(service)


class Cloud:
    """An embedded AWS.

    ``calls`` is the log, ``faults`` injects, ``settings`` says how strict and how slow it is.
    State beyond moto's is kept per account and region in :meth:`store`.
    """

    def __init__(self, settings: CloudSettings | None = None) -> None:
        from hubdeploy.sandbox.cloud import moto_app, overlay, rights, strict

        self.settings = settings or CloudSettings()
        self.calls = CallLog()
        self.faults = Faults()
        self.keys = KeyRing()
        self.hooks = Hooks()
        for hooks in (*strict.TABLES, *overlay.TABLES):
            self.hooks.merge(hooks)
        self.lock = threading.RLock()
        """Held while an operation runs in moto, whose backends are not made for threads."""
        self.changed = threading.Condition()
        self.machines: Machines | None = None
        """Behind the instances; whoever makes the cloud sets them."""
        self.admin: Admin | None = None
        self._generation = 0
        self._stores: dict[tuple[str, str], dict[str, Any]] = {}
        self._moto = moto_app.application()
        self._prepare = moto_app.prepare
        self._rights = rights.enforce
        self._servers: list[Any] = []
        self._threads: list[threading.Thread] = []
        self._closers: list[Callable[[], None]] = []

    # ---- state -------------------------------------------------------------------------------

    def store(self, account: str, region: str, name: str, factory: Callable[[], T]) -> T:
        """State of one part of the overlay, made by *factory* at its first use."""
        with self.lock:
            table = self._stores.setdefault((account, region), {})
            if name not in table:
                table[name] = factory()
            found: T = table[name]
            return found

    def backend(self, service: str, account: str, region: str) -> Any:
        """moto's own object that holds a service's state."""
        self._prepare(service)
        name = "aws" if service in GLOBAL_SERVICES else region
        return _backends(service)[account][name]

    def sites(self) -> list[tuple[str, str]]:
        """Accounts and regions in which something was done."""
        with self.lock:
            return [site for site in self._stores if site[1] != "aws"]

    def forget(self, account: str) -> None:
        """Drop everything of an account."""
        from hubdeploy.sandbox.cloud import moto_app

        with self.lock:
            for site in [s for s in self._stores if s[0] == account]:
                for part in self._stores.pop(site).values():
                    close = getattr(part, "close", None)
                    if close is not None:
                        close()
            moto_app.forget(account)
        self.keys.forget(account)

    def touch(self) -> None:
        """Something may have changed that a machine or a group has to follow."""
        with self.changed:
            self._generation += 1
            self.changed.notify_all()

    def wait_for_change(self, *, since: int, timeout: float) -> int:
        """Block until something changed after *since*; returns the present count of changes."""
        with self.changed:
            if self._generation == since:
                self.changed.wait(timeout)
            return self._generation

    # ---- credentials -------------------------------------------------------------------------

    def operator(
        self, account: str, *, policies: Iterable[dict[str, Any]] | None = None
    ) -> Credentials:
        """Keys of an operator, restricted to *policies* if given."""
        if policies is None:
            return operator(account)
        return self.keys.issue(
            Principal(account=account, policies=tuple(policies), user="restricted")
        )

    def role_credentials(self, account: str, role: str, *, session: str) -> Credentials:
        """What the metadata server hands to a machine whose profile holds *role*."""
        return self.keys.issue(Principal(account=account, role=role, session=session))

    # ---- calls -------------------------------------------------------------------------------

    def invoke(
        self,
        service: str,
        operation: str,
        params: dict[str, Any] | None = None,
        *,
        region: str,
        credentials: Credentials | None = None,
        principal: Principal | None = None,
    ) -> dict[str, Any]:
        """A call from inside the process, through every layer; raises ``AwsFault``."""
        from hubdeploy.sandbox.cloud import wire

        if principal is None:
            if credentials is None:
                raise TypeError("invoke() needs credentials or a principal")
            principal = self.keys.principal(credentials.access_key, service=service)
        model, environ = wire.make_environ(
            service, operation, params or {}, region=region, access_key="internal"
        )
        call = Call(
            service=service,
            operation=operation,
            params=params or {},
            region=region,
            principal=principal,
            model=model,
            environ=environ,
        )
        answer = self._answer(call)
        parsed = wire.result_of(model, answer)
        if answer[0] >= 300:
            error = parsed.get("Error", {})
            raise AwsFault(error.get("Code", "Unknown"), error.get("Message", ""), status=answer[0])
        return parsed

    def forward(self, call: Call, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Let moto answer *call*, with other parameters if given; raises ``AwsFault``."""
        from hubdeploy.sandbox.cloud import wire

        environ = call.environ
        if params is not None:
            _, environ = wire.make_environ(
                call.service, call.operation, params, region=call.region, access_key="internal"
            )
            environ["HTTP_X_MOTO_ACCOUNT_ID"] = call.account
        with self.lock:
            answer = wire.run_app(self._moto, dict(environ))
        parsed = wire.result_of(call.model, answer)
        if answer[0] >= 300:
            error = parsed.get("Error", {})
            raise AwsFault(error.get("Code", "Unknown"), error.get("Message", ""), status=answer[0])
        return parsed

    def app(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """The WSGI application."""
        from hubdeploy.sandbox.cloud import admin, wire

        wire.buffer_body(environ)
        if environ["PATH_INFO"].startswith("/_sandbox/"):
            status, headers, body = admin.answer(self, environ)
        else:
            try:
                status, headers, body = self._serve(environ)
            except Killed:
                # without a word: the client sees a network error
                environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
                raise ConnectionAbortedError from None
        start_response(f"{status} {'OK' if status < 300 else 'Error'}", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _serve(self, environ: dict[str, Any]) -> Any:
        from hubdeploy.sandbox.cloud import wire

        signed = wire.signed_for(environ)
        if signed is None:
            text = "The request is not signed; the embedded AWS knows no anonymous callers."
            fault = AwsFault("AccessDenied", text)
            return wire.fault_answer(fault, service="s3", protocol="rest-xml")
        key, region, service = signed
        try:
            principal = self.keys.principal(key, service=service)
            model, params = wire.parse_request(environ, service=service)
        except AwsFault as fault:
            return wire.fault_answer(fault, service=service, protocol=wire.protocol_of(service))
        call = Call(
            service=service,
            operation=model.name,
            params=params,
            region=region,
            principal=principal,
            model=model,
            environ=environ,
        )
        return self._answer(call)

    def _answer(self, call: Call) -> Any:
        from moto.core.exceptions import ServiceException

        from hubdeploy.sandbox.cloud import wire

        pause = self.faults.latency(call.service, call.operation)
        if pause:
            time.sleep(pause)
        cut = False
        try:
            if not call.principal.service:
                cut = self.faults.strike(call.service, call.operation)
            if call.principal.restricted:
                self._rights(self, call)
            answer = self._perform(call)
        except AwsFault as fault:
            call.error = fault.code
            protocol = wire.protocol_of(call.service)
            answer = wire.fault_answer(fault, service=call.service, protocol=protocol)
        except ServiceException as refusal:
            # moto's own refusal, out of its backend by way of one of our handlers
            call.error = str(refusal.code)
            moved = AwsFault(call.error, str(refusal.message))
            protocol = wire.protocol_of(call.service)
            answer = wire.fault_answer(moved, service=call.service, protocol=protocol)
        except NotImplementedError:
            log.error("the embedded AWS lacks %s", call.name)
            call.error = "NotImplemented"
            lacking = AwsFault(call.error, f"the embedded AWS lacks {call.name}", status=501)
            protocol = wire.protocol_of(call.service)
            answer = wire.fault_answer(lacking, service=call.service, protocol=protocol)
        except Exception:
            log.exception("%s broke the embedded AWS", call.name)
            call.error = "InternalFailure"
            broken = AwsFault("InternalFailure", f"the embedded AWS broke at {call.name}")
            protocol = wire.protocol_of(call.service)
            answer = wire.fault_answer(broken, service=call.service, protocol=protocol)
        finally:
            self._record(call)
        if cut:
            raise Killed
        return answer

    def _perform(self, call: Call) -> Any:
        from hubdeploy.sandbox.cloud import wire

        self._prepare(call.service)
        call.environ["HTTP_X_MOTO_ACCOUNT_ID"] = call.account
        content_type = call.environ.get("CONTENT_TYPE")
        with self.lock:
            self._stores.setdefault((call.account, call.region), {})
            if self.settings.strict:
                for check in self.hooks.checks.get(call.key, ()):
                    check(self, call)
            for take in self.hooks.takes.get(call.key, ()):
                result = take(self, call)
                if result is not None:
                    return wire.answer_of(call.model, result, content_type=content_type)
            answer = wire.run_app(self._moto, call.environ)
            if answer[0] >= 500:
                raise NotImplementedError(call.name)
            if answer[0] >= 300:
                parsed = wire.result_of(call.model, answer)
                call.error = parsed.get("Error", {}).get("Code", str(answer[0]))
                return answer
            amends = self.hooks.amends.get(call.key, ())
            if amends:
                result = wire.result_of(call.model, answer)
                result.pop("ResponseMetadata", None)
                for amend in amends:
                    amend(self, call, result)
                answer = wire.answer_of(call.model, result, content_type=content_type)
        return answer

    def _record(self, call: Call) -> None:
        who = call.principal
        self.calls.add(
            Record(
                service=call.service,
                operation=call.operation,
                params=call.params,
                region=call.region,
                account=call.account,
                role=f"aws:{who.service}" if who.service else who.role,
                error=call.error,
            )
        )

    # ---- listening ---------------------------------------------------------------------------

    def listen(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Serve on an address of this machine too; returns the endpoint URL.

        Only loopback and private addresses: the rehearsal is nobody else's business.
        """
        from moto.moto_server.werkzeug_app import MotoRequestHandler
        from werkzeug.serving import make_server

        if not ipaddress.ip_address(host).is_private:
            raise SandboxError(f"The sandbox does not listen on the public address {host}.")

        cloud = self

        class Handler(MotoRequestHandler):  # type: ignore[misc]
            """Silent, keeps connections open, sends at once."""

            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def date_time_string(self, timestamp: float | None = None) -> str:
                now = time.time() + cloud.settings.clock
                return formatdate(now if timestamp is None else timestamp, usegmt=True)

            def log(self, *_args: Any) -> None:
                """Calls are in the call log."""

        server = make_server(host, port, self.app, threaded=True, request_handler=Handler)
        server.daemon_threads = True
        thread = threading.Thread(
            target=server.serve_forever,
            kwargs={"poll_interval": 0.1},
            name=f"aws-{host}",
            daemon=True,
        )
        thread.start()
        self._servers.append(server)
        self._threads.append(thread)
        return f"http://{host}:{server.server_port}"

    def on_close(self, function: Callable[[], None]) -> None:
        self._closers.append(function)

    def close(self) -> None:
        for function in reversed(self._closers):
            function()
        self._closers.clear()
        for server in self._servers:
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join(timeout=5)
        self._servers.clear()
