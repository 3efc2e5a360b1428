"""Checks of what AWS has to give: instance types, machine images, quotas."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from hubdeploy.aws.inventory import tags_of
from hubdeploy.config.names import TAG_DEPLOYMENT
from hubdeploy.doctor.check import Check, Stage
from hubdeploy.doctor.families import FAMILIES, Demand, family, types, vcpus
from hubdeploy.errors import AwsError
from hubdeploy.pipeline.step import Finding


class InstanceTypes(Check):
    """Every instance type is offered in the zones."""

    name = "aws.types"
    title = "Instance types are offered"
    stage: ClassVar[Stage] = Stage.BEFORE

    def find(self) -> Iterable[Finding]:
        config = self.ctx.config
        wanted = {kind for kinds in types(config).values() for kind in kinds}
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


class Images(Check):
    """There is a machine image for every kind of machine, and it fits the machine's processor."""

    name = "aws.images"
    title = "Machine images are there"
    stage: ClassVar[Stage] = Stage.ALWAYS

    def find(self) -> Iterable[Finding]:
        from hubdeploy.steps import images
        from hubdeploy.steps.deployment import Deployment

        part = Deployment(self.ctx.planning())
        wanted = types(self.ctx.config)
        sizes = self.ctx.instance_types([kind for kinds in wanted.values() for kind in kinds])
        for role, kinds in wanted.items():
            try:
                ami = images.image(part, role)
            except AwsError as error:
                yield self.error(f"{role}: {error.message}", hint=error.hint, subject=role)
                continue
            found = images.described(part, ami)
            state = found.get("State", "missing")
            if state != "available":
                yield self.error(
                    f"{role}: image {ami} is {state} in {self.ctx.config.region}",
                    hint="leave [images] out for the newest, or name another AMI of this region",
                    subject=role,
                )
                continue
            for kind in kinds:
                able = sizes[kind].architectures if kind in sizes else ()
                if able and found.get("Architecture") not in able:
                    yield self.error(
                        f"{role}: {kind} is {' or '.join(able)}, image {ami} is "
                        f"{found.get('Architecture')}",
                        hint="choose a type or an image of the other's architecture",
                        subject=role,
                    )


class Quotas(Check):
    """The account's quotas leave room for the deployment at its largest."""

    name = "aws.quotas"
    title = "Quotas leave room"
    stage: ClassVar[Stage] = Stage.BEFORE

    ADDRESSES = "L-0263D0A3"
    VPCS = "L-F678F1CE"
    FILE_SYSTEMS = "L-848C634D"

    def find(self) -> Iterable[Finding]:
        used = self._used()
        for demand in self._demands():
            quota, taken = self._quota(demand.service, demand.code), used.get(demand.code, 0)
            if taken + demand.most <= quota:
                continue
            # what still works when small is no reason not to begin
            make = self.error if taken + demand.least > quota else self.warning
            yield make(
                f"{demand.title}: {taken} of {quota} are used and {demand.most} more are needed",
                hint="ask for more: aws service-quotas request-service-quota-increase "
                f"--service-code {demand.service} --quota-code {demand.code} "
                f"--desired-value {taken + demand.most}",
                subject=demand.code,
            )

    def _demands(self) -> Iterator[Demand]:
        config = self.ctx.config
        sizes = self.ctx.instance_types([k for kinds in types(config).values() for k in kinds])
        yield from vcpus(config, {kind: size.vcpus for kind, size in sizes.items()})
        others = [
            ("ec2", self.ADDRESSES, "Elastic IPs", 2 if config.network.egress == "nat" else 1),
            ("vpc", self.VPCS, "VPCs", 1),
        ]
        if config.storage.file_system is None:
            others.append(("elasticfilesystem", self.FILE_SYSTEMS, "EFS file systems", 1))
        for service, code, title, number in others:
            yield Demand(service=service, code=code, title=title, most=number, least=number)

    def _quota(self, service: str, code: str) -> int:
        """The account's own, or AWS's default where nobody ever asked for another."""
        for operation in ("get_service_quota", "get_aws_default_service_quota"):
            try:
                answer = self.ctx.aws.call(
                    "service-quotas", operation, ServiceCode=service, QuotaCode=code
                )
            except AwsError as error:
                if error.code != "NoSuchResourceException":
                    raise
            else:
                return int(answer["Quota"]["Value"])
        raise AwsError(f"AWS tells no quota {code} of {service}", code="NoSuchResourceException")

    def _used(self) -> dict[str, int]:
        """What others in the account take; our own deployment's counts as needed."""
        aws = self.ctx.aws
        reservations = aws.pages(
            "ec2",
            "describe_instances",
            "Reservations",
            Filters=[{"Name": "instance-state-name", "Values": ["pending", "running"]}],
        )
        used = dict.fromkeys((f.code(spot) for f in FAMILIES for spot in (False, True)), 0)
        for instance in (item for r in reservations for item in r["Instances"]):
            if self._foreign(instance):
                options = instance.get("CpuOptions", {})
                code = family(instance["InstanceType"]).code(
                    instance.get("InstanceLifecycle") == "spot"
                )
                used[code] += options.get("CoreCount", 1) * options.get("ThreadsPerCore", 2)
        addresses = aws.call("ec2", "describe_addresses")["Addresses"]
        return used | {
            self.ADDRESSES: sum(map(self._foreign, addresses)),
            self.VPCS: sum(map(self._foreign, aws.pages("ec2", "describe_vpcs", "Vpcs"))),
            self.FILE_SYSTEMS: sum(
                map(self._foreign, aws.pages("efs", "describe_file_systems", "FileSystems"))
            ),
        }

    def _foreign(self, item: dict[str, Any]) -> bool:
        return tags_of(item).get(TAG_DEPLOYMENT) != self.ctx.names.deployment


CHECKS: tuple[type[Check], ...] = (InstanceTypes, Images, Quotas)
