"""Checks of the account: identity, clock, quotas, types, images, names, address space."""

from __future__ import annotations

import time
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Network
from typing import ClassVar

from hubdeploy.aws.inventory import tags_of
from hubdeploy.config.names import TAG_DEPLOYMENT
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


class InstanceTypes(Check):
    """Every instance type is offered in the zones."""

    name = "aws.types"
    title = "Instance types are offered"
    stage: ClassVar[Stage] = Stage.BEFORE

    def find(self) -> Iterable[Finding]:
        config = self.ctx.config
        wanted = {
            config.leader.instance_type,
            config.chef.instance_type,
            config.chef.workstation_type,
            *config.worker_types,
        }
        offers = self.ctx.aws.pages(
            "ec2",
            "describe_instance_type_offerings",
            "InstanceTypeOfferings",
            LocationType="availability-zone",
            Filters=[{"Name": "instance-type", "Values": sorted(wanted)}],
        )
        zones: dict[str, set[str]] = {kind: set() for kind in wanted}
        for offer in offers:
            zones[offer["InstanceType"]].add(offer["Location"])
        named = config.network.zones if isinstance(config.network.zones, list) else []
        needed = len(named) or config.network.zones
        for kind in sorted(wanted):
            there = zones[kind] & set(named) if named else zones[kind]
            if not zones[kind]:
                yield self.error(
                    f"{kind} is not offered in {config.region}",
                    hint="choose another type; see `aws ec2 describe-instance-type-offerings`",
                )
            elif isinstance(needed, int) and len(there) < needed:
                yield self.warning(
                    f"{kind} is offered in {len(there)} of {needed} zones",
                    hint="the group starts it in those zones only",
                )


class Quotas(Check):
    """The account's quotas leave room for the deployment at its largest."""

    name = "aws.quotas"
    title = "Quotas leave room"
    stage: ClassVar[Stage] = Stage.BEFORE

    VCPUS = "L-1216C47A"
    SPOT = "L-34B43A08"
    ADDRESSES = "L-0263D0A3"
    VPCS = "L-F678F1CE"

    def find(self) -> Iterable[Finding]:
        config = self.ctx.config
        needed = self._vcpus()
        spot = needed["workers"] * config.workers.spot_share // 100
        wanted = {
            ("ec2", self.VCPUS): (needed["fixed"] + needed["workers"] - spot, "vCPUs on demand"),
            ("ec2", self.ADDRESSES): (2 if config.network.egress == "nat" else 1, "Elastic IPs"),
            ("vpc", self.VPCS): (1, "VPCs"),
        }
        if spot:
            wanted["ec2", self.SPOT] = (spot, "spot vCPUs")
        used = self._used()
        for (service, code), (more, title) in wanted.items():
            try:
                answer = self.ctx.aws.call(
                    "service-quotas", "get_service_quota", ServiceCode=service, QuotaCode=code
                )
            except AwsError as error:
                if error.code != "NoSuchResourceException":
                    raise
                answer = self.ctx.aws.call(
                    "service-quotas",
                    "get_aws_default_service_quota",
                    ServiceCode=service,
                    QuotaCode=code,
                )
            quota = int(answer["Quota"]["Value"])
            taken = used.get(code, 0)
            if taken + more > quota:
                yield self.error(
                    f"{title}: {taken} of {quota} are used and {more} more are needed",
                    hint=f"ask for more: aws service-quotas request-service-quota-increase "
                    f"--service-code {service} --quota-code {code} --desired-value {taken + more}",
                )

    def _vcpus(self) -> dict[str, int]:
        config = self.ctx.config
        fixed = (
            config.leader.instance_type,
            config.chef.instance_type,
            config.chef.workstation_type,
        )
        sizes = self.ctx.instance_types([*fixed, *config.worker_types])
        worker = max(
            (sizes[kind].vcpus for kind in config.worker_types if kind in sizes),
            default=0,
        )
        return {
            "fixed": sum(sizes[kind].vcpus for kind in fixed if kind in sizes),
            "workers": worker * config.workers.max_nodes,
        }

    def _used(self) -> dict[str, int]:
        """What other things in the account take; our own deployment's counts as needed."""
        aws, mine = self.ctx.aws, self.ctx.names.deployment
        instances = [
            instance
            for r in aws.pages(
                "ec2",
                "describe_instances",
                "Reservations",
                Filters=[{"Name": "instance-state-name", "Values": ["pending", "running"]}],
            )
            for instance in r["Instances"]
            if tags_of(instance).get(TAG_DEPLOYMENT) != mine
        ]
        vcpus = sum(
            i.get("CpuOptions", {}).get("CoreCount", 1)
            * i.get("CpuOptions", {}).get("ThreadsPerCore", 2)
            for i in instances
        )
        addresses = aws.call("ec2", "describe_addresses")["Addresses"]
        vpcs = aws.pages("ec2", "describe_vpcs", "Vpcs")
        return {
            self.VCPUS: vcpus,
            self.ADDRESSES: sum(tags_of(a).get(TAG_DEPLOYMENT) != mine for a in addresses),
            self.VPCS: sum(tags_of(v).get(TAG_DEPLOYMENT) != mine for v in vpcs),
        }


class AddressSpace(Check):
    """The VPC's addresses overlap no other VPC's, so that they can be peered one day."""

    name = "aws.network"
    title = "The address space is free"
    stage: ClassVar[Stage] = Stage.BEFORE

    def find(self) -> Iterable[Finding]:
        mine = IPv4Network(self.ctx.config.network.cidr)
        for vpc in self.ctx.aws.pages("ec2", "describe_vpcs", "Vpcs"):
            if tags_of(vpc).get(TAG_DEPLOYMENT) == self.ctx.names.deployment:
                continue
            if mine.overlaps(IPv4Network(vpc["CidrBlock"])):
                yield self.warning(
                    f"{mine} overlaps {vpc['VpcId']} ({vpc['CidrBlock']}): they cannot be peered",
                    hint="choose another network.cidr if they have to be",
                )


class NameIsFree(Check):
    """Nothing that is not ours has our names."""

    name = "aws.name"
    title = "The deployment's name is free"
    stage: ClassVar[Stage] = Stage.BEFORE

    def find(self) -> Iterable[Finding]:
        names, aws = self.ctx.names, self.ctx.aws
        try:
            aws.call("s3", "head_bucket", Bucket=names.bucket)
        except AwsError as error:
            if error.code in ("403", "AccessDenied", "Forbidden"):
                yield self.error(
                    f"bucket {names.bucket} belongs to somebody else",
                    hint="choose another name for the deployment",
                )
            elif error.code not in ("404", "NoSuchBucket", "NotFound"):
                raise
        groups = aws.call(
            "autoscaling",
            "describe_auto_scaling_groups",
            AutoScalingGroupNames=[names.workers_group(t) for t in self.ctx.config.worker_types],
        )["AutoScalingGroups"]
        for group in groups:
            if tags_of(group).get(TAG_DEPLOYMENT) != names.deployment:
                yield self.error(
                    f"auto scaling group {group['AutoScalingGroupName']} is not this deployment's",
                    hint="choose another name for the deployment",
                )


CHECKS: tuple[type[Check], ...] = (
    Credentials,
    Clock,
    InstanceTypes,
    Quotas,
    AddressSpace,
    NameIsFree,
)
