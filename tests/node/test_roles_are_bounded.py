"""What the machines' roles do not allow: other deployments, other machines' secrets and names."""

from __future__ import annotations

from typing import Any

import pytest

from hubdeploy.config.names import TAG_DEPLOYMENT, Key, Names, Role
from hubdeploy.errors import AwsError
from hubdeploy.node import cloudmap
from tests.plugins.deployment import Site


def _parameter(name: str) -> tuple[str, str, dict[str, Any]]:
    return "ssm", "get_parameter", {"Name": name, "WithDecryption": True}


def _foreign(site: Site) -> str:
    """An instance of another deployment that runs in the same account."""
    own = site.instance(Role.WORKER)
    tags = [{"Key": TAG_DEPLOYMENT, "Value": "other"}]
    site.account.client("ec2").create_tags(Resources=[own], Tags=tags)
    return own


@pytest.mark.parametrize("role", list(Role))
def test_what_no_machine_may_do_is_refused_by_aws(site: Site, role: Role) -> None:
    site.account.plan.mute = {one.value for one in Role}
    other = Names(deployment="other", region=site.names.region, account=site.names.account)
    own, theirs = site.names.parameters, other.parameters
    for name in (theirs.release, theirs.swarm_token, theirs.hub_secret("admin-password")):
        site.put(name, "x", secret=True)
    foreign, location = _foreign(site), {"LocationConstraint": site.account.region}
    s3 = site.account.client("s3")
    s3.create_bucket(Bucket=other.bucket, CreateBucketConfiguration=location)
    s3.put_object(Bucket=other.bucket, Key=f"{Key.HUB_BACKUP}/x", Body=b"x")
    calls: list[tuple[str, str, dict[str, Any]]] = [
        _parameter(theirs.release),
        _parameter(theirs.swarm_token),
        _parameter(theirs.hub_secret("admin-password")),
        ("ssm", "put_parameter", {"Name": own.release, "Value": "{}", "Type": "String"}),
        ("ssm", "get_parameters_by_path", {"Path": own.root}),
        ("s3", "get_object", {"Bucket": other.bucket, "Key": f"{Key.HUB_BACKUP}/x"}),
        ("s3", "list_objects_v2", {"Bucket": other.bucket, "Prefix": f"{Key.HUB_BACKUP}/"}),
        ("s3", "list_objects_v2", {"Bucket": site.names.bucket}),
        ("s3", "delete_object", {"Bucket": site.names.bucket, "Key": "artifacts/x"}),
        ("ec2", "terminate_instances", {"InstanceIds": [foreign]}),
        ("ec2", "stop_instances", {"InstanceIds": [foreign]}),
        ("ec2", "get_console_output", {"InstanceId": foreign}),
        ("iam", "put_role_policy", {"RoleName": "x", "PolicyName": "x", "PolicyDocument": "{}"}),
    ]
    if role in (Role.LEADER, Role.WORKER):
        calls.append(_parameter(own.chef_admin))
    if role is not Role.LEADER:
        calls.append(_parameter(own.hub_secret("admin-password")))
    if role in (Role.CHEF, Role.WORKSTATION):
        calls.append(_parameter(own.swarm_token))
    with site.machine(role, "i-0a") as cloud:
        for service, operation, params in calls:
            with pytest.raises(AwsError) as refused:
                cloud.call(service, operation, **params)
            assert refused.value.code in (
                "AccessDenied",
                "AccessDeniedException",
                "UnauthorizedOperation",
            ), (service, operation, params)


def test_a_machine_cannot_take_anothers_name(site: Site) -> None:
    with site.machine(Role.CHEF, "i-0a") as chef, pytest.raises(AwsError) as refused:
        cloudmap.register(chef, "leader")
    assert "ChangeResourceRecordSets" in refused.value.message
    assert site.registered("leader") == {}
