"""A deployment's workers' group in the embedded AWS, and a stand-in swarm on the leader."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from hubdeploy.config.limits import Limits
from hubdeploy.config.names import (
    LABEL_DEPLOYMENT,
    LABEL_TYPE,
    LABEL_USER,
    TAG_DEPLOYMENT,
    TAG_PREFERENCE,
    TAG_ROLE,
    Names,
    Role,
)
from hubdeploy.hub.fleet.cloud import Cloud
from hubdeploy.hub.fleet.loop import FleetLoop
from hubdeploy.hub.fleet.model import Policy
from hubdeploy.hub.fleet.store import Store
from hubdeploy.hub.fleet.swarm import Swarm
from hubdeploy.hub.fleet.wiring import FleetSettings
from hubdeploy.steps import policies
from tests.plugins.aws import CloudAccount
from tests.plugins.dockerapi import FakeSwarm

GIB = 1 << 30
CORE = 10**9
TYPE = "m6i.xlarge"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "ec2.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}


@dataclass
class Yard:
    """One deployment: its group in ``cloud``, its ``swarm``, and its fleet.

    ``now`` is what the fleet takes for the time; it moves only by :meth:`tick` and by hand.
    """

    cloud: CloudAccount
    swarm: FakeSwarm
    folder: Path
    names: Names
    file_system: str
    subnet: str
    limits: Limits = field(
        default_factory=lambda: Limits(max_nodes=5, headroom=0, idle_after=300, join_deadline=900)
    )
    forgotten: list[str] = field(default_factory=list)
    now: float = 0.0
    stores: list[Store] = field(default_factory=list)

    def fleet(self) -> FleetLoop:
        """A fleet service just started, as the leader's role with the policy that it really has."""
        store = Store(self.folder / "state")
        self.stores.append(store)
        settings = FleetSettings(
            names=self.names,
            limits=self.limits,
            policy=Policy(settle=0.0),
            file_system=self.file_system,
            state=self.folder / "state",
            homes=self.folder / "home",
        )

        def forget(name: str) -> str:
            self.forgotten.append(name)
            return "deleted node and client"

        self.now = self.now or datetime.now(tz=UTC).timestamp()
        return FleetLoop(
            settings,
            cloud=Cloud(self.names),
            swarm=Swarm(self.swarm.url),
            store=store,
            forget_chef=forget,
            clock=lambda: self.now,
        )

    def tick(self, fleet: FleetLoop, *, seconds: float = 20.0) -> list[str]:
        """One tick *seconds* later; what was done, oldest first, as ``Kind subject``."""
        self.now += seconds
        before = len(fleet.store.decisions(10_000))
        fleet.tick()
        assert not fleet.view.error, fleet.view.error
        new = fleet.store.decisions(10_000)
        done = [d for d in new[: len(new) - before] if d.kind not in ("Hold",)]
        assert all(d.ok for d in done), done
        return [f"{d.kind} {d.subject}".strip() for d in reversed(done)]

    # --- the account ------------------------------------------------------------------------

    def add_group(self, kind: str, preference: str = "", *, most: int = 3) -> None:
        """The group of another instance type, as `up` makes it."""
        tags = {TAG_DEPLOYMENT: "demo", TAG_PREFERENCE: preference}
        name = self.names.workers_group(kind)
        self.cloud.client("autoscaling").create_auto_scaling_group(
            AutoScalingGroupName=name,
            MixedInstancesPolicy={
                "LaunchTemplate": {
                    "LaunchTemplateSpecification": {
                        "LaunchTemplateName": "workers",
                        "Version": "$Latest",
                    },
                    "Overrides": [{"InstanceType": kind}],
                },
                "InstancesDistribution": {"OnDemandPercentageAboveBaseCapacity": 100},
            },
            MinSize=0,
            MaxSize=most,
            DesiredCapacity=0,
            VPCZoneIdentifier=self.subnet,
            NewInstancesProtectedFromScaleIn=True,
            Tags=[
                {
                    "ResourceId": name,
                    "ResourceType": "auto-scaling-group",
                    "Key": key,
                    "Value": value,
                    "PropagateAtLaunch": False,
                }
                for key, value in tags.items()
                if value
            ],
        )

    def group(self, kind: str = TYPE) -> dict[str, Any]:
        found = self.cloud.client("autoscaling").describe_auto_scaling_groups(
            AutoScalingGroupNames=[self.names.workers_group(kind)]
        )["AutoScalingGroups"]
        return dict(found[0])

    def desired(self, kind: str = TYPE) -> int:
        return int(self.group(kind)["DesiredCapacity"])

    def instances(self, kind: str = TYPE) -> list[str]:
        return [member["InstanceId"] for member in self.group(kind)["Instances"]]

    def started(self, count: int, kind: str = TYPE) -> list[str]:
        """Wait until the group has *count* instances that run."""

        def running() -> list[str] | None:
            names = self.instances(kind)
            if len(names) != count or not names:
                return [] if count == 0 and not names else None
            answer = self.cloud.client("ec2").describe_instances(InstanceIds=names)
            states = [i["State"]["Name"] for r in answer["Reservations"] for i in r["Instances"]]
            return names if all(state == "running" for state in states) else None

        return list(self.cloud.wait(running, what=f"{count} running instances"))

    def address(self, instance: str) -> str:
        answer = self.cloud.client("ec2").describe_instances(InstanceIds=[instance])
        return str(answer["Reservations"][0]["Instances"][0]["PrivateIpAddress"])

    def say(self, instance: str, phase: str, detail: str = "") -> None:
        """What the machine writes of itself."""
        self.cloud.client("ssm").put_parameter(
            Name=self.names.parameters.phase(Role.WORKER, instance),
            Value=json.dumps({"phase": phase, "detail": detail, "at": "2026-01-01T00:00:00Z"}),
            Type="String",
            Overwrite=True,
        )

    def join(self, instance: str, *, memory: int = 16 * GIB) -> str:
        """The machine joins the swarm drained, has pulled its image and says so; its node."""
        node = f"node-{instance}"
        self.swarm.add_node(
            node,
            memory=memory,
            cpu=4.0,
            address=self.address(instance),
            availability="drain",
        )
        self.say(instance, "ready")
        return node

    # --- users -----------------------------------------------------------------------------

    def start_server(
        self,
        user: str,
        *,
        memory: int = 2 * GIB,
        kind: str = "",
        node: str = "",
        deployment: str = "",
        created: str = "",
    ) -> None:
        """A server as the spawner makes it; *created* (Docker's form of a time) backdates it."""
        constraints = ["node.role==worker"] + ([f"node.id=={node}"] if node else [])
        constraints += [f"node.labels.{LABEL_TYPE}=={kind}"] if kind else []
        self._docker(
            "POST",
            "services/create",
            {
                "Name": f"jupyter-{user}",
                "Labels": {LABEL_USER: user, LABEL_DEPLOYMENT: deployment},
                "Mode": {"Replicated": {"Replicas": 1}},
                "TaskTemplate": {
                    "ContainerSpec": {"Image": "notebook:1"},
                    "Resources": {"Reservations": {"MemoryBytes": memory, "NanoCPUs": CORE // 2}},
                    "RestartPolicy": {"Condition": "none"},
                    "Placement": {"Constraints": constraints},
                },
            },
        )

        if created:
            service = self.swarm.services()[f"jupyter-{user}"]
            service["CreatedAt"] = service["UpdatedAt"] = created

    def stop_server(self, user: str) -> None:
        self._docker("DELETE", f"services/jupyter-{user}")

    def _docker(self, method: str, path: str, body: dict[str, Any] | None = None) -> None:
        url = self.swarm.url.replace("tcp:", "http:")
        requests.request(method, f"{url}/v1.41/{path}", json=body, timeout=10).raise_for_status()


@pytest.fixture
def swarm() -> Iterator[FakeSwarm]:
    with FakeSwarm() as running:
        running.add_node("leader", role="manager", availability="drain")
        yield running


@pytest.fixture
def yard(
    cloud: CloudAccount, swarm: FakeSwarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Yard]:
    cloud.plan.mute = {Role.WORKER.value}
    names = Names(deployment="demo", region=cloud.region, account=cloud.account)
    ec2 = cloud.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.42.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.42.1.0/24")["Subnet"]["SubnetId"]
    file_system = cloud.client("efs").create_file_system(CreationToken="demo")["FileSystemId"]
    ami = cloud.client("ssm").get_parameter(Name="/aws/service/debian/release/12/latest/amd64")[
        "Parameter"
    ]["Value"]
    tags = {TAG_DEPLOYMENT: "demo", TAG_ROLE: Role.WORKER.value}
    ec2.create_launch_template(
        LaunchTemplateName="workers",
        LaunchTemplateData={
            "ImageId": ami,
            "TagSpecifications": [
                {
                    "ResourceType": "instance",
                    "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
                }
            ],
        },
    )
    iam = cloud.client("iam")
    role = names.machine_role(Role.LEADER)
    iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(TRUST))
    document = policies.policy(Role.LEADER, names, bucket=names.bucket, file_system=file_system)
    iam.put_role_policy(RoleName=role, PolicyName="leader", PolicyDocument=json.dumps(document))
    as_leader = cloud.cloud.role_credentials(cloud.account, role, session="i-0leader")
    for name, value in {**cloud.environ(), **as_leader.environ()}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "home").mkdir()
    made = Yard(
        cloud=cloud,
        swarm=swarm,
        folder=tmp_path,
        names=names,
        file_system=file_system,
        subnet=subnet,
    )
    made.add_group(TYPE)
    yield made
    for store in made.stores:
        store.close()
