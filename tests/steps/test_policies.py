"""The roles' policies: small enough, narrow enough, evaluated as AWS does."""

from __future__ import annotations

import json

import pytest

from hubdeploy.config.names import TAG_DEPLOYMENT, TAG_ROLE, Key, Names, Role
from hubdeploy.sandbox.cloud.rights.policy import evaluate
from hubdeploy.steps.policies import policy, trust

NAMES = Names(deployment="demo", region="eu-central-1", account="123456789012")
OTHER = Names(deployment="demo2", region="eu-central-1", account="123456789012")
IDS = {"state_volume": "vol-0abc", "zone": "Z123", "file_system": "fs-0abc"}
INLINE_LIMIT = 10_240
"""Characters of all inline policies of a role, spaces not counted."""


def allowed(role: Role, action: str, resource: str, **context: str | list[str]) -> bool:
    document = policy(role, NAMES, bucket=NAMES.bucket, **IDS)
    keys = {key.replace("__", ":"): value for key, value in context.items()}
    return evaluate([document], action, resource, keys).allowed


def parameter(name: str) -> str:
    return f"arn:aws:ssm:eu-central-1:123456789012:parameter{name}"


def thing(key: str, bucket: str = NAMES.bucket) -> str:
    return f"arn:aws:s3:::{bucket}/{key}"


@pytest.mark.parametrize("role", list(Role))
def test_a_policy_fits_into_a_role_even_with_the_longest_names(role: Role) -> None:
    names = Names(deployment="a" * 24, region="ap-southeast-1", account="123456789012")
    ids = {"state_volume": "vol-" + "0" * 17, "zone": "Z" * 21, "file_system": "fs-" + "0" * 17}
    text = json.dumps(policy(role, names, bucket=names.bucket, **ids), separators=(",", ":"))
    assert len(text) < INLINE_LIMIT


@pytest.mark.parametrize("role", list(Role))
def test_every_statement_is_named_and_only_reads_are_for_everything(role: Role) -> None:
    statements = policy(role, NAMES, bucket=NAMES.bucket, **IDS)["Statement"]
    sids = [statement["Sid"] for statement in statements]
    assert len(set(sids)) == len(sids)
    reading = ("Describe", "List", "Get", "DiscoverInstances")
    agents = ("ssmmessages:", "ec2messages:", "ssm:UpdateInstanceInformation")
    for statement in statements:
        assert not any(action.endswith("*") for action in statement["Action"])
        if statement["Resource"] == ["*"] and "Condition" not in statement:
            for action in statement["Action"]:
                verb = action.partition(":")[2]
                assert verb.startswith(reading) or action.startswith(agents), action


def test_only_instances_may_take_a_role() -> None:
    (statement,) = trust()["Statement"]
    assert statement["Principal"] == {"Service": "ec2.amazonaws.com"}


NODES = (Role.LEADER, Role.WORKER)


@pytest.mark.parametrize("role", list(Role))
def test_nobody_reads_another_deployments_parameters(role: Role) -> None:
    for name in (
        OTHER.parameters.release,
        OTHER.parameters.chef_validator,
        OTHER.parameters.chef_admin,
        OTHER.parameters.swarm_token,
        OTHER.parameters.hub_secret("admin-password"),
    ):
        assert not allowed(role, "ssm:GetParameter", parameter(name)), name
    assert not allowed(role, "ssm:GetParametersByPath", parameter("/hubdeploy/demo"))
    assert not allowed(role, "ssm:GetParametersByPath", parameter("/hubdeploy"))


@pytest.mark.parametrize("role", list(Role))
def test_the_admin_key_is_for_the_chef_machines_alone(role: Role) -> None:
    may = allowed(role, "ssm:GetParameter", parameter(NAMES.parameters.chef_admin))
    assert may == (role not in NODES)


