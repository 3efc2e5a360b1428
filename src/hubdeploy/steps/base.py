"""What all steps share: tags, calls that bear AWS's eventual consistency, changes in short.

AWS answers for some seconds that a thing just made does not exist (aws/aws-parallelcluster#7265),
or that it is not ready to be changed, so calls that name such a thing go through
:meth:`Part.settle`, which tries again on exactly the codes below; calls that remove go through
:meth:`Part.remove`, for which a missing thing is success.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from hubdeploy.aws.inventory import tags_of
from hubdeploy.aws.waiting import retry_codes, wait_until
from hubdeploy.config.model import Config
from hubdeploy.config.names import TAG_DEPLOYMENT, TAG_RESOURCE, Names
from hubdeploy.errors import AwsError
from hubdeploy.pipeline.change import Action, Change, Changes, FieldChange, differences
from hubdeploy.pipeline.step import Observed, Outputs, Step
from hubdeploy.steps import wording

T = TypeVar("T")

MISSING = frozenset(
    {
        "InvalidVpcID.NotFound",
        "InvalidVpcId.NotFound",
        "InvalidSubnetID.NotFound",
        "InvalidSubnetId.NotFound",
        "InvalidInternetGatewayID.NotFound",
        "InvalidGatewayID.NotFound",
        "NatGatewayNotFound",
        "InvalidNatGatewayID.NotFound",
        "InvalidRouteTableID.NotFound",
        "InvalidRouteTableId.NotFound",
        "InvalidAssociationID.NotFound",
        "InvalidRoute.NotFound",
        "InvalidVpcEndpointId.NotFound",
        "InvalidGroup.NotFound",
        "InvalidSecurityGroupID.NotFound",
        "InvalidSecurityGroupRuleId.NotFound",
        "InvalidPermission.NotFound",
        "InvalidAllocationID.NotFound",
        "InvalidAddressID.NotFound",
        "InvalidVolume.NotFound",
        "InvalidInstanceID.NotFound",
        "InvalidLaunchTemplateId.NotFound",
        "InvalidLaunchTemplateId.VersionNotFound",
        "InvalidLaunchTemplateName.NotFoundException",
        "InvalidKeyPair.NotFound",
        "InvalidNetworkInterfaceID.NotFound",
        "InvalidSnapshot.NotFound",
        "NoSuchBucket",
        "NoSuchKey",
        "NoSuchEntity",
        # EFS calls what EC2 made by names of its own
        "SubnetNotFound",
        "SecurityGroupNotFound",
        "FileSystemNotFound",
        "MountTargetNotFound",
        "AccessPointNotFound",
        "NamespaceNotFound",
        "ServiceNotFound",
        "InstanceNotFound",
        "ParameterNotFound",
        "RepositoryNotFoundException",
        "ResourceNotFoundException",
        "ResourceNotFound",
        "NoSuchHostedZone",
    }
)
"""The codes of 'there is no such thing', service by service."""

NOT_NOW = frozenset(
    {
        # S3: another change of the bucket is not done yet, or one of its name was just deleted
        "OperationAborted",
        # the same of IAM's roles, of log groups, of auto scaling groups
        "ConcurrentModification",
        "OperationAbortedException",
        "ResourceContention",
        # EFS: it is changing its throughput
        "IncorrectFileSystemLifeCycleState",
    }
)
"""The codes of 'it is there, but it is being changed'."""

IN_USE = frozenset(
    {
        "DependencyViolation",
        "InvalidGroup.InUse",
        "InvalidIPAddress.InUse",
        "VolumeInUse",
        "ResourceInUse",
        "ResourceInUseFault",
        "ScalingActivityInProgress",
        "DeleteConflict",
        "FileSystemInUse",
        "IncorrectFileSystemLifeCycleState",
        "IncorrectMountTargetState",
        "OperationAborted",
        "BucketNotEmpty",
    }
)
"""The codes of 'something still hangs on it', which pass when that is gone."""


def unknown_yet(error: AwsError) -> bool:
    """EC2 or Auto Scaling does not know a just-made instance profile yet, or Auto Scaling a subnet
    or a template.

    They have no codes of their own for that (hashicorp/terraform#15341), so the text decides.
    """
    text = error.message.lower()
    if error.code == "ValidationError" and "does not exist" in text:
        return True
    return error.code in ("InvalidParameterValue", "ValidationError") and "instance profile" in text


class Part(Step[Observed]):
    """A :class:`Step` with the shorthand that steps are written in."""

    @property
    def config(self) -> Config:
        return self.ctx.config

    @property
    def names(self) -> Names:
        return self.ctx.names

    @property
    def outputs(self) -> Outputs:
        return self.ctx.outputs

    # ---- tags --------------------------------------------------------------------------------

    def tags(self, resource: str, **extra: str) -> dict[str, str]:
        """Tags of a resource: the operator's own, ours, and a ``Name`` for AWS's console."""
        return {
            **self.config.tags,
            "Name": f"{self.names.prefix}-{resource}",
            TAG_DEPLOYMENT: self.names.deployment,
            TAG_RESOURCE: resource,
            **extra,
        }

    def tag_spec(self, kind: str, tags: Mapping[str, str]) -> dict[str, Any]:
        """``TagSpecifications`` entry of EC2's create calls."""
        return {"ResourceType": kind, "Tags": pairs(tags)}

    def retag_ec2(self, item: Mapping[str, Any], resource_id: str, tags: dict[str, str]) -> Changes:
        """Bring an EC2 resource's tags in line; what others have tagged besides stays."""
        yield from self.retag(
            tags_of(dict(item)),
            tags,
            lambda new: self.settle("ec2", "create_tags", Resources=[resource_id], Tags=pairs(new)),
        )

    def retag(
        self, old: Mapping[str, str], tags: dict[str, str], apply: Callable[[dict[str, str]], Any]
    ) -> Changes:
        """The same for any service; ``apply`` gets the tags to set."""
        fields = differences(dict(old), tags)
        if fields:
            resource = tags[TAG_RESOURCE]
            wanted = {field.name: tags[field.name] for field in fields}
            shown = tuple(
                FieldChange(name=f.name, old=wording.mark(f.old), new=wording.mark(f.new))
                for f in fields
            )
            yield self.update(resource, f"tags of {resource}", lambda: apply(wanted), shown)

    # ---- calls -------------------------------------------------------------------------------

    def call(self, service: str, operation: str, **params: Any) -> dict[str, Any]:
        return self.ctx.aws.call(service, operation, **params)

    def settle(self, service: str, operation: str, **params: Any) -> dict[str, Any]:
        """A call that names something just made or changed: tried again for ``[waits] settle``
        seconds while AWS does not know it yet, or is not done with it.
        """
        return self._settled(service, operation, params)

    def settle_profile(self, service: str, operation: str, **params: Any) -> dict[str, Any]:
        """The same for a call that names an instance profile too, which only a text tells of."""
        return self._settled(service, operation, params, when=unknown_yet)

    def _settled(
        self,
        service: str,
        operation: str,
        params: Mapping[str, Any],
        when: Callable[[AwsError], bool] | None = None,
    ) -> dict[str, Any]:
        return retry_codes(
            lambda: self.call(service, operation, **params),
            what=f"AWS to know everything that {operation} names",
            codes=MISSING | NOT_NOW,
            when=when,
            deadline=self.config.waits.settle,
            say=self.ctx.say,
            cancelled=self.ctx.cancelled,
        )

    def remove(
        self,
        service: str,
        operation: str,
        *,
        blocked_by: Callable[[], str] | None = None,
        wait_on: Collection[str] = IN_USE,
        **params: Any,
    ) -> None:
        """A call that removes: nothing to remove is fine, 'in use' is tried again to the deadline.

        ``blocked_by`` finds out what the thing still hangs on, for the error's text.
        """
        try:
            retry_codes(
                lambda: self.call(service, operation, **params),
                what=f"what still hinders {operation}",
                codes=wait_on,
                deadline=self.config.waits.delete,
                every=2.0,
                say=self.ctx.say,
                cancelled=self.ctx.cancelled,
            )
        except AwsError as error:
            if error.code in MISSING:
                return
            if error.code in wait_on and blocked_by is not None:
                found = blocked_by()
                if found:
                    raise AwsError(
                        f"{error.message}; blocked by {found}",
                        hint="remove that by hand, then run `hubdeploy down` again",
                        code=error.code,
                        operation=error.operation,
                    ) from error
            raise

    def until(
        self,
        probe: Callable[[], T | None],
        *,
        what: str,
        deadline: float | None = None,
        last_seen: Callable[[], str] = lambda: "",
    ) -> T:
        """Wait for an AWS resource, ``[waits] aws`` seconds unless told otherwise."""
        return wait_until(
            probe,
            what=what,
            deadline=self.config.waits.aws if deadline is None else deadline,
            say=self.ctx.say,
            last_seen=last_seen,
            cancelled=self.ctx.cancelled,
        )

    # ---- changes -----------------------------------------------------------------------------

    def create(
        self,
        resource: str,
        title: str,
        apply: Callable[[], Any],
        fields: Mapping[str, Any] | None = None,
        *,
        reason: str = "",
    ) -> Change:
        return Change(
            action=Action.CREATE,
            resource=resource,
            title=title,
            apply=apply,
            fields=differences({}, dict(fields or {})),
            reason=reason,
        )

    def update(
        self,
        resource: str,
        title: str,
        apply: Callable[[], Any],
        fields: tuple[FieldChange, ...] = (),
        *,
        reason: str = "",
        disrupts: str = "",
    ) -> Change:
        return Change(
            action=Action.UPDATE,
            resource=resource,
            title=title,
            apply=apply,
            fields=fields,
            reason=reason,
            disrupts=disrupts,
        )

    def waiting(self, resource: str, what: str, apply: Callable[[], Any]) -> Change:
        """A wait: carried out like a change, counted as none."""
        return Change(action=Action.WAIT, resource=resource, title=f"wait for {what}", apply=apply)

    def delete(self, resource: str, title: str, apply: Callable[[], Any]) -> Change:
        return Change(action=Action.DELETE, resource=resource, title=title, apply=apply)


def pairs(
    tags: Mapping[str, str], *, key: str = "Key", value: str = "Value"
) -> list[dict[str, str]]:
    """Tags as AWS's list of pairs."""
    return [{key: name, value: text} for name, text in tags.items()]


def token(*parts: str) -> str:
    """A client token (32 hexadecimal digits) that is the same for the same parts.

    A call that is repeated after its process died carries the same token, and AWS then answers with
    what the first made instead of making a second.
    """
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def partition(region: str) -> str:
    """AWS's partition, the second part of every ARN."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"
