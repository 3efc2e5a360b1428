"""``[access]``, ``[tls]``, ``[waits]``, ``[images]``: how the operator runs the deployment."""

from __future__ import annotations

from typing import Literal

from hubdeploy.config.fields import Change, Section, Span, setting
from hubdeploy.config.kinds import Ami, Cidr, Email, Filled


class Access(Section):
    """``[access]``: who reaches what."""

    web_cidrs: list[Cidr] = setting(
        default_factory=lambda: ["0.0.0.0/0"],
        describe="Who may open the hub's web page.",
        change=Change.LIVE,
    )
    operator_cidrs: list[Cidr] = setting(
        default_factory=list,
        describe="Who may reach SSH; empty keeps it closed. No address is added unasked.",
        change=Change.LIVE,
    )
    channel: Literal["auto", "ssm", "ssh"] = setting(
        "auto", describe="How hubdeploy talks to machines.", change=Change.LIVE
    )
    ssh_key: Filled | None = setting(
        None,
        describe="Public key (path or text) for SSH; made and kept locally if missing.",
        change=Change.INSTANCE,
    )


class Tls(Section):
    """``[tls]``: the hub's certificate."""

    kind: Literal["letsencrypt", "own", "self-signed"] = setting(
        "letsencrypt",
        describe="'letsencrypt', 'own' (stored by `hubdeploy secret set tls/certificate` and "
        "`tls/key`) or 'self-signed'. Without a domain it is always self-signed.",
        change=Change.CONVERGE,
    )
    email: Email | None = setting(
        None,
        describe="Contact for Let's Encrypt's expiry notices; needed with a domain.",
        change=Change.CONVERGE,
    )
    challenge: Literal["dns", "http"] = setting(
        "dns", describe="How Let's Encrypt checks the domain.", change=Change.CONVERGE
    )
    staging: bool = setting(
        False,
        describe="Use the CA's staging service (no rate limit, not trusted by browsers).",
        change=Change.CONVERGE,
    )


class Waits(Section):
    """``[waits]``: deadlines; every wait says what it waits for and ends at its deadline."""

    aws: Span = setting(
        600, describe="An AWS resource (NAT gateway, EFS …).", change=Change.LIVE, ge=1
    )
    settle: Span = setting(
        120,
        describe="All of AWS knows what was just made (a new role takes the longest).",
        change=Change.LIVE,
        ge=1,
    )
    chef_server: Span = setting(
        1500, describe="The Chef server is ready.", change=Change.LIVE, ge=1
    )
    workstation: Span = setting(
        900, describe="Cookbooks and roles published.", change=Change.LIVE, ge=1
    )
    leader: Span = setting(1500, describe="The leader has converged.", change=Change.LIVE, ge=1)
    hub: Span = setting(600, describe="The hub answers.", change=Change.LIVE, ge=1)
    delete: Span = setting(900, describe="What `down` deletes is gone.", change=Change.LIVE, ge=1)

    @property
    def together(self) -> int:
        """Seconds of one wait of each kind, one after the other."""
        return sum(self.model_dump().values())


class Images(Section):
    """``[images]``: machine images; by default the newest of the distribution's."""

    debian: Ami | None = setting(
        None,
        describe="AMI of workstation, leader and workers (Debian 12). Workers are replaced as they "
        "become empty.",
        change=Change.INSTANCE,
    )
    chef_server: Ami | None = setting(
        None,
        describe="AMI of the Chef server (Ubuntu 22.04 for cinc and chef).",
        change=Change.INSTANCE,
    )