@pytest.mark.parametrize("role", list(Role))
def test_a_machine_writes_phases_of_its_own_kind_only(role: Role) -> None:
    for other in Role:
        name = NAMES.parameters.phase(other, "i-0abc")
        assert allowed(role, "ssm:PutParameter", parameter(name)) == (role is other)


@pytest.mark.parametrize("role", list(Role))
def test_nobody_writes_the_release_and_only_the_leader_the_limits(role: Role) -> None:
    assert not allowed(role, "ssm:PutParameter", parameter(NAMES.parameters.release))
    # an admin may change the most machines on the fleet page
    limits = allowed(role, "ssm:PutParameter", parameter(NAMES.parameters.limits))
    assert limits == (role is Role.LEADER)
    for key in (f"{Key.WHEEL}/x/y.whl", f"{Key.COOKBOOKS}/x", f"{Key.SETTINGS}/x"):
        assert allowed(role, "s3:GetObject", thing(key))
        assert not allowed(role, "s3:PutObject", thing(key))


@pytest.mark.parametrize("role", list(Role))
def test_the_hubs_secrets_and_the_certificate_are_the_leaders(role: Role) -> None:
    secret = parameter(NAMES.parameters.hub_secret("oauth-client-secret"))
    assert allowed(role, "ssm:GetParameter", secret) == (role is Role.LEADER)
    assert not allowed(role, "ssm:PutParameter", secret)
    key = thing(f"{Key.TLS}/notebooks.example.org/letsencrypt.json")
    assert allowed(role, "s3:GetObject", key) == (role is Role.LEADER)
    own = parameter(NAMES.parameters.tls_secret("key"))
    assert allowed(role, "ssm:GetParameter", own) == (role is Role.LEADER)


def test_only_the_leader_writes_the_join_token_and_only_nodes_read_it() -> None:
    token = parameter(NAMES.parameters.swarm_token)
    readers = {role for role in Role if allowed(role, "ssm:GetParameter", token)}
    writers = {role for role in Role if allowed(role, "ssm:PutParameter", token)}
    assert (readers, writers) == (set(NODES), {Role.LEADER})


@pytest.mark.parametrize("role", list(Role))
def test_other_buckets_and_the_whole_bucket_are_closed(role: Role) -> None:
    assert not allowed(role, "s3:GetObject", thing("artifacts/x", bucket=OTHER.bucket))
    assert not allowed(role, "s3:ListBucket", f"arn:aws:s3:::{NAMES.bucket}", s3__prefix="")
    assert not allowed(role, "s3:DeleteObject", thing("artifacts/x"))
    assert not allowed(role, "s3:PutBucketPolicy", f"arn:aws:s3:::{NAMES.bucket}")


@pytest.mark.parametrize("role", NODES)
def test_nodes_cannot_exchange_the_packages_that_others_install(role: Role) -> None:
    package = thing(f"{Key.PACKAGES}/cinc_18.8.54_debian12_x86_64.deb")
    assert allowed(role, "s3:GetObject", package)
    assert not allowed(role, "s3:PutObject", package)


def _instance(deployment: str, role: str) -> dict[str, str | list[str]]:
    tags = {TAG_DEPLOYMENT: deployment, TAG_ROLE: role}
    return {f"ec2:ResourceTag/{key}": value for key, value in tags.items()}


@pytest.mark.parametrize("role", list(Role))
def test_no_machine_ends_instances_by_itself(role: Role) -> None:
    arn = "arn:aws:ec2:eu-central-1:123456789012:instance/i-0abc"
    for action in ("ec2:TerminateInstances", "ec2:StopInstances", "ec2:RunInstances"):
        assert not allowed(role, action, arn, **_instance("demo", "worker"))


