"""The machines' roles in a whole life: what they are granted suffices, and all of it is used.

Every call of the agent, the hub's fleet service and certbot's plugin is taken apart into what AWS
would ask for, and each need is traced to the statement that grants it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hubdeploy.config.names import TAG_DEPLOYMENT, TAG_ROLE, Names, Phase, Role
from hubdeploy.hub import secrets
from hubdeploy.hub.fleet.cloud import Cloud as FleetCloud
from hubdeploy.node import (
    chefserver,
    client,
    hostkey,
    hubfiles,
    hubstate,
    logs,
    packages,
    phases,
    release,
    swarm,
    sweeping,
    tls,
    volume,
    workstation,
)
from hubdeploy.node.aws import Cloud
from hubdeploy.node.packages import Package, Platform
from hubdeploy.sandbox.cloud.rights.needs import Need, needs
from hubdeploy.sandbox.cloud.rights.policy import evaluate
from hubdeploy.steps import policies
from tests.node.chefhost import chef_names_lead_here, running
from tests.node.test_chef_machines import cookbooks
from tests.node.test_release import Publisher
from tests.plugins.deployment import Site

pytestmark = [pytest.mark.goiardi, pytest.mark.timeout(300)]

DEBIAN = Platform(name="debian", version="12", machine="x86_64")
_AGENT = "the SSM agent's own calls, which answer Run Command and sessions"
_DOCKER = "Docker's, by Amazon's credential helper"
NOT_OURS = {
    "RunCommand": _AGENT,
    "WriteCommandOutput": _AGENT,
    "LogInToRegistry": _DOCKER,
    "PullImage": _DOCKER,
}
"""Statements whose actions programs of others call on the machines."""


class Ledger:
    """What each role needed."""

    def __init__(self, names: Names) -> None:
        self._roles = {names.machine_role(role): role for role in Role}
        self.needs: dict[Role, list[Need]] = {role: [] for role in Role}

    def __call__(self, cloud: Any, call: Any) -> None:
        role = self._roles.get(call.principal.role)
        if role is not None:
            self.needs[role] += needs(cloud, call)

    def unused(self, role: Role, document: dict[str, Any]) -> list[str]:
        """Actions and resources of statements that no need was traced to."""
        left: list[str] = []
        for statement in document["Statement"]:
            if statement["Sid"] in NOT_OURS:
                continue
            for part in ("Action", "Resource"):
                for one in statement[part]:
                    narrowed = {"Statement": [{**statement, part: [one]}]}
                    if not any(_granted(narrowed, need) for need in self.needs[role]):
                        left.append(f"{role} {statement['Sid']}: {one}")
        return left

    def others(self, role: Role, document: dict[str, Any]) -> list[str]:
        """Statements that are said to be of others' programs and yet serve ours."""
        theirs = [one for one in document["Statement"] if one["Sid"] in NOT_OURS]
        return [
            one["Sid"]
            for one in theirs
            if any(_granted({"Statement": [one]}, need) for need in self.needs[role])
        ]


def _granted(document: dict[str, Any], need: Need) -> bool:
    return evaluate([document], need.action, need.resource, need.context).allowed


