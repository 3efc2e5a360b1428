"""What the fleet reads from AWS and does there, with the leader's own role.

The role needs exactly these actions (account-wide reads cannot be scoped to a resource by AWS;
the rest are held to this deployment's group, parameters and file system):

- ``autoscaling:DescribeAutoScalingGroups``, ``autoscaling:DescribeScalingActivities``
- ``autoscaling:SetDesiredCapacity``, ``autoscaling:UpdateAutoScalingGroup`` (MaxSize, only raised),
  ``autoscaling:SetInstanceProtection``, ``autoscaling:TerminateInstanceInAutoScalingGroup``
  on the workers' groups
- ``ec2:DescribeInstances``, ``ec2:DescribeInstanceTypes``, ``ec2:DescribeSpotInstanceRequests``,
  ``ec2:GetConsoleOutput`` (the last on instances with the deployment's tag)
- ``ssm:GetParameters`` on ``…/limits`` and ``…/phase/worker/*``, ``ssm:PutParameter`` on
  ``…/limits`` (the page's 'change' button), ``ssm:DeleteParameters`` on ``…/phase/worker/*`` and
  ``…/ssh/host-key/*`` (of ended workers)
- ``elasticfilesystem:DescribeFileSystems`` on the deployment's file system
- ``cloudwatch:PutMetricData`` into the namespace ``hubdeploy``
"""

from __future__ import annotations

import base64
import json
import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hubdeploy.config.names import (
    TAG_DEPLOYMENT,
    TAG_PREFERENCE,
    TAG_ROLE,
    TAG_TEMPLATE,
    Names,
    Role,
)
from hubdeploy.errors import AwsError

log = logging.getLogger(__name__)

