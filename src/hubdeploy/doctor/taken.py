"""Checks that what the deployment will call its own is not somebody else's."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network
from typing import Any, ClassVar

from hubdeploy.aws.inventory import tags_of
from hubdeploy.config.names import TAG_DEPLOYMENT, Role
from hubdeploy.doctor.check import Check, Stage
from hubdeploy.errors import AwsError
from hubdeploy.pipeline.step import Finding
from hubdeploy.steps.base import MISSING


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
    stage: ClassVar[Stage] = Stage.ALWAYS

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
        for what, tags in (
            *self._groups(),
            *self._roles(),
            *self._repository(),
            *self._log_groups(),
        ):
            if tags.get(TAG_DEPLOYMENT) != names.deployment:
                yield self.error(
                    f"{what} is not this deployment's",
                    hint="choose another name for the deployment, or remove it",
                )
        yield from self._parameters()

    def _groups(self) -> Iterable[tuple[str, dict[str, str]]]:
        names = self.ctx.names
        found = self.ctx.aws.pages(
            "autoscaling",
            "describe_auto_scaling_groups",
            "AutoScalingGroups",
            AutoScalingGroupNames=[names.workers_group(t) for t in self.ctx.config.worker_types],
        )
        for group in found:
            yield f"auto scaling group {group['AutoScalingGroupName']}", tags_of(group)

    def _roles(self) -> Iterable[tuple[str, dict[str, str]]]:
        for role in Role:
            name = self.ctx.names.machine_role(role)
            found = self._there("iam", "get_role", RoleName=name)
            if found:
                yield f"IAM role {name}", tags_of(found["Role"])
            profile = self._there("iam", "get_instance_profile", InstanceProfileName=name)
            if profile:
                yield f"instance profile {name}", tags_of(profile["InstanceProfile"])

    def _repository(self) -> Iterable[tuple[str, dict[str, str]]]:
        name = self.ctx.names.repository
        found = self._there("ecr", "describe_repositories", repositoryNames=[name])
        if found:
            arn = found["repositories"][0]["repositoryArn"]
            yield (
                f"ECR repository {name}",
                tags_of(self.ctx.aws.call("ecr", "list_tags_for_resource", resourceArn=arn)),
            )

    def _log_groups(self) -> Iterable[tuple[str, dict[str, str]]]:
        for item in self.ctx.aws.pages(
            "logs",
            "describe_log_groups",
            "logGroups",
            logGroupNamePrefix=self.ctx.names.log_group(""),
        ):
            arn = item["arn"].removesuffix(":*")
            found = self._there("logs", "list_tags_for_resource", resourceArn=arn)
            yield f"log group {item['logGroupName']}", tags_of(found or {})

    def _parameters(self) -> Iterable[Finding]:
        names = self.ctx.names.parameters
        for item in self.ctx.aws.pages(
            "ssm", "get_parameters_by_path", "Parameters", Path=names.root, Recursive=True
        ):
            if not names.is_ours(item["Name"]):
                yield self.warning(
                    f"parameter {item['Name']} is none of hubdeploy's: `down` deletes it",
                    hint="move it elsewhere, or choose another name for the deployment",
                )

    def _there(self, service: str, operation: str, **params: Any) -> dict[str, Any] | None:
        try:
            return self.ctx.aws.call(service, operation, **params)
        except AwsError as error:
            if error.code in MISSING:
                return None
            raise


CHECKS: tuple[type[Check], ...] = (AddressSpace, NameIsFree)