@pytest.fixture
def ledger(site: Site, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    made, server = Ledger(site.names), site.account.cloud
    refuse = server._rights

    def rights(cloud: Any, call: Any) -> None:
        made(cloud, call)
        refuse(cloud, call)

    monkeypatch.setattr(server, "_rights", rights)
    return made


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    made = Publisher()
    yield made
    made.close()


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """In place of the machine's Docker engine."""

    def be(*, state: str, manager: bool) -> None:
        local = {"LocalNodeState": state, "ControlAvailable": manager, "NodeID": "n1"}
        node = SimpleNamespace(attrs={"Spec": {"Availability": "drain"}})
        engine = SimpleNamespace(
            info=lambda: {"Swarm": local},
            nodes=SimpleNamespace(get=lambda _: node),
            images=SimpleNamespace(get=lambda _: None),
            swarm=SimpleNamespace(
                attrs={"ID": "c1", "JoinTokens": {"Worker": "SWMTKN-1-x"}}, reload=lambda: None
            ),
            api=SimpleNamespace(
                _url=str, post=lambda *_, **__: None, _raise_for_status=lambda _: None
            ),
        )
        monkeypatch.setattr(swarm, "engine", lambda: engine)

    return be


def everywhere(cloud: Cloud) -> None:
    """What every machine does."""
    release.settings(cloud)
    phases.put(cloud, Phase.BOOTING)
    phases.current(cloud)
    key = cloud.machine.path("/etc/ssh/ssh_host_ed25519_key.pub")
    key.parent.mkdir(parents=True, exist_ok=True)
    key.write_text("ssh-ed25519 AAAAC3Nza root@x\n")
    hostkey.publish(cloud)
    logs.Shipper(cloud=cloud).send([logs.Event(unit="agent", at=1_800_000_000_000, text="here")])


def stranger_under(site: Site, service: str) -> None:
    """The machine that had the name before."""
    site.account.client("servicediscovery").register_instance(
        ServiceId=site.services[service],
        InstanceId="i-0before",
        Attributes={"AWS_INSTANCE_IPV4": "10.42.9.9"},
    )


def node(cloud: Cloud, publisher: Publisher) -> None:
    """What leader and workers do to become nodes of the Chef server."""
    client.wait_for_workstation(cloud)
    client.wait_for_chef(cloud)
    client.register(cloud)
    package = Package(product="cinc", version="18.8.54")
    packages.fetch(cloud, package, where=DEBIAN, publisher=publisher.url)


def certbots_plugin(cloud: Cloud, zone: str) -> None:
    """The calls of certbot's plugin for Route 53."""
    route53 = cloud.client("route53")
    route53.list_hosted_zones()
    record = {
        "Name": "_acme-challenge.notebooks.example.org",
        "Type": "TXT",
        "TTL": 10,
        "ResourceRecords": [{"Value": '"proof"'}],
    }
    batch = {"Changes": [{"Action": "UPSERT", "ResourceRecordSet": record}]}
    asked = route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)
    route53.get_change(Id=asked["ChangeInfo"]["Id"])


def workers_group(site: Site, kind: str) -> str:
    """A group as ``up`` makes it, with one machine; the machine's id."""
    ec2, groups = site.account.client("ec2"), site.account.client("autoscaling")
    image = site.account.client("ssm").get_parameter(
        Name="/aws/service/debian/release/12/latest/amd64"
    )["Parameter"]["Value"]
    tags = {TAG_DEPLOYMENT: site.names.deployment, TAG_ROLE: Role.WORKER.value}
    ec2.create_launch_template(
        LaunchTemplateName="workers",
        LaunchTemplateData={
            "ImageId": image,
            "InstanceType": kind,
            "TagSpecifications": [
                {
                    "ResourceType": "instance",
                    "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
                }
            ],
        },
    )
    name = site.names.workers_group(kind)
    groups.create_auto_scaling_group(
        AutoScalingGroupName=name,
        LaunchTemplate={"LaunchTemplateName": "workers", "Version": "$Latest"},
        MinSize=0,
        MaxSize=3,
        DesiredCapacity=1,
        VPCZoneIdentifier=site._subnet,
        Tags=[
            {
                "ResourceId": name,
                "ResourceType": "auto-scaling-group",
                "Key": TAG_DEPLOYMENT,
                "Value": site.names.deployment,
                "PropagateAtLaunch": False,
            }
        ],
    )
    group = groups.describe_auto_scaling_groups(AutoScalingGroupNames=[name])
    return str(group["AutoScalingGroups"][0]["Instances"][0]["InstanceId"])


def fleet(site: Site, file_system: str) -> None:
    """Everything that the fleet service may ask of AWS or do there."""
    kind = "m6i.xlarge"
    worker, group = workers_group(site, kind), site.names.workers_group(kind)
    cloud = FleetCloud(site.names)
    assert [one.name for one in cloud.groups()] == [group]
    assert worker in cloud.instances()
    cloud.phases([worker])
    cloud.limits_text()
    cloud.put_limits("{}")
    cloud.spot_noticed()
    cloud.launch_error(group)
    cloud.type_size(kind)
    cloud.disk_used(file_system)
    cloud.console_output(worker)
    cloud.put_disk_share(1.0)
    cloud.set_max_size(group, 4)
    cloud.set_desired(group, 2)
    cloud.protect(group, worker, protected=False)
    cloud.terminate(worker, decrement=True)
    cloud.forget_parameters(worker)


