"""The operator's own tags on what shows no tags when it is read.

EC2, S3, IAM, EFS and Auto Scaling tell a thing's tags along with it, so their steps keep them in
line. For the rest one of them, the image repository, is asked; it is tagged last, so that a run
that was killed in between is made good by the next.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from hubdeploy.aws.inventory import tags_of
from hubdeploy.config.names import Role
from hubdeploy.errors import AwsError
from hubdeploy.pipeline.change import Changes, FieldChange
from hubdeploy.steps import discovery, logs, registry
from hubdeploy.steps.base import Part, pairs, partition
from hubdeploy.steps.parameters import DOCTOR_TOKEN


class Tags(Part[dict[str, str] | None]):
    """The repository's tags; None while there is none, whose creation brings its tags along."""

    name = "tags"
    title = "Tags"
    needs = ("registry", "logs", "discovery", "parameters", "release", "alarms", "iam")

    def _arn(self, service: str, rest: str) -> str:
        region = self.config.region
        return f"arn:{partition(region)}:{service}:{region}:{self.names.account}:{rest}"

    @property
    def _repository(self) -> str:
        return self._arn("ecr", f"repository/{self.names.repository}")

    def observe(self) -> dict[str, str] | None:
        try:
            found = self.call("ecr", "list_tags_for_resource", resourceArn=self._repository)
        except AwsError as error:
            if error.code == "RepositoryNotFoundException":
                return None
            raise
        return tags_of(found)

    def changes(self, observed: dict[str, str] | None) -> Changes:
        own = self.config.tags
        if observed is None or all(observed.get(key) == value for key, value in own.items()):
            return
        yield self.update(
            "tags",
            "tags of parameters, log groups, names, alarms and images",
            self._tag_all,
            tuple(
                FieldChange(name=key, old=observed.get(key, ""), new=value)
                for key, value in own.items()
                if observed.get(key) != value
            ),
        )

    def _tag_all(self) -> None:
        for apply in (
            self._parameters,
            self._log_groups,
            self._names,
            self._alarms,
            self._profiles,
            partial(self._tag, "ecr", self._repository, registry.RESOURCE, arn="resourceArn"),
        ):
            apply()

    def _tag(
        self, service: str, target: str, resource: str, *, arn: str = "ResourceARN", key: str = ""
    ) -> None:
        form: Any = pairs(self.tags(resource))
        if service == "logs":
            form = self.tags(resource)
        named = key or ("tags" if service in ("ecr", "logs") else "Tags")
        self.settle(service, "tag_resource", **{arn: target, named: form})

    def _parameters(self) -> None:
        names = self.names.parameters
        for name, resource in (
            (names.limits, "parameters.limits"),
            (names.hub_secret(DOCTOR_TOKEN), "parameters.doctor"),
            (names.release, "release"),
        ):
            self.settle(
                "ssm",
                "add_tags_to_resource",
                ResourceType="Parameter",
                ResourceId=name,
                Tags=pairs(self.tags(resource)),
            )

    def _log_groups(self) -> None:
        for unit in logs.UNITS:
            target = self._arn("logs", f"log-group:{self.names.log_group(unit)}")
            self._tag("logs", target, f"logs.{unit}", arn="resourceArn")

    def _names(self) -> None:
        namespace = self._arn("servicediscovery", f"namespace/{self.outputs['namespace']}")
        self._tag("servicediscovery", namespace, discovery.RESOURCE)
        for service, service_id in self.outputs["services"].items():
            target = self._arn("servicediscovery", f"service/{service_id}")
            self._tag("servicediscovery", target, f"{discovery.RESOURCE}.{service}")

    def _alarms(self) -> None:
        for name, resource in self.outputs["alarms"].items():
            self._tag("cloudwatch", self._arn("cloudwatch", f"alarm:{name}"), resource)

    def _profiles(self) -> None:
        for role in Role:
            self.settle(
                "iam",
                "tag_instance_profile",
                InstanceProfileName=self.names.machine_role(role),
                Tags=pairs(self.tags(f"iam.{role}")),
            )