def test_the_fleet_ends_members_of_its_own_group_only() -> None:
    action = "autoscaling:TerminateInstanceInAutoScalingGroup"
    base = "arn:aws:autoscaling:eu-central-1:123456789012:autoScalingGroup:0-1:autoScalingGroupName"
    assert allowed(Role.LEADER, action, f"{base}/{NAMES.workers_group('m6i.xlarge')}")
    assert not allowed(Role.LEADER, action, f"{base}/{OTHER.workers_group('m6i.xlarge')}")
    assert not allowed(Role.WORKER, action, f"{base}/{NAMES.workers_group('m6i.xlarge')}")


def test_the_leader_attaches_its_own_volume_to_a_leader_only() -> None:
    volume = "arn:aws:ec2:eu-central-1:123456789012:volume"
    assert allowed(Role.LEADER, "ec2:AttachVolume", f"{volume}/vol-0abc")
    assert not allowed(Role.LEADER, "ec2:AttachVolume", f"{volume}/vol-0def")
    instance = "arn:aws:ec2:eu-central-1:123456789012:instance/i-0abc"
    assert allowed(Role.LEADER, "ec2:AttachVolume", instance, **_instance("demo", "leader"))
    assert not allowed(Role.LEADER, "ec2:AttachVolume", instance, **_instance("demo", "worker"))
    assert not allowed(Role.LEADER, "ec2:AttachVolume", instance, **_instance("x", "leader"))


@pytest.mark.parametrize("role", list(Role))
def test_an_address_is_registered_for_ones_own_name_only(role: Role) -> None:
    service = "arn:aws:servicediscovery:eu-central-1:123456789012:service/srv-1"
    ours = {f"aws:ResourceTag/{TAG_DEPLOYMENT}": "demo"}
    theirs = {f"aws:ResourceTag/{TAG_DEPLOYMENT}": "demo2"}
    may = role in (Role.CHEF, Role.LEADER)
    assert allowed(role, "servicediscovery:RegisterInstance", service, **ours) == may
    assert not allowed(role, "servicediscovery:RegisterInstance", service, **theirs)
    zone = "arn:aws:route53:::hostedzone/ZPRIVATE"
    names = "route53:ChangeResourceRecordSetsNormalizedRecordNames"
    own = {Role.CHEF: "chef.demo.internal", Role.LEADER: "leader.demo.internal"}.get(role, "")
    change = "route53:ChangeResourceRecordSets"
    assert allowed(role, change, zone, **{names: [own]}) == may
    assert not allowed(role, change, zone, **{names: ["notebooks.example.org"]})


def test_the_leader_proves_its_domain_and_changes_no_other_record() -> None:
    names = "route53:ChangeResourceRecordSetsNormalizedRecordNames"
    types = "route53:ChangeResourceRecordSetsRecordTypes"
    change, zone = "route53:ChangeResourceRecordSets", "arn:aws:route53:::hostedzone/Z123"
    proof = {names: ["_acme-challenge.notebooks.example.org"], types: ["TXT"]}
    assert allowed(Role.LEADER, change, zone, **proof)
    assert not allowed(Role.LEADER, change, zone, **{**proof, types: ["A"]})
    assert not allowed(Role.LEADER, change, zone, **{**proof, names: ["www.example.org"]})


def test_without_ids_the_leader_gets_no_right_instead_of_every() -> None:
    bare = policy(Role.LEADER, NAMES, bucket=NAMES.bucket)
    actions = {action for one in bare["Statement"] for action in one["Action"]}
    assert not actions & {"ec2:AttachVolume", "elasticfilesystem:DescribeFileSystems"}
    zones = [one for one in bare["Statement"] if one["Sid"] == "AnswerCertificateChallenge"]
    assert not zones


@pytest.mark.parametrize("role", list(Role))
def test_no_machine_touches_iam_kms_or_other_accounts(role: Role) -> None:
    for action in ("iam:PassRole", "iam:PutRolePolicy", "sts:AssumeRole", "kms:Decrypt"):
        assert not allowed(
            role, action, "arn:aws:iam::123456789012:role/hubdeploy-demo-eu-central-1-leader"
        )