GONE = frozenset({"shutting-down", "terminated"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """An EC2 instance of a worker. ``state`` as EC2 names it; ``launched`` epoch seconds."""

    id: str
    state: str
    instance_type: str
    zone: str
    launched: float
    address: str
    spot: bool = False
    template: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """An instance's place in its group: life cycle (``InService`` …) and protection."""

    lifecycle: str
    protected: bool


@dataclass(frozen=True, kw_only=True)
class RawGroup:
    """A group as AWS shows it; ``preference`` as in the tag ``hubdeploy:preference``."""

    name: str
    desired: int
    min_size: int
    max_size: int
    instance_type: str
    members: Mapping[str, Member]
    template: str = ""
    preference: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class LaunchError:
    """Why a launch failed, in Auto Scaling's words, and when it began (epoch seconds)."""

    text: str
    at: float


@dataclass(frozen=True, kw_only=True)
class CloudFacts:
    """One look at AWS. ``phases`` by instance, as the machine itself wrote it."""

    groups: tuple[RawGroup, ...] = ()
    instances: Mapping[str, Instance] = field(default_factory=dict)
    phases: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    noticed: frozenset[str] = frozenset()
    launch_errors: Mapping[str, LaunchError] = field(default_factory=dict)


class Cloud:
    """AWS for one deployment. Methods raise AwsError; may be shared between threads."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self._clients: dict[str, Any] = {}
        self._session: Any = None
        self._lock = threading.Lock()
        self._sizes: dict[str, tuple[int, int]] = {}

    def _client(self, service: str) -> Any:
        from botocore.config import Config

        with self._lock:  # using clients is thread-safe, making them is not
            if service not in self._clients:
                self._session = self._session or _session()
                self._clients[service] = self._session.client(
                    service,
                    region_name=self.names.region,
                    config=Config(
                        retries={"mode": "standard", "total_max_attempts": 4},
                        connect_timeout=5,
                        read_timeout=20,
                    ),
                )
            return self._clients[service]

    def _call(self, service: str, operation: str, **params: Any) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer: dict[str, Any] = getattr(self._client(service), operation)(**params)
        except ClientError as error:
            said = error.response.get("Error", {})
            raise AwsError(
                f"{service} {operation}: {said.get('Code', '')}: {said.get('Message', '')}",
                hint="hubdeploy doctor tells whether the leader's role may do it",
                code=str(said.get("Code", "")),
                operation=operation,
            ) from error
        except BotoCoreError as error:
            raise AwsError(
                f"{service} {operation}: {error}",
                hint="has the leader a route to AWS?",
                code=type(error).__name__,
                operation=operation,
            ) from error
        return answer

    def _pages(self, service: str, operation: str, key: str, **params: Any) -> list[Any]:
        found: list[Any] = []
        token: dict[str, Any] = {}
        while True:
            answer = self._call(service, operation, **params, **token)
            found += answer.get(key, [])
            if not answer.get("NextToken"):
                return found
            token = {"NextToken": answer["NextToken"]}

    # --- reading -------------------------------------------------------------------------------

    def groups(self) -> tuple[RawGroup, ...]:
        """The deployment's groups of workers, one for each instance type, by name."""
        raw = self._pages(
            "autoscaling",
            "describe_auto_scaling_groups",
            "AutoScalingGroups",
            Filters=[{"Name": f"tag:{TAG_DEPLOYMENT}", "Values": [self.names.deployment]}],
        )
        first = self.names.workers_groups
        ours = [
            _group(g)
            for g in raw
            # one that has a status is being deleted
            if g["AutoScalingGroupName"].startswith(first) and not g.get("Status")
        ]
        return tuple(sorted(ours, key=lambda group: group.name))

    def instances(self) -> dict[str, Instance]:
        """Workers in any state; those ended stay visible for about an hour."""
        reservations = self._pages(
            "ec2",
            "describe_instances",
            "Reservations",
            Filters=[
                {"Name": f"tag:{TAG_DEPLOYMENT}", "Values": [self.names.deployment]},
                {"Name": f"tag:{TAG_ROLE}", "Values": [Role.WORKER.value]},
            ],
        )
        found = [_instance(raw) for each in reservations for raw in each["Instances"]]
        return {instance.id: instance for instance in found}

    def phases(self, instances: Iterable[str]) -> dict[str, dict[str, Any]]:
        """What these machines last said of themselves; ten at a time, as SSM allows."""
        by_name = {
            self.names.parameters.phase(Role.WORKER, instance): instance for instance in instances
        }
        asked = list(by_name)
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(asked), 10):
            answer = self._call("ssm", "get_parameters", Names=asked[start : start + 10])
            for parameter in answer.get("Parameters", []):
                try:
                    said = json.loads(parameter["Value"])
                except json.JSONDecodeError:
                    log.warning("%s holds no JSON", parameter["Name"])
                    continue
                if isinstance(said, dict):
                    found[by_name[parameter["Name"]]] = said
        return found

    def limits_text(self) -> str | None:
        """The live limits' JSON, or None where nobody has set any."""
        name = self.names.parameters.limits
        answer = self._call("ssm", "get_parameters", Names=[name])
        return next((str(p["Value"]) for p in answer.get("Parameters", [])), None)

    def spot_noticed(self) -> frozenset[str]:
        """Spot instances that AWS has marked for taking back."""
        raw = self._pages(
            "ec2",
            "describe_spot_instance_requests",
            "SpotInstanceRequests",
            Filters=[{"Name": "state", "Values": ["active"]}],
        )
        return frozenset(
            request["InstanceId"]
            for request in raw
            if (request.get("Status") or {}).get("Code") == "marked-for-termination"
            and request.get("InstanceId")
        )

    def launch_error(self, group: str) -> LaunchError | None:
        """Why the group's newest launch failed; None if it did not fail."""
        answer = self._call(
            "autoscaling", "describe_scaling_activities", AutoScalingGroupName=group, MaxRecords=10
        )
        for activity in answer.get("Activities", []):
            if activity.get("StatusCode") == "Failed":
                words = activity.get("StatusMessage") or activity.get("Description") or "failed"
                return LaunchError(text=str(words), at=activity["StartTime"].timestamp())
            if activity.get("StatusCode") == "Successful":
                return None
        return None

    def type_size(self, instance_type: str) -> tuple[int, int]:
        """Bytes of memory and nano-CPUs that a machine of this type shows."""
        if instance_type not in self._sizes:
            answer = self._call("ec2", "describe_instance_types", InstanceTypes=[instance_type])
            raw = answer["InstanceTypes"][0]
            self._sizes[instance_type] = (
                int(raw["MemoryInfo"]["SizeInMiB"]) << 20,
                int(raw["VCpuInfo"]["DefaultVCpus"]) * 10**9,
            )
        return self._sizes[instance_type]

    def disk_used(self, file_system: str) -> int | None:
        """Metered bytes of the file system; AWS renews the figure about hourly."""
        answer = self._call("efs", "describe_file_systems", FileSystemId=file_system)
        for raw in answer.get("FileSystems", []):
            return int(raw["SizeInBytes"]["Value"])
        return None

    def console_output(self, instance: str) -> str:
        """The last of the machine's console, as far as EC2 has it."""
        raw = self._call("ec2", "get_console_output", InstanceId=instance).get("Output") or ""
        try:
            return base64.b64decode(raw, validate=True).decode(errors="replace")
        except ValueError:
            return str(raw)  # boto3 has decoded it already

    def forget_parameters(self, instance: str) -> None:
        """Delete what an ended worker wrote: its phase and its SSH host key."""
        parameters = self.names.parameters
        names = [parameters.phase(Role.WORKER, instance), parameters.ssh_host_key(instance)]
        self._call("ssm", "delete_parameters", Names=names)

    # --- doing ---------------------------------------------------------------------------------

    def set_desired(self, group: str, desired: int) -> None:
        self._call(
            "autoscaling",
            "set_desired_capacity",
            AutoScalingGroupName=group,
            DesiredCapacity=desired,
            HonorCooldown=False,
        )

    def set_max_size(self, group: str, size: int) -> None:
        self._call(
            "autoscaling", "update_auto_scaling_group", AutoScalingGroupName=group, MaxSize=size
        )

    def protect(self, group: str, instance: str, *, protected: bool) -> None:
        self._call(
            "autoscaling",
            "set_instance_protection",
            AutoScalingGroupName=group,
            InstanceIds=[instance],
            ProtectedFromScaleIn=protected,
        )

    def terminate(self, instance: str, *, decrement: bool) -> None:
        self._call(
            "autoscaling",
            "terminate_instance_in_auto_scaling_group",
            InstanceId=instance,
            ShouldDecrementDesiredCapacity=decrement,
        )

    def put_disk_share(self, per_cent: float) -> None:
        """How full the fuller of the leader's disks is, for the alarm that watches them."""
        self._call(
            "cloudwatch",
            "put_metric_data",
            Namespace="hubdeploy",
            MetricData=[
                {
                    "MetricName": "DiskUsedPercent",
                    "Unit": "Percent",
                    "Value": per_cent,
                    "Dimensions": [
                        {"Name": "Deployment", "Value": self.names.deployment},
                        {"Name": "Role", "Value": Role.LEADER.value},
                    ],
                }
            ],
        )

    def put_limits(self, text: str) -> None:
        self._call(
            "ssm",
            "put_parameter",
            Name=self.names.parameters.limits,
            Value=text,
            Type="String",
            Overwrite=True,
        )


def _session() -> Any:
    """A session that reads times the fast way: five hundred machines bring fifteen hundred."""
    import boto3
    import botocore.session
    from botocore.utils import parse_timestamp

    def parse(value: Any) -> datetime:
        try:
            return datetime.fromisoformat(value)
        except (TypeError, ValueError):
            found: datetime = parse_timestamp(value)
            return found

    session = botocore.session.Session()
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=parse)
    # one attempt of a second is the default: a busy leader would have no credentials
    session.set_config_variable("metadata_service_num_attempts", 5)
    session.set_config_variable("metadata_service_timeout", 5)
    return boto3.session.Session(botocore_session=session)


