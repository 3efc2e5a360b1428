"""What ``up`` leaves in the account before machines boot, made by plain calls for agent tests.

``site`` is one deployment; ``site.machine(role)`` is a machine of it as the agent sees it: its
files below a temporary folder, its identity from a metadata server, its AWS calls held against the
role's real policy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pytest

from hubdeploy.config.names import TAG_DEPLOYMENT, TAG_ROLE, Key, Names, Role
from hubdeploy.config.settings import Settings, encode
from hubdeploy.node.aws import Cloud
from hubdeploy.node.machine import Machine, Metadata
from hubdeploy.steps import policies
from tests.plugins.aws import CloudAccount
from tests.plugins.metadata import MetadataServer

FILE_SYSTEM = "fs-0123456789abcdef0"


def settings_of(names: Names, **changed: Any) -> Settings:
    """Settings as ``up`` renders them for a small deployment with goiardi."""
    base: dict[str, Any] = {
        "deployment": names.deployment,
        "region": names.region,
        "account": names.account,
        "bucket": names.bucket,
        "namespace": names.namespace,
        "chef_url": f"https://{names.chef_host}",
        "chef_distribution": "goiardi",
        "chef_licence_id": "",
        "chef_server_version": "15.10.91",
        "chef_server_sha256": "",
        "client_version": "18.8.54",
        "client_sha256": "",
        "converge_every": 1800,
        "hub_host": "notebooks.example.org",
        "hub_url": "https://notebooks.example.org/hub/login",
        "vpc_cidr": "10.42.0.0/16",
        "docker_pool": "10.200.0.0/14",
        "registry": names.registry,
        "repository": names.repository,
        "efs": {
            "file_system": FILE_SYSTEM,
            "access_point": "",
            "dns_name": names.dns_efs(FILE_SYSTEM),
            "tls": True,
        },
        "tls": {
            "kind": "self-signed",
            "email": "",
            "challenge": "dns",
            "staging": False,
            "zone": "",
        },
        "hub": {"image": "notebook:1", "profiles": [], "admins": ["ada"]},
        "limits": {},
        "workers": {},
        "waits": {"chef_server": 1500, "workstation": 900, "leader": 1500, "hub": 600},
        "state_volume": "",
        "log_groups": {},
    }
    return cast("Settings", {**base, **changed})


class Site:
    """One deployment in an account of the embedded AWS."""

    def __init__(
        self, account: CloudAccount, metadata: MetadataServer, folder: Path, *, name: str = "demo"
    ) -> None:
        self.account, self.metadata, self.folder = account, metadata, folder
        self.names = Names(deployment=name, region=account.region, account=account.account)
        self.settings = settings_of(self.names)
        self.release: dict[str, Any] = {}
        self.services: dict[str, str] = {}
        self._subnet: str | None = None
        self._bucket()
        self._cloud_map()
        for unit in ("cloud-init", "converge", "hub", "nginx", "chef", "agent", "system"):
            account.client("logs").create_log_group(logGroupName=self.names.log_group(unit))

    def _bucket(self) -> None:
        self.account.client("s3").create_bucket(
            Bucket=self.names.bucket,
            CreateBucketConfiguration={"LocationConstraint": self.account.region},
        )

    def _cloud_map(self) -> None:
        ec2, map_ = self.account.client("ec2"), self.account.client("servicediscovery")
        vpc = ec2.create_vpc(CidrBlock="10.42.0.0/16")["Vpc"]["VpcId"]
        tags = [{"Key": TAG_DEPLOYMENT, "Value": self.names.deployment}]
        map_.create_private_dns_namespace(Name=self.names.namespace, Vpc=vpc, Tags=tags)
        space = next(
            one
            for one in map_.list_namespaces()["Namespaces"]
            if one["Name"] == self.names.namespace
        )
        for name in ("chef", "leader"):
            self.services[name] = map_.create_service(
                Name=name,
                NamespaceId=space["Id"],
                DnsConfig={"DnsRecords": [{"Type": "A", "TTL": 5}]},
                Tags=tags,
            )["Service"]["Id"]

    # -------------------------------------------------------------------------- the release

    def publish(self, **bodies: bytes) -> None:
        """Store artifacts and settings and write the parameter ``release``."""
        settings, digest = encode(self.settings)
        wheel = bodies.get("wheel", b"no wheel")
        cookbooks = bodies.get("cookbooks", b"no cookbooks")
        objects = {
            "wheel": (wheel, f"{Key.WHEEL}/{{}}/hubdeploy-0.1.0-py3-none-any.whl"),
            "cookbooks": (cookbooks, f"{Key.COOKBOOKS}/{{}}.tar.gz"),
            "settings": (settings, f"{Key.SETTINGS}/{digest}.json"),
        }
        release: dict[str, Any] = {"version": "0.1.0"}
        for name, (body, form) in objects.items():
            sha256 = hashlib.sha256(body).hexdigest()
            key = form.format(sha256)
            self.account.client("s3").put_object(Bucket=self.names.bucket, Key=key, Body=body)
            release[name] = {"key": key, "sha256": sha256}
        self.release = release
        self.put(self.names.parameters.release, json.dumps(release))

    def put(self, name: str, value: str, *, secret: bool = False) -> None:
        """Write a parameter as the operator."""
        kind = "SecureString" if secret else "String"
        self.account.client("ssm").put_parameter(Name=name, Value=value, Type=kind, Overwrite=True)

    def get(self, name: str) -> str | None:
        """A parameter as the operator sees it."""
        ssm = self.account.client("ssm")
        try:
            return str(ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"])
        except ssm.exceptions.ParameterNotFound:
            return None

    def get_json(self, name: str) -> dict[str, Any]:
        """A JSON parameter; empty where there is none."""
        data: dict[str, Any] = json.loads(self.get(name) or "{}")
        return data

    def registered(self, service: str) -> dict[str, str]:
        """Instances of a Cloud Map service: id -> address."""
        found = self.account.client("servicediscovery").list_instances(
            ServiceId=self.services[service]
        )
        return {one["Id"]: one["Attributes"]["AWS_INSTANCE_IPV4"] for one in found["Instances"]}

    # ------------------------------------------------------------------------- its machines

    def role(self, role: Role, **ids: str) -> str:
        """The IAM role of a kind of machine, with hubdeploy's policy; its name."""
        iam, name = self.account.client("iam"), self.names.machine_role(role)
        document = policies.policy(role, self.names, bucket=self.names.bucket, **ids)
        with suppress(iam.exceptions.EntityAlreadyExistsException):
            iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(policies.trust()))
        iam.put_role_policy(
            RoleName=name, PolicyName="hubdeploy", PolicyDocument=json.dumps(document)
        )
        return name

    def instance(self, role: Role) -> str:
        """A running EC2 instance with the deployment's tags; its id."""
        ec2, ssm = self.account.client("ec2"), self.account.client("ssm")
        image = ssm.get_parameter(Name="/aws/service/debian/release/12/latest/amd64")
        vpc = ec2.describe_vpcs(Filters=[{"Name": "cidr", "Values": ["10.42.0.0/16"]}])["Vpcs"][0]
        if self._subnet is None:
            self._subnet = ec2.create_subnet(
                VpcId=vpc["VpcId"],
                CidrBlock="10.42.0.0/20",
                AvailabilityZone=f"{self.account.region}a",
            )["Subnet"]["SubnetId"]
        tags = [
            {"Key": TAG_DEPLOYMENT, "Value": self.names.deployment},
            {"Key": TAG_ROLE, "Value": role.value},
        ]
        made = ec2.run_instances(
            ImageId=image["Parameter"]["Value"],
            InstanceType="t3.small",
            SubnetId=self._subnet,
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )["Instances"][0]["InstanceId"]
        ec2.get_waiter("instance_running").wait(
            InstanceIds=[made], WaiterConfig={"Delay": 0.1, "MaxAttempts": 100}
        )
        return str(made)

    def environment(self, role: Role, instance_id: str, **ids: str) -> dict[str, str]:
        """For processes that run as this machine: the role's credentials and the endpoints."""
        name = self.role(role, **ids)
        keys = self.account.cloud.role_credentials(self.account.account, name, session=instance_id)
        assert keys.token
        self.metadata.profile(
            name, access_key=keys.access_key, secret_key=keys.secret_key, token=keys.token
        )
        return {
            **keys.environ(),
            "AWS_ENDPOINT_URL": self.account.endpoint_url,
            "AWS_DEFAULT_REGION": self.account.region,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.metadata.endpoint,
        }

    def machine_json(self, role: Role, root: Path) -> Path:
        """What user data writes, for a machine whose files are below ``root``."""
        file = root / "machine.json"
        root.mkdir(parents=True, exist_ok=True)
        data = {
            "deployment": self.names.deployment,
            "region": self.names.region,
            "role": role.value,
            "account": self.names.account,
            "bucket": self.names.bucket,
            "root": str(root),
        }
        file.write_text(json.dumps(data))
        return file

    @contextmanager
    def machine(
        self,
        role: Role,
        instance_id: str = "i-00000000000000001",
        *,
        private_ip: str = "10.42.1.10",
        spot: bool = False,
        **ids: str,
    ) -> Iterator[Cloud]:
        """A machine as the agent on it sees AWS; several may be used in turn."""
        self.metadata.instance(instance_id, private_ip=private_ip, spot=spot)
        with pytest.MonkeyPatch.context() as patch:
            for key, value in self.environment(role, instance_id, **ids).items():
                patch.setenv(key, value)
            machine = Machine(
                deployment=self.names.deployment,
                region=self.names.region,
                role=role,
                account=self.names.account,
                bucket=self.names.bucket,
                root=self.folder / instance_id,
                metadata=Metadata(self.metadata.endpoint),
            )
            cloud = Cloud(machine=machine)
            cloud.client("ssm")  # its credentials are this role's from now on
            assert machine.identity.instance_id == instance_id
            yield cloud


@pytest.fixture
def site(cloud: CloudAccount, metadata: MetadataServer, tmp_path: Path) -> Site:
    """A deployment called ``demo``, with a release."""
    made = Site(cloud, metadata, tmp_path)
    made.publish()
    cloud.calls.clear()
    return made
