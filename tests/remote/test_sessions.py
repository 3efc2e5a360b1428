"""Session Manager's port forwarding: the session by the embedded AWS, the plugin a stand-in."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.plugins.goiardi import Goiardi
from tests.plugins.standing import Standing

from hubdeploy.chef.objects import Node
from hubdeploy.chef.objects import Role as ChefRole
from hubdeploy.chef.server import ChefServer
from hubdeploy.config.names import Role
from hubdeploy.errors import RemoteError
from hubdeploy.operate import chefserver, policy, status
from hubdeploy.remote.channel import Target
from hubdeploy.remote.sessions import PLUGIN, SsmTunnel, installed
from hubdeploy.sandbox.cloud.overlay.sessions import open_sessions

STAND_IN = Path(__file__).with_name("session-manager-plugin.py")
Record = Callable[[], dict[str, Any]]


@pytest.fixture
def plugin(tmp_path: Path, goiardi: Goiardi, monkeypatch: pytest.MonkeyPatch) -> Record:
    """The stand-in on PATH, forwarding to a Chef server; gives what it was told."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / PLUGIN
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {STAND_IN} "$@"\n')
    program.chmod(0o755)
    record = tmp_path / "told.json"
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("PLUGIN_RECORD", str(record))
    monkeypatch.setenv("PLUGIN_TARGET", goiardi.connect)
    return lambda: json.loads(record.read_text())


def machine(standing: Standing, label: str = Role.CHEF) -> Target:
    there = status.machines(aws=standing.aws, names=standing.names)
    return next(m.target for m in there if m.role == label)


def sessions(standing: Standing) -> dict[str, str]:
    return open_sessions(standing.cloud.cloud, standing.cloud.account, standing.cloud.region)


def test_the_chef_server_is_asked_through_session_manager(
    standing: Standing, plugin: Record, goiardi: Goiardi
) -> None:
    chef = machine(standing)
    with SsmTunnel(aws=standing.aws).open(chef, port=443) as local:
        assert list(sessions(standing).values()) == [chef.instance_id]
        with ChefServer(
            goiardi.url,
            client="admin",
            key=goiardi.admin_key,
            trust=goiardi.certificate,
            connect=local,
        ) as server:
            assert server.check().flavour == "goiardi"
    assert sessions(standing) == {}
    told = plugin()
    assert told["wanted"] == {
        "Target": chef.instance_id,
        "DocumentName": "AWS-StartPortForwardingSession",
        "Parameters": {"portNumber": ["443"]},
    }
    assert (told["operation"], told["region"]) == ("StartSession", standing.names.region)


def test_the_sessions_token_is_on_no_command_line(standing: Standing, plugin: Record) -> None:
    with SsmTunnel(aws=standing.aws).open(machine(standing), port=443):
        told = plugin()
        line = Path(f"/proc/{told['pid']}/cmdline").read_text()
    token = told["session"]["TokenValue"]
    assert len(token) > 20
    assert token not in line
    assert token not in " ".join(told["argv"])
    assert not Path(f"/proc/{told['pid']}").exists()


def test_the_operators_policy_suffices_and_reaches_no_other_machine(
    standing: Standing, plugin: Record
) -> None:
    limited = standing.cloud.restricted(policy.document(standing.names))
    with SsmTunnel(aws=limited).open(machine(standing), port=443):
        assert plugin()["wanted"]
    other = policy.document(
        type(standing.names)(
            deployment="other", region=standing.names.region, account=standing.names.account
        )
    )
    stranger = SsmTunnel(aws=standing.cloud.restricted(other))
    with pytest.raises(Exception, match="AccessDenied"), stranger.open(machine(standing), port=443):
        pass


def test_what_the_plugin_says_when_it_fails_is_told_and_the_session_ended(
    standing: Standing, plugin: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLUGIN_FAILS", "1")
    with (
        pytest.raises(RemoteError, match="Cannot perform start session: EOF"),
        SsmTunnel(aws=standing.aws).open(machine(standing), port=443),
    ):
        pass
    assert plugin()["session"]["SessionId"]
    assert sessions(standing) == {}


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("version", ["1.2.497.0", "1.1.61.0", "nonsense"])
def test_a_plugin_that_would_show_the_token_is_refused(
    standing: Standing, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setenv("PLUGIN_VERSION", version)
    with (
        pytest.raises(RemoteError, match="would show the session's token"),
        SsmTunnel(aws=standing.aws).open(machine(standing), port=443),
    ):
        pass
    assert not standing.cloud.calls.find("ssm:StartSession")


@pytest.mark.usefixtures("plugin")
def test_a_machine_whose_agent_is_away_is_named(standing: Standing) -> None:
    chef = machine(standing)
    standing.aws.call("ec2", "stop_instances", InstanceIds=[chef.instance_id])
    standing.cloud.wait(
        lambda: not standing.cloud.machines.agent_ready(chef.instance_id), what="the stop"
    )
    with (
        pytest.raises(RemoteError, match="Session Manager does not reach it"),
        SsmTunnel(aws=standing.aws).open(chef, port=443),
    ):
        pass


def test_without_the_plugin_the_other_way_is_named(
    standing: Standing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not installed()
    with (
        pytest.raises(RemoteError) as caught,
        SsmTunnel(aws=standing.aws).open(machine(standing), port=443),
    ):
        pass
    assert "--via ssh" in caught.value.hint


def test_the_operator_sees_nodes_roles_and_cookbooks_and_no_key(
    standing: Standing, plugin: Record, goiardi: Goiardi, caplog: pytest.LogCaptureFixture
) -> None:
    names, aws = standing.names, standing.aws
    there = status.machines(aws=aws, names=names)
    leader = next(m for m in there if m.role == "leader")
    values = {
        names.parameters.chef_state: (json.dumps({"url": goiardi.url, "instance": "i"}), "String"),
        names.parameters.chef_certificate: (goiardi.certificate, "String"),
        names.parameters.chef_admin: (
            json.dumps({"name": "admin", "key": goiardi.admin_key}),
            "SecureString",
        ),
    }
    for name, (value, kind) in values.items():
        aws.call("ssm", "put_parameter", Name=name, Value=value, Type=kind, Overwrite=True)
    with goiardi.server() as admin:
        admin.ensure_role(ChefRole(name="leader", run_list=["recipe[hub_leader]"]))
        admin.save_node(
            Node(
                name=f"demo-leader-{leader.instance_id}",
                run_list=["role[leader]"],
                automatic={"ohai_time": 1_700_000_000.5, "ipaddress": "10.42.1.10"},
            )
        )
        admin.save_node(Node(name="demo-worker-i-0dead", run_list=["role[worker]"]))
    caplog.set_level("DEBUG", logger="hubdeploy")
    way = SsmTunnel(aws=aws)
    with chefserver.connected(way, there, aws=aws, names=names) as server:
        found = chefserver.overview(server, there, names=names)
    assert found.server.startswith("goiardi")
    assert [(n.machine, n.run_list, n.address, n.converged) for n in found.nodes] == [
        ("leader", ["role[leader]"], "10.42.1.10", "2023-11-14T22:13:20+00:00"),
        ("", ["role[worker]"], "", ""),
    ]
    assert [(role.name, role.run_list) for role in found.roles] == [
        ("leader", ["recipe[hub_leader]"])
    ]
    assert "PRIVATE KEY" not in caplog.text
    assert plugin()["wanted"]["Target"] == next(m.instance_id for m in there if m.role == Role.CHEF)