def _group(raw: Mapping[str, Any]) -> RawGroup:
    template = (raw.get("MixedInstancesPolicy") or {}).get("LaunchTemplate") or {}
    tags = {tag["Key"]: str(tag["Value"]) for tag in raw.get("Tags") or ()}
    return RawGroup(
        name=raw["AutoScalingGroupName"],
        desired=int(raw["DesiredCapacity"]),
        min_size=int(raw["MinSize"]),
        max_size=int(raw["MaxSize"]),
        instance_type=next(
            (str(each.get("InstanceType", "")) for each in template.get("Overrides") or ()), ""
        ),
        members={
            member["InstanceId"]: Member(
                lifecycle=member.get("LifecycleState", ""),
                protected=bool(member.get("ProtectedFromScaleIn")),
            )
            for member in raw.get("Instances") or ()
        },
        template=tags.get(TAG_TEMPLATE, ""),
        preference=tags.get(TAG_PREFERENCE, ""),
    )


def _instance(raw: Mapping[str, Any]) -> Instance:
    launched = raw.get("LaunchTime")
    tags = {tag["Key"]: tag["Value"] for tag in raw.get("Tags") or ()}
    return Instance(
        id=raw["InstanceId"],
        state=raw["State"]["Name"],
        instance_type=raw.get("InstanceType", ""),
        zone=(raw.get("Placement") or {}).get("AvailabilityZone", ""),
        launched=launched.timestamp() if isinstance(launched, datetime) else 0.0,
        address=raw.get("PrivateIpAddress", ""),
        spot=raw.get("InstanceLifecycle") == "spot",
        template=tags.get(TAG_TEMPLATE, ""),
    )
