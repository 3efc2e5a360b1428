"""Checks of who calls and where: credentials, clock, region, permissions."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from typing import ClassVar

from hubdeploy.aws.hints import DENIED
from hubdeploy.doctor.check import Check, Stage
from hubdeploy.errors import AwsError
from hubdeploy.pipeline.step import Finding

SKEW_ERROR = 240
"""Seconds; AWS refuses signatures that are five minutes off."""
SKEW_WARNING = 30


class Credentials(Check):
    """There are valid credentials, and they are not the account's root."""

    name = "aws.credentials"
    title = "Credentials are valid"
    stage: ClassVar[Stage] = Stage.ALWAYS
    offline = True

    def find(self) -> Iterable[Finding]:
        caller = self.ctx.aws.call("sts", "get_caller_identity")
        if caller["Arn"].endswith(":root"):
            yield self.warning(
                "these are the account's root credentials",
                hint="use a role or user with the rights that `hubdeploy policy` prints",
            )


class Clock(Check):
    """This machine's clock agrees with AWS's."""

    name = "aws.clock"
    title = "The clock is right"
    stage: ClassVar[Stage] = Stage.ALWAYS

    def find(self) -> Iterable[Finding]:
        answer = self.ctx.aws.call("sts", "get_caller_identity")
        date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        if not date:
            return
        off = abs(time.time() - parsedate_to_datetime(date).timestamp())
        if off > SKEW_ERROR:
            yield self.error(f"this clock is {off:.0f} s off AWS's", hint="synchronise it (NTP)")
        elif off > SKEW_WARNING:
            yield self.warning(f"this clock is {off:.0f} s off AWS's", hint="synchronise it (NTP)")


class Region(Check):
    """The region exists and the account has enabled it.

    Asked in the partition's first region: one that is not enabled takes no credentials at all, so
    that by itself it only says that these are wrong.
    """

    name = "aws.region"
    title = "The region is enabled"
    stage: ClassVar[Stage] = Stage.ALWAYS
    offline = True

    FIRST: ClassVar[dict[str, str]] = {
        "aws": "us-east-1",
        "aws-cn": "cn-north-1",
        "aws-us-gov": "us-gov-west-1",
    }

    def find(self) -> Iterable[Finding]:
        from hubdeploy.aws.errors import translated
        from hubdeploy.steps.base import partition

        region = self.ctx.config.region
        first = self.FIRST.get(partition(region), "us-east-1")
        try:
            with translated("ec2", "describe_regions"):
                client = self.ctx.aws.client("ec2", region=first)
                known = client.describe_regions(AllRegions=True)["Regions"]
        except AwsError:
            if not self.ctx.offline:
                raise
            yield self.warning(
                f"whether {region} is there and enabled cannot be told", hint="see aws.credentials"
            )
            return
        states = {item["RegionName"]: item.get("OptInStatus", "") for item in known}
        if region not in states:
            near = ", ".join(sorted(n for n in states if n.startswith(region.partition("-")[0])))
            yield self.error(
                f"there is no region {region}", hint=f"one of: {near}" if near else "correct region"
            )
        elif states[region] == "not-opted-in":
            yield self.error(
                f"region {region} is not enabled in this account",
                hint=f"aws account enable-region --region-name {region}, or another region",
            )


class Permissions(Check):
    """The caller may do what the pipeline needs: the list that also makes `hubdeploy policy`."""

    name = "aws.permissions"
    title = "The caller may do what is needed"
    stage: ClassVar[Stage] = Stage.ALWAYS
    deadline = 45.0

    def find(self) -> Iterable[Finding]:
        from hubdeploy.operate import policy
        from hubdeploy.operate.policy import simulation

        arn = self.ctx.aws.call("sts", "get_caller_identity")["Arn"]
        if arn.endswith(":root"):
            return  # may do everything; aws.credentials says what is wrong with that
        try:
            who = simulation.principal(arn, aws=self.ctx.aws)
            # the right to delete the users' files is the operator's to have or not
            grants = policy.grants(
                self.ctx.names, boundary=self.ctx.config.permissions_boundary, files=False
            )
            with ThreadPoolExecutor(6) as pool:
                asked = pool.map(
                    lambda part: simulation.refused(part, principal=who, aws=self.ctx.aws),
                    simulation.together(grants),
                )
                refused = sorted({action for actions in asked for action in actions})
        except AwsError as error:
            if error.code not in DENIED | {"NoSuchEntity", "InvalidInput"}:
                raise
            yield self.warning(
                f"what the caller may do cannot be told: {error.message}",
                hint="it may have to be granted iam:SimulatePrincipalPolicy and iam:GetRole: see "
                "`hubdeploy policy`; else `up` stops at what is missing",
            )
            return
        services: dict[str, list[str]] = {}
        for action in refused:
            services.setdefault(action.partition(":")[0], []).append(action)
        for service, actions in services.items():
            yield self.error(
                f"the caller lacks {', '.join(actions)}",
                hint="grant what `hubdeploy policy` prints; a denial may come from the "
                "organisation or a permissions boundary too",
                subject=service,
            )


CHECKS: tuple[type[Check], ...] = (Credentials, Clock, Region, Permissions)
