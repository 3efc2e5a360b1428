"""The metadata tree and its server, without a machine."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hubdeploy.sandbox.imds import MetadataServer, RoleKeys, look_up, tree
from hubdeploy.sandbox.machines import container, dns
from hubdeploy.sandbox.machines.interface import MachineSpec

SPEC = MachineSpec(
    instance_id="i-0123",
    image_id="ami-1",
    instance_type="t3.medium",
    private_ip="10.0.0.9",
    vpc_cidr="10.0.0.0/16",
    hostname="ip-10-0-0-9",
    tags={"hubdeploy:role": "worker"},
    user_data=b"#!/bin/sh\n\xff",
    zone="eu-central-1a",
    region="eu-central-1",
    account="123456789012",
    role_name="worker",
    launched=datetime(2026, 11, 1, tzinfo=UTC),
    key_names=("mine",),
    public_keys=("ssh-ed25519 AAAA me",),
    volumes={"vol-1": "/dev/sdf"},
)
KEYS = RoleKeys(access_key="ASIA1", secret_key="s", token="t")


def test_a_specification_survives_as_a_label() -> None:
    assert container.decode(container.encode(SPEC)) == SPEC


def test_folders_list_what_is_in_them() -> None:
    found = tree(SPEC, keys=KEYS, spot=None)
    assert look_up(found, "") == b"dynamic/\nmeta-data/\nuser-data"
    assert look_up(found, "meta-data/public-keys/") == b"0=mine"
    assert look_up(found, "meta-data/public-keys/0/") == b"openssh-key"
    assert look_up(found, "meta-data/spot") is None
    assert look_up(found, "user-data") == b"#!/bin/sh\n\xff"


def test_credentials_have_the_form_that_sdks_read() -> None:
    text = look_up(tree(SPEC, keys=KEYS, spot=None), "meta-data/iam/security-credentials/worker")
    found = json.loads(text or b"")
    assert (found["Code"], found["AccessKeyId"], found["Token"]) == ("Success", "ASIA1", "t")
    ends = datetime.strptime(found["Expiration"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert ends > datetime.now(UTC)


def test_an_announced_reclaim_shows_its_time() -> None:
    when = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
    text = look_up(tree(SPEC, keys=None, spot=when), "meta-data/spot/instance-action")
    assert json.loads(text or b"") == {"action": "terminate", "time": "2026-11-02T12:00:00Z"}


class Source:
    def spec_at(self, address: str) -> MachineSpec | None:
        return SPEC if address == SPEC.private_ip else None

    def role_keys(self, spec: MachineSpec) -> RoleKeys | None:
        return KEYS if spec is SPEC else None

    def spot_notice(self, instance_id: str) -> datetime | None:
        del instance_id
        return None

    def names(self, name: str) -> list[str] | None:
        return ["10.0.0.1"] if name == "leader.demo.internal" else None


class Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("metadata")
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self.path))


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    server = MetadataServer(tmp_path / "m.sock", Source())
    opened = Connection(tmp_path / "m.sock")
    yield opened
    opened.close()
    server.close()


def ask(
    connection: Connection,
    method: str,
    path: str,
    *,
    address: str = SPEC.private_ip,
    body: bytes | None = None,
    **headers: str,
) -> tuple[int, bytes]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body=body, headers={"X-Forwarded-For": address, **names})
    response = connection.getresponse()
    return response.status, response.read()


def token(connection: Connection, ttl: str = "60") -> tuple[int, bytes]:
    return ask(connection, "PUT", "/latest/api/token", X_aws_ec2_metadata_token_ttl_seconds=ttl)


def test_a_token_opens_the_metadata_to_its_owner(connection: Connection) -> None:
    status, value = token(connection)
    assert status == 200
    found = ask(
        connection, "GET", "/latest/meta-data/instance-id", X_aws_ec2_metadata_token=value.decode()
    )
    assert found == (200, b"i-0123")


@pytest.mark.parametrize("ttl", ["0", "21601", "soon", ""])
def test_a_token_needs_a_life_time_in_bounds(connection: Connection, ttl: str) -> None:
    assert token(connection, ttl)[0] == 400


def test_wrong_tokens_and_strange_addresses_get_nothing(connection: Connection) -> None:
    wrong = ask(connection, "GET", "/latest/user-data", X_aws_ec2_metadata_token="nobody's")
    assert wrong[0] == 401
    assert ask(connection, "GET", "/latest/user-data", address="10.0.0.66")[0] == 404


def test_queries_for_names_are_answered_or_passed_on(connection: Connection) -> None:
    own = ask(connection, "POST", "/dns-query", body=dns.question("leader.demo.internal"))
    assert own[0] == 200
    assert own[1].endswith(bytes([10, 0, 0, 1]))
    assert ask(connection, "POST", "/dns-query", body=dns.question("example.org"))[0] == 204