def hub(cloud: Cloud) -> None:
    """Secrets, database, certificate and state of the hub."""
    hubfiles.write_secrets(cloud)
    secrets.ensure(cloud.machine.path(hubfiles.SECRETS))
    with closing(sqlite3.connect(cloud.machine.path(hubfiles.DATABASE))) as database:
        database.execute("CREATE TABLE users (name)")
    hubfiles.backup(cloud)
    tls.ensure(cloud)
    hubstate.wait_and_publish(cloud)


def test_all_that_a_machines_role_is_granted_is_used_and_nothing_more_is_needed(
    site: Site,
    ledger: Ledger,
    publisher: Publisher,
    docker: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site.account.plan.mute = {role.value for role in Role}
    site.publish(cookbooks=cookbooks(tmp_path / "cookbooks"))
    me = site.instance(Role.LEADER)
    ids = {
        "state_volume": site.account.client("ec2").create_volume(
            AvailabilityZone=f"{site.account.region}a", Size=1
        )["VolumeId"],
        "zone": site.account.client("route53")
        .create_hosted_zone(Name="example.org", CallerReference="x")["HostedZone"]["Id"]
        .rpartition("/")[2],
        "file_system": site.account.client("efs").create_file_system(CreationToken="x")[
            "FileSystemId"
        ],
    }
    server = Package(product="cinc-server", version="15.10.91")
    monkeypatch.setattr(hubstate, "ask", lambda *_, **__: b"{}")
    monkeypatch.setattr(sweeping, "_SETTLE", 0, raising=False)
    stranger_under(site, "chef")
    stranger_under(site, "leader")
    with (
        chef_names_lead_here(site.names.chef_host),
        site.machine(Role.CHEF, "i-0a", private_ip="10.42.0.5") as chef,
        running(chef) as host,
    ):
        everywhere(chef)
        packages.fetch(chef, server, where=DEBIAN, publisher=publisher.url)
        packages.fetch(chef, server, where=DEBIAN, publisher=publisher.url)
        chefserver.backup(chef, host)
        with site.machine(Role.CHEF, "i-0b") as rebuilt, running(rebuilt):
            pass
        with site.machine(Role.CHEF, "i-0a", private_ip="10.42.0.5") as chef:
            chefserver.publish(chef, host)
        station = site.instance(Role.WORKSTATION)
        with site.machine(Role.WORKSTATION, station) as cloud:
            everywhere(cloud)
            package = Package(product="cinc", version="18.8.54")
            packages.fetch(cloud, package, where=DEBIAN, publisher=publisher.url)
            packages.fetch(cloud, package, where=DEBIAN, publisher=publisher.url)
            workstation.publish(cloud)
            sweeping.sweep(cloud)
        docker(state="active", manager=True)
        with site.machine(Role.LEADER, me, **ids) as cloud:
            everywhere(cloud)
            volume.attach(cloud, ids["state_volume"])
            node(cloud, publisher)
            swarm.lead(cloud)
            certbots_plugin(cloud, ids["zone"])
            hub(cloud)
            fleet(site, ids["file_system"])
        docker(state="inactive", manager=False)
        with site.machine(Role.WORKER, "i-0e") as cloud:
            everywhere(cloud)
            node(cloud, publisher)
            swarm.join(cloud)
        with site.machine(Role.LEADER, "i-0d", **ids) as cloud:
            hubfiles.restore(cloud)
            tls.ensure(cloud)
            site.settings["tls"] = {"kind": "own"}
            site.publish()
            tls.ensure(cloud)

    left, misnamed = [], []
    for role in Role:
        document = policies.policy(
            role, site.names, bucket=site.names.bucket, **(ids if role is Role.LEADER else {})
        )
        left += ledger.unused(role, document)
        misnamed += ledger.others(role, document)
    assert (left, misnamed) == ([], [])
    refused = [
        f"{one.role} {one.name}"
        for one in site.account.calls.find(role=None)
        if "Denied" in one.error or "Unauthorized" in one.error
    ]
    assert refused == []
