"""A small deployment's worth of AWS for the tests of the embedded AWS itself."""

from __future__ import annotations

import json
from typing import Any

from tests.plugins.aws import CloudAccount

DEBIAN = "/aws/service/debian/release/12/latest/amd64"
MACHINE_ACTIONS = [
    "ssm:*",
    "ssmmessages:*",
    "servicediscovery:*",
    "s3:GetObject",
    "s3:PutObject",
]


def tagged(kind: str, **tags: str) -> list[dict[str, Any]]:
    """TagSpecifications; ``role="worker"`` and the like become hubdeploy's tags."""
    pairs = [{"Key": f"hubdeploy:{key}", "Value": value} for key, value in tags.items()]
    return [{"ResourceType": kind, "Tags": pairs}]


def allow(
    actions: str | list[str], resources: str | list[str] = "*", **condition: Any
) -> dict[str, Any]:
    statement: dict[str, Any] = {"Effect": "Allow", "Action": actions, "Resource": resources}
    if condition:
        statement["Condition"] = condition
    return {"Version": "2012-10-17", "Statement": [statement]}


class World:
    """VPC with two subnets, a role with its profile, an AMI; more on request."""

    def __init__(self, cloud: CloudAccount, *, actions: list[str] | None = None) -> None:
        self.cloud = cloud
        self.ec2 = cloud.client("ec2")
        self.ssm = cloud.client("ssm")
        self.vpc = self.ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
        self.subnets = [self.subnet(number) for number in range(2)]
        self.role("machine", allow(actions or MACHINE_ACTIONS))
        self.ami = self.ssm.get_parameter(Name=DEBIAN)["Parameter"]["Value"]

    def subnet(self, number: int) -> str:
        zone = f"{self.cloud.region}{'abc'[number]}"
        made = self.ec2.create_subnet(
            VpcId=self.vpc, CidrBlock=f"10.7.{number}.0/24", AvailabilityZone=zone
        )
        return str(made["Subnet"]["SubnetId"])

    def role(self, name: str, policy: dict[str, Any]) -> None:
        iam = self.cloud.client("iam")
        trust = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "ec2.amazonaws.com"},
                    "Action": "sts:AssumeRole",
                }
            ],
        }
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
        iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=json.dumps(policy))
        iam.create_instance_profile(InstanceProfileName=name)
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)

    def request(self, **changes: Any) -> dict[str, Any]:
        """A RunInstances request."""
        request: dict[str, Any] = {
            "ImageId": self.ami,
            "InstanceType": "t3.small",
            "MinCount": 1,
            "MaxCount": 1,
            "SubnetId": self.subnets[0],
            "IamInstanceProfile": {"Name": "machine"},
        }
        return {k: v for k, v in {**request, **changes}.items() if v is not None}

    def run(self, **changes: Any) -> str:
        made = self.ec2.run_instances(**self.request(**changes))
        return str(made["Instances"][0]["InstanceId"])

    def instance(self, ident: str) -> dict[str, Any]:
        found = self.ec2.describe_instances(InstanceIds=[ident])
        instance: dict[str, Any] = found["Reservations"][0]["Instances"][0]
        return instance

    def state(self, ident: str) -> str:
        return str(self.instance(ident)["State"]["Name"])

    def wait_for(self, ident: str, state: str) -> None:
        self.cloud.wait(lambda: self.state(ident) == state, what=f"{ident} {state}")

    def running(self, **changes: Any) -> str:
        ident = self.run(**changes)
        self.wait_for(ident, "running")
        return ident

    def online(self, **changes: Any) -> str:
        """A machine that takes commands."""
        ident = self.running(**changes)

        def there() -> bool:
            found = self.ssm.describe_instance_information()["InstanceInformationList"]
            return ident in [entry["InstanceId"] for entry in found]

        self.cloud.wait(there, what="the agent")
        return ident

    def template(self, name: str = "workers", **changes: Any) -> str:
        data: dict[str, Any] = {
            "ImageId": self.ami,
            "InstanceType": "t3.small",
            "IamInstanceProfile": {"Name": "machine"},
            "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
            "TagSpecifications": tagged("instance", deployment="demo", role="worker"),
            **changes,
        }
        made = self.ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)
        return str(made["LaunchTemplate"]["LaunchTemplateId"])

    def group(self, name: str = "workers", **changes: Any) -> None:
        request: dict[str, Any] = {
            "AutoScalingGroupName": name,
            "MinSize": 0,
            "MaxSize": 5,
            "DesiredCapacity": 2,
            "VPCZoneIdentifier": ",".join(self.subnets),
            "LaunchTemplate": {"LaunchTemplateName": "workers", "Version": "$Latest"},
            "NewInstancesProtectedFromScaleIn": True,
        }
        request = {k: v for k, v in {**request, **changes}.items() if v is not None}
        self.cloud.client("autoscaling").create_auto_scaling_group(**request)

    def members(self, name: str = "workers") -> list[dict[str, Any]]:
        found = self.cloud.client("autoscaling").describe_auto_scaling_groups(
            AutoScalingGroupNames=[name]
        )["AutoScalingGroups"]
        return list(found[0]["Instances"]) if found else []

    def in_service(self, count: int, name: str = "workers") -> list[str]:
        """Waits for that many members in service; their ids."""

        def there() -> list[str]:
            ready = [m for m in self.members(name) if m["LifecycleState"] == "InService"]
            return [m["InstanceId"] for m in ready] if len(ready) == count else []

        found: list[str] = self.cloud.wait(there, what=f"{count} members in service")
        return found
