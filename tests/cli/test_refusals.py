"""What a person sees when AWS refuses, or cannot be reached: one line, a hint, exit code 1.

The commands run as on AWS, not with ``--sandbox``: their calls to ``*.amazonaws.com`` are led to
the embedded AWS by a proxy.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.plugins.aws import CloudAccount
from tests.plugins.interception import intercepted
from tests.steps.rig import WAITS

from hubdeploy.cli.main import main

Hubdeploy = Callable[..., tuple[int, str]]


@pytest.fixture
def hubdeploy(
    cloud: CloudAccount,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Hubdeploy]:
    """Runs a command against the account; gives its exit code and what it says on stderr."""
    (tmp_path / "hubdeploy.toml").write_text(
        f'name = "demo"\nregion = "{cloud.region}"\n[waits]\n'
        + "".join(f"{name} = {seconds}\n" for name, seconds in WAITS.items())
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["hubdeploy", *words])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, capsys.readouterr().err

    with intercepted(cloud.endpoint_url, tmp_path) as environ:
        for name, value in {**environ, **cloud.credentials.environ()}.items():
            monkeypatch.setenv(name, value)
        yield run


def refusal(ran: tuple[int, str]) -> tuple[str, str]:
    """The line and the hint of a command that failed as it should."""
    code, said = ran
    assert code == 1, said
    assert "Traceback" not in said
    error, hint = [line for line in said.splitlines() if line.startswith(("error:", "hint:"))]
    return error, hint


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("InvalidClientTokenId", "aws sts get-caller-identity"),
        ("ExpiredToken", "renew them"),
        ("SignatureDoesNotMatch", "secret key"),
        ("MissingAuthenticationToken", "incomplete"),
        ("InvalidAccessKeyId", "aws sts get-caller-identity"),
        ("TokenRefreshRequired", "renew them"),
        ("InvalidToken", "aws sts get-caller-identity"),
        ("AccessDenied", "hubdeploy policy"),
    ],
)
def test_credentials_that_aws_does_not_take(
    hubdeploy: Hubdeploy, cloud: CloudAccount, code: str, hint: str
) -> None:
    cloud.faults.inject("sts", "GetCallerIdentity", code, message="No.", status=403)
    line, advice = refusal(hubdeploy("plan"))
    assert line == f"error: sts get_caller_identity: No. ({code})"
    assert hint in advice


@pytest.mark.parametrize(
    ("operation", "code", "hint"),
    [
        ("DescribeVpcs", "OptInRequired", "enable the region"),
        ("DescribeVpcs", "UnauthorizedOperation", "hubdeploy policy"),
        ("DescribeVpcs", "AuthFailure", "aws sts get-caller-identity"),
    ],
)
def test_an_account_that_may_not(
    hubdeploy: Hubdeploy, cloud: CloudAccount, operation: str, code: str, hint: str
) -> None:
    cloud.faults.inject("ec2", operation, code, message="Not you.")
    line, advice = refusal(hubdeploy("plan"))
    assert f"Not you. ({code})" in line
    assert hint in advice


@pytest.mark.parametrize(
    ("service", "operation", "code", "hint"),
    [
        ("ec2", "CreateVpc", "PendingVerification", "checks this account"),
        ("ec2", "CreateSubnet", "InvalidParameterValue", "network.zones"),
        ("ec2", "RunInstances", "VcpuLimitExceeded", "vCPUs"),
        ("ec2", "AllocateAddress", "AddressLimitExceeded", "Service Quotas"),
        ("ec2", "CreateVpc", "UnauthorizedOperation", "hubdeploy policy"),
        ("iam", "CreateRole", "AccessDenied", "hubdeploy policy"),
        ("ec2", "RunInstances", "Unsupported", "choose an instance type or zones"),
        ("efs", "CreateMountTarget", "UnsupportedAvailabilityZone", "network.zones"),
        ("iam", "CreateRole", "EntityAlreadyExists", "another `name`"),
        ("efs", "CreateFileSystem", "ExpiredToken", "renew them"),
    ],
)
def test_up_that_aws_refuses_a_part_of(
    hubdeploy: Hubdeploy,
    cloud: CloudAccount,
    service: str,
    operation: str,
    code: str,
    hint: str,
) -> None:
    cloud.faults.inject(service, operation, code, message="Cannot be.")
    line, advice = refusal(hubdeploy("up", "--yes"))
    assert f"Cannot be. ({code})" in line
    assert hint in advice


@pytest.mark.parametrize(
    ("lines", "said", "hint"),
    [
        (
            'domain = "nowhere.example"\n[tls]\nemail = "ada@example.org"\n',
            "no public Route 53 zone for nowhere.example",
            "create the zone, correct the domain",
        ),
        (
            '[network]\nzones = ["eu-central-1a", "eu-central-1x"]\n',
            "eu-central-1x is no zone that this account can use",
            "choose among eu-central-1a",
        ),
        ("[network]\nzones = 6\n", "6 zones wanted", "set zones to 3 or less"),
        (
            '[workers]\ninstance_types = ["m6i.gigantic"]\n',
            "hubdeploy.toml:4: workers.instance_types: EC2 has no instance type m6i.gigantic",
            "another instance type",
        ),
        (
            '[leader]\ninstance_type = "m6i.gigantic"\n',
            "hubdeploy.toml:4: leader.instance_type: EC2 has no instance type m6i.gigantic",
            "another instance type",
        ),
    ],
)
@pytest.mark.parametrize("command", [("plan",), ("up", "--yes")])
def test_what_the_account_or_the_region_does_not_have(
    hubdeploy: Hubdeploy,
    cloud: CloudAccount,
    tmp_path: Path,
    command: tuple[str, ...],
    lines: str,
    said: str,
    hint: str,
) -> None:
    file = tmp_path / "hubdeploy.toml"
    first, waits = file.read_text().split("[waits]")
    file.write_text(f"{first}{lines}[waits]{waits}")
    cloud.calls.clear()
    line, advice = refusal(hubdeploy(*command))
    assert said in line
    assert hint in advice
    assert cloud.calls.mutations(account=cloud.account) == []


def test_a_bucket_name_that_another_account_has(hubdeploy: Hubdeploy, cloud: CloudAccount) -> None:
    cloud.faults.inject("s3", "CreateBucket", "BucketAlreadyExists")
    line, advice = refusal(hubdeploy("up", "--yes"))
    assert f"the bucket name hubdeploy-demo-{cloud.account}-{cloud.region} belongs to" in line
    assert "another name" in advice


def test_the_name_of_anothers_role_is_left_to_it(hubdeploy: Hubdeploy, cloud: CloudAccount) -> None:
    name = f"hubdeploy-demo-{cloud.region}-leader"
    cloud.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument="{}")
    line, advice = refusal(hubdeploy("plan"))
    assert f"the IAM role {name} exists and is not this deployment's" in line
    assert "another name" in advice


@pytest.mark.parametrize("command", [("plan",), ("up", "--yes")])
def test_a_hub_that_lets_anybody_in_is_not_made(
    hubdeploy: Hubdeploy, tmp_path: Path, command: tuple[str, ...]
) -> None:
    with (tmp_path / "hubdeploy.toml").open("a") as file:
        file.write('[hub.authenticator]\nkind = "dummy"\n')
    code, said = hubdeploy(*command)
    assert code == 2
    first, hint = said.splitlines()
    assert "hubdeploy.toml:" in first
    assert "'dummy' lets anybody in" in first
    assert "--sandbox" in hint


def test_no_credentials_and_halves_of_them(
    hubdeploy: Hubdeploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    line, advice = refusal(hubdeploy("plan"))
    assert "missing: AWS_SECRET_ACCESS_KEY" in line.replace(
        "AWS_SECRET_KEY", "AWS_SECRET_ACCESS_KEY"
    )
    assert "together" in advice
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    line, advice = refusal(hubdeploy("plan"))
    assert "no AWS credentials found" in line
    assert "--sandbox" in advice


def test_a_profile_that_is_not_there(hubdeploy: Hubdeploy) -> None:
    line, advice = refusal(hubdeploy("plan", "--profile", "teh"))
    assert "(teh) could not be found" in line
    assert "list-profiles" in advice


def with_profile(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    """``--profile ours`` means these lines, and no keys from the environment."""
    path = folder / "aws-config"
    path.write_text(text)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def test_a_sign_in_that_was_never_made_or_is_over(
    hubdeploy: Hubdeploy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = (
        "[profile ours]\nsso_session = us\nsso_account_id = 123456789012\nsso_role_name = Ops\n"
        "[sso-session us]\nsso_region = eu-central-1\nsso_start_url = https://us.example/start\n"
    )
    with_profile(monkeypatch, tmp_path, session)
    line, advice = refusal(hubdeploy("plan", "--profile", "ours"))
    assert "sign-in has expired" in line
    assert "aws sso login" in advice


def test_a_helper_that_gives_no_credentials(
    hubdeploy: Hubdeploy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "[profile ours]\ncredential_process = /bin/sh -c 'echo locked >&2; exit 3'\n"
    with_profile(monkeypatch, tmp_path, text)
    line, advice = refusal(hubdeploy("plan", "--profile", "ours"))
    assert "locked" in line
    assert "credential_process" in advice


def test_a_proxy_that_is_not_there(hubdeploy: Hubdeploy, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{taken.getsockname()[1]}")
        line, advice = refusal(hubdeploy("plan"))
    assert "proxy" in line
    assert "HTTPS_PROXY" in advice


def test_a_connection_that_somebody_looks_into(
    hubdeploy: Hubdeploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE")
    line, advice = refusal(hubdeploy("plan"))
    assert "no trusted connection" in line
    assert "AWS_CA_BUNDLE" in advice


def test_the_whole_life_of_a_deployment_as_on_aws(
    hubdeploy: Hubdeploy, cloud: CloudAccount
) -> None:
    assert hubdeploy("up", "--yes")[0] == 0
    assert hubdeploy("plan", "--detailed-exitcode")[0] == 0
    assert hubdeploy("status")[0] == 0
    code, said = hubdeploy("down", "--yes")
    assert code == 0, said
    assert len(cloud.aws.pages("efs", "describe_file_systems", "FileSystems")) == 1


def test_a_down_that_something_blocks_names_it_and_the_next_one_finishes_the_rest(
    hubdeploy: Hubdeploy, cloud: CloudAccount, tmp_path: Path
) -> None:
    assert hubdeploy("up", "--yes")[0] == 0
    ec2, file = cloud.client("ec2"), tmp_path / "hubdeploy.toml"
    file.write_text(file.read_text().replace("delete = 20", "delete = 2"))
    subnet = next(s for s in ec2.describe_subnets()["Subnets"] if s.get("Tags"))["SubnetId"]
    interface = ec2.create_network_interface(SubnetId=subnet, Description="somebody's own")
    name = interface["NetworkInterface"]["NetworkInterfaceId"]
    # what carries the deployment's tag, but was made by hand
    tags = [{"Key": "hubdeploy:deployment", "Value": "demo"}]
    address = ec2.allocate_address(
        Domain="vpc", TagSpecifications=[{"ResourceType": "elastic-ip", "Tags": tags}]
    )["AllocationId"]

    line, advice = refusal(hubdeploy("down", "--yes"))
    assert f"blocked by {name} (somebody's own)" in line
    assert "run `hubdeploy down` again" in advice
    ec2.delete_network_interface(NetworkInterfaceId=name)
    line, advice = refusal(hubdeploy("down", "--yes"))
    assert f"Elastic IP {address}" in line
    assert "run `hubdeploy down` again" in advice
    line, advice = refusal(hubdeploy("down", "--yes"))
    assert f"1 left: Elastic IP {address}" in line
    ec2.release_address(AllocationId=address)
    assert hubdeploy("down", "--yes")[0] == 0
