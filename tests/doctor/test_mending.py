"""``--fix``: what a check offers to mend is mended, and nothing else is touched."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.doctor.conftest import Examine, machine, said, tell
from tests.plugins.standing import Standing

from hubdeploy.aws.lock import held
from hubdeploy.config.names import Role
from hubdeploy.pipeline.step import Severity
from hubdeploy.sandbox.machines.shell import said as prints


def test_a_node_whose_instance_is_gone_is_removed_by_fix(
    standing: Standing, examine: Examine
) -> None:
    there = [
        {"id": "n1", "role": "worker", "hostname": "ghost", "instance": "i-gone", "state": "down"}
    ]
    tell(standing, lambda role: {"nodes": there} if role == Role.LEADER else {})
    removed: list[str] = []

    def docker(_: object, words: list[str]) -> Any:
        removed.append(" ".join(words))
        there.clear()
        return prints("")

    standing.cloud.machines.shell.commands["docker"] = docker
    assert "ghost (down) has no instance" in said(examine(standing, "swarm.nodes"))
    report = examine(standing, "swarm.nodes", fix=True)
    assert report.repaired == "1 nodes removed from the swarm"
    assert any("node rm --force n1" in words for words in removed)
    assert "ghost" not in said(report)


def test_chefs_nodes_are_those_of_the_machines_after_fix(
    standing: Standing, examine: Examine
) -> None:
    now = datetime.now(UTC).timestamp()
    leader, worker = machine(standing, "leader"), machine(standing, "worker/1")
    other = machine(standing, "worker/2")
    nodes = [
        {"name": "demo-leader", "instance": leader.instance_id, "checked_in": now},
        {"name": "demo-worker", "instance": worker.instance_id, "checked_in": now - 86400},
        {"name": "demo-worker-i-gone", "instance": "i-gone", "checked_in": now},
    ]
    forgotten: list[str] = []

    def agent(spec: Any, words: list[str]) -> Any:
        if words[:2] == ["workstation", "forget"]:
            forgotten.append(words[2])
            nodes[:] = [node for node in nodes if node["name"] != words[2]]
        if words == ["register"]:
            nodes.append({"name": "new", "instance": spec.instance_id, "checked_in": now})
        return prints(json.dumps(nodes))

    standing.cloud.machines.shell.commands["hubdeploy-node"] = agent
    found = said(examine(standing, "chef.nodes"))
    assert "worker/2 is no node of the Chef server" in found
    assert "worker/1 last checked in 24 h ago" in found
    assert "node demo-worker-i-gone has no machine" in found
    report = examine(standing, "chef.nodes", fix=True)
    assert report.repaired == "1 nodes forgotten, worker/2 registered"
    assert forgotten == ["demo-worker-i-gone"]
    assert nodes[-1]["instance"] == other.instance_id
    assert said(report) == "worker/1 last checked in 24 h ago"


def test_a_unit_that_failed_is_started_again_and_one_that_was_stopped_is_not(
    standing: Standing, examine: Examine
) -> None:
    units = {"docker": "failed", "jupyterhub": "active", "hubdeploy-tls.timer": "inactive"}
    tell(standing, lambda role: {"units": units} if role == Role.LEADER else {})
    ran: list[list[str]] = []

    def systemctl(spec: Any, words: list[str]) -> Any:
        ran.append([spec.tags["hubdeploy:role"], *words])
        if words[0] == "restart":
            units.update(dict.fromkeys(words[1:], "active"))
        return prints("")

    standing.cloud.machines.shell.commands["systemctl"] = systemctl
    assert "leader: docker is failed" in said(examine(standing, "machines.units"))
    report = examine(standing, "machines.units", fix=True)
    assert report.repaired == "started again: leader: docker"
    assert ran == [["leader", "reset-failed", "docker"], ["leader", "restart", "docker"]]
    assert said(report) == "leader: hubdeploy-tls.timer is inactive"


def test_a_unit_that_cannot_be_started_stays_a_finding_and_says_why(
    standing: Standing, examine: Examine
) -> None:
    tell(standing, lambda role: {"units": {"docker": "failed"}} if role == Role.LEADER else {})
    standing.cloud.machines.shell.commands["systemctl"] = lambda _, __: prints(
        code=1, error="Job for docker.service failed\n"
    )
    report = examine(standing, "machines.units", fix=True)
    assert report.severity is Severity.ERROR
    assert "could not be repaired: leader: exit code 1: Job for docker" in report.repaired


def test_a_certificate_that_ends_is_asked_for_anew(standing: Standing, examine: Examine) -> None:
    def ends(days: int) -> dict[str, Any]:
        return {"certificate": {"not_after": (datetime.now(UTC) + timedelta(days)).isoformat()}}

    facts, asked = ends(3), list[list[str]]()

    def agent(_: Any, words: list[str]) -> Any:
        if words[:1] == ["tls"]:
            asked.append(words)
            facts.update(ends(90))
        return prints(json.dumps(facts))

    standing.cloud.machines.shell.commands["hubdeploy-node"] = agent
    assert "the certificate ends on" in said(examine(standing, "hub.certificate"))
    report = examine(standing, "hub.certificate", fix=True)
    assert asked == [["tls", "ensure", "--renew"]]
    assert (report.severity, report.repaired) == (Severity.OK, "asked for anew")


def targets(standing: Standing) -> list[str]:
    (system,) = standing.aws.pages("efs", "describe_file_systems", "FileSystems")
    found = standing.aws.call("efs", "describe_mount_targets", FileSystemId=system["FileSystemId"])[
        "MountTargets"
    ]
    return sorted(target["MountTargetId"] for target in found)


def test_a_missing_mount_target_is_made_again_and_nothing_else(
    standing: Standing, examine: Examine
) -> None:
    first = targets(standing)
    standing.aws.call("efs", "delete_mount_target", MountTargetId=first[0])
    found = examine(standing, "efs")
    assert "has no mount target" in said(found)
    standing.aws.call(
        "autoscaling",
        "update_auto_scaling_group",
        AutoScalingGroupName=standing.names.workers_group("m6i.xlarge"),
        MaxSize=7,
    )
    report = examine(standing, "efs", fix=True)
    assert (report.severity, report.repaired) == (Severity.OK, "1 mount target made")
    assert len(targets(standing)) == len(first)
    assert examine(standing, "drift").findings, "what else has drifted is left for `up`"


def test_mount_targets_wait_while_somebody_else_changes_the_deployment(
    standing: Standing, examine: Examine
) -> None:
    first = targets(standing)
    standing.aws.call("efs", "delete_mount_target", MountTargetId=first[0])
    with held(standing.aws, standing.names, purpose="up"):
        report = examine(standing, "efs", fix=True)
    assert report.severity is Severity.ERROR
    assert "is being changed: up by" in report.repaired


def test_mount_targets_alone_are_not_made_where_more_is_missing(
    standing: Standing, examine: Examine
) -> None:
    first = targets(standing)
    standing.aws.call("efs", "delete_mount_target", MountTargetId=first[0])
    (group,) = standing.aws.call(
        "ec2",
        "describe_security_groups",
        Filters=[{"Name": "tag:hubdeploy:resource", "Values": ["firewall.worker"]}],
    )["SecurityGroups"]
    rules = group["IpPermissions"]
    standing.aws.call(
        "ec2", "revoke_security_group_ingress", GroupId=group["GroupId"], IpPermissions=rules
    )
    report = examine(standing, "efs", fix=True)
    assert report.severity is Severity.ERROR
    assert "`hubdeploy up` makes it" in report.repaired
