"""Checks of the configuration alone: what is valid, but surely not meant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from hubdeploy.config.limits import show_size
from hubdeploy.doctor.check import Check, Stage
from hubdeploy.pipeline.step import Finding

SECRETS = {
    "github": "hub/oauth-client-secret",
    "google": "hub/oauth-client-secret",
    "cilogon": "hub/oauth-client-secret",
    "oidc": "hub/oauth-client-secret",
    "shared-password": "hub/shared-password",
}
"""The secret that an authenticator cannot work without."""


class SomebodyMayLogIn(Check):
    """JupyterHub lets nobody in by default: somebody has to be named."""

    name = "config.login"
    title = "Somebody may log in"
    stage: ClassVar[Stage] = Stage.ALWAYS
    offline = True

    def find(self) -> Iterable[Finding]:
        hub = self.ctx.config.hub
        auth = hub.authenticator
        named = hub.admins or auth.allowed_users or auth.allow_all or auth.allowed_organizations
        if not named and auth.kind not in ("shared-password", "dummy"):
            yield self.error(
                "nobody may log in",
                hint="name somebody in hub.admins or hub.authenticator.allowed_users",
            )
        elif not hub.admins:
            yield self.warning("the hub has no admin", hint="name one in hub.admins")
        if auth.kind == "native" and auth.open_signup:
            yield self.warning(
                "anybody who finds the page can make an account",
                hint="set hub.authenticator.open_signup = false to approve sign-ups",
            )


class NoDummyInProduction(Check):
    """The dummy authenticator lets anybody in as anybody."""

    name = "config.dummy"
    title = "A real authenticator"
    stage: ClassVar[Stage] = Stage.ALWAYS
    offline = True

    def find(self) -> Iterable[Finding]:
        if self.ctx.config.hub.authenticator.kind == "dummy" and not self.ctx.sandbox:
            yield self.error(
                "authenticator 'dummy' lets anybody in under any name",
                hint="choose another hub.authenticator.kind; 'dummy' is for --sandbox",
            )


class LimitsAgree(Check):
    """Limits that cannot be reached, or that stop the fleet below what it must run."""

    name = "config.limits"
    title = "Limits agree with each other"
    stage: ClassVar[Stage] = Stage.ALWAYS
    offline = True

    def find(self) -> Iterable[Finding]:
        if self.ctx.offline:
            yield self.warning(
                "limits are not compared with the workers' size, which AWS tells",
                hint="see aws.credentials",
            )
        else:
            yield from self._with_sizes()

    def _with_sizes(self) -> Iterable[Finding]:
        config = self.ctx.config
        kind = config.workers.instance_types[0]
        sizes = self.ctx.instance_types(config.worker_types)
        size = sizes.get(kind)
        if size is None:
            return
        least, most = (
            n * size.memory for n in (config.workers.min_nodes, config.workers.max_nodes)
        )
        limit = config.limits.max_cluster_memory
        if least > limit:
            yield self.error(
                f"{config.workers.min_nodes} workers of type {kind} have {show_size(least)}, "
                f"over max_cluster_memory {show_size(limit)}",
                hint="lower workers.min_nodes or raise limits.max_cluster_memory",
            )
        elif most > limit:
            yield self.warning(
                f"max_cluster_memory {show_size(limit)} stops the fleet at "
                f"{limit // size.memory} of {config.workers.max_nodes} workers",
                hint=f"max_nodes workers of type {kind} have {show_size(most)}",
            )
        servers = [("hub", config.hub.memory, None)] + [
            (f"profile {p.name}", p.memory or config.hub.memory, p.instance_type)
            for p in config.hub.profiles
        ]
        for what, memory, only in servers:
            types = [only] if only else config.workers.instance_types
            if memory > 0.9 * max(
                (sizes[t].memory for t in types if t in sizes), default=memory * 2
            ):
                yield self.error(
                    f"a server of {show_size(memory)} ({what}) fits on no worker of type "
                    f"{' or '.join(types)}",
                    hint=f"lower the memory of the {what} or choose larger types of workers",
                )
        places = int(size.memory * 0.9 // config.hub.memory) * config.workers.max_nodes
        if places < config.limits.max_concurrent_users:
            yield self.warning(
                f"all workers together hold {places} users, below max_concurrent_users "
                f"{config.limits.max_concurrent_users}",
                hint="raise workers.max_nodes or lower limits.max_concurrent_users",
            )


class AuthenticatorComplete(Check):
    """The authenticator's secret is set (its other settings are checked with the file)."""

    name = "config.secrets"
    title = "The authenticator's secret is set"
    stage: ClassVar[Stage] = Stage.ALWAYS
    offline = True

    def find(self) -> Iterable[Finding]:
        from hubdeploy.operate import secrets

        secret = SECRETS.get(self.ctx.config.hub.authenticator.kind)
        needed = [secret] if secret else []
        if self.ctx.config.tls.kind == "own":
            needed += ["tls/certificate", "tls/key"]
        if not needed:
            return
        if self.ctx.offline:
            yield self.warning(
                f"whether it is set cannot be told: {', '.join(needed)}",
                hint="see aws.credentials",
            )
            return
        there = secrets.present(aws=self.ctx.aws, names=self.ctx.names)
        for name in needed:
            if name not in there:
                yield self.error(f"secret {name} is not set", hint=f"hubdeploy secret set {name}")


CHECKS: tuple[type[Check], ...] = (
    SomebodyMayLogIn,
    NoDummyInProduction,
    LimitsAgree,
    AuthenticatorComplete,
)
