"""With a deployment: break one thing, see the finding, and see the rest stay silent."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.doctor.conftest import Examine, machine, said, tell
from tests.plugins.standing import Standing

from hubdeploy.config.names import Phase, Role
from hubdeploy.operate import status
from hubdeploy.pipeline.step import Severity
from hubdeploy.sandbox.machines.shell import said as prints


def test_a_healthy_deployment_has_no_error(standing: Standing, examine: Examine) -> None:
    for name in ("drift", "machines.phase", "machines.ec2", "machines.agent", "workers.group",
                 "backups", "versions", "efs", "hub.health", "hub.certificate", "chef.nodes",
                 "leftovers", "hub.url", "domain.answer", "access.address"):  # fmt: skip
        report = examine(standing, name)
        assert report.severity is Severity.OK, (name, said(report))


def test_drift_names_the_resource_and_how_to_mend_it(standing: Standing, examine: Examine) -> None:
    standing.aws.call(
        "autoscaling",
        "update_auto_scaling_group",
        AutoScalingGroupName=standing.names.workers_group("m6i.xlarge"),
        MaxSize=7,
    )
    report = examine(standing, "drift")
    assert report.findings[0].subject == "workers.m6i.xlarge"
    assert "m6i.xlarge" in said(report)
    assert "hubdeploy up" in report.findings[0].hint


def test_a_failed_machine_says_why(standing: Standing, examine: Examine) -> None:
    worker = machine(standing, "worker/1")
    standing.aws.call(
        "ssm",
        "put_parameter",
        Name=standing.names.parameters.phase(Role.WORKER, worker.instance_id),
        Value=json.dumps({"phase": Phase.FAILED, "detail": "no room on disk"}),
        Type="String",
        Overwrite=True,
    )
    assert "worker/1 failed: no room on disk" in said(examine(standing, "machines.phase"))


def test_a_stopped_machine_is_seen_by_phase_and_agent(standing: Standing, examine: Examine) -> None:
    station = machine(standing, "workstation")
    standing.aws.call("ec2", "stop_instances", InstanceIds=[station.instance_id])
    standing.cloud.wait(lambda: machine(standing, "workstation").state == "stopped")
    assert "workstation" in said(examine(standing, "machines.phase"))


def test_a_missing_leader_is_an_error(standing: Standing, examine: Examine) -> None:
    leader = machine(standing, "leader")
    standing.aws.call("ec2", "terminate_instances", InstanceIds=[leader.instance_id])
    standing.cloud.wait(
        lambda: all(
            m.role != "leader" for m in status.machines(aws=standing.aws, names=standing.names)
        )
    )
    assert "there is no leader" in said(examine(standing, "machines.phase"))
    assert "does not tell how it is" in said(examine(standing, "hub.health"))


def test_a_launch_that_fails_shows_awss_reason(standing: Standing, examine: Examine) -> None:
    standing.cloud.settings.capacity_errors = {"*": "InsufficientInstanceCapacity"}
    standing.aws.call(
        "autoscaling",
        "set_desired_capacity",
        AutoScalingGroupName=standing.names.workers_group("m6i.xlarge"),
        DesiredCapacity=3,
    )
    standing.cloud.wait(lambda: examine(standing, "workers.group").findings, timeout=15)
    assert "could not be launched" in said(examine(standing, "workers.group"))


def server(state: str, error: str) -> dict[str, Any]:
    """Ada's, with one task."""
    task = {"state": state, "error": error}
    return {"name": "jupyter-ada", "user": "ada", "tasks": [task]}


def test_a_machine_that_does_not_tell_how_it_is_is_not_taken_for_healthy(
    standing: Standing, examine: Examine
) -> None:
    standing.cloud.machines.shell.commands["hubdeploy-node"] = lambda _, __: prints("no JSON")
    found = said(examine(standing, "machines.facts"))
    assert "leader does not tell how it is" in found
    assert "worker/1 does not tell how it is" in found


def test_a_worker_that_stays_drained_and_one_that_never_joined_are_seen(
    standing: Standing, examine: Examine
) -> None:
    first = machine(standing, "worker/1")
    nodes = [
        {
            "id": "n1",
            "role": "worker",
            "hostname": "one",
            "instance": first.instance_id,
            "state": "ready",
            "availability": "drain",
        }
    ]
    tell(standing, lambda role: {"nodes": nodes} if role == Role.LEADER else {})
    found = said(examine(standing, "swarm.nodes"))
    assert "worker/1 is drained" in found
    assert "worker/2 is ready but not in the swarm" in found
    nodes[0] |= {"state": "down", "availability": "active"}
    assert "worker/1 is down in the swarm" in said(examine(standing, "swarm.nodes"))


@pytest.mark.parametrize(
    ("name", "facts", "expected"),
    [
        (
            "machines.disk",
            {"disks": {"/": {"size": 100, "used": 97}}},
            "leader: / is 97% full",
        ),
        (
            "machines.disk",
            {"memory": {"total": 100 << 20, "available": 1 << 20}},
            "only 1 MiB of memory",
        ),
        ("efs.mounts", {"mounts": {"/efs": False}}, "/efs is not mounted"),
        ("machines.units", {"units": {"docker": "failed"}}, "docker is failed"),
        (
            "chef.converge",
            {"converge": {"ok": False, "error": "apt", "at": datetime.now(UTC).isoformat()}},
            "the last converge failed: apt",
        ),
        (
            "chef.converge",
            {"converge": {"ok": True, "at": "2020-01-01T00:00:00+00:00"}},
            "last converged at 2020-01-01",
        ),
        ("hub.health", {"hub": {"ok": False, "status": "503"}}, "the hub does not answer: 503"),
        (
            "hub.certificate",
            {"certificate": {"not_after": (datetime.now(UTC) + timedelta(days=3)).isoformat()}},
            "the certificate ends on",
        ),
        (
            "hub.servers",
            {"services": [server("pending", "no room")]},
            "the server of ada waits: no room",
        ),
        ("hub.servers", {"services": [server("new", "")]}, "the server of ada waits: no room"),
        (
            "hub.servers",
            {"services": [server("rejected", "no image")]},
            "cannot start: no image",
        ),
        ("hub.servers", {"services": [{"name": "stray", "tasks": []}]}, "belongs to no user"),
        (
            "hub.servers",
            {"services": [{"name": "", "user": "", "tasks": [{"state": "running"}]}]},
            "1 tasks run in the swarm whose service is gone",
        ),
        ("hub.health", {"proxy": {"ok": False, "status": "refused"}}, "the proxy does not answer"),
        (
            "hub.certificate",
            {"certificate": {"kind": "acme", "why": "dns", "issuer": "Elsewhere"}},
            "is acme, configured is self-signed: dns (issuer: Elsewhere)",
        ),
        ("machines.facts", {"problems": {"docker": "no answer"}}, "docker cannot be told"),
        ("machines.facts", {"reboot_wanted": True}, "updates wait for a reboot"),
        (
            "swarm.nodes",
            {"nodes": [{"role": "worker", "hostname": "x", "instance": "", "state": "ready"}]},
            "x has no instance label",
        ),
    ],
)
def test_what_a_machine_says_of_itself_is_judged(
    standing: Standing, examine: Examine, name: str, facts: dict[str, Any], expected: str
) -> None:
    tell(standing, lambda role: facts if role == Role.LEADER else {})
    assert expected in said(examine(standing, name))
