"""When a machine leaves, and what the swarm module decides."""

from __future__ import annotations

from typing import Any

import pytest

from hubdeploy.config.names import Phase, Role
from hubdeploy.errors import HubdeployError
from hubdeploy.node import converging, doctor, images, leaving, phases, swarm, system
from tests.plugins.deployment import Site, settings_of

SHUTDOWN = "123 poweroff.target start waiting\n124 shutdown.target start waiting\n"
HALT = "12 halt.target start waiting\n"
REBOOT = "123 reboot.target start waiting\n124 shutdown.target start waiting\n"
STOPPED = "99 hubdeploy-leave.service stop running\n"


@pytest.mark.parametrize(
    ("jobs", "ending"), [(SHUTDOWN, True), (HALT, True), (REBOOT, False), (STOPPED, False)]
)
def test_only_the_end_of_the_machine_counts(
    site: Site, monkeypatch: pytest.MonkeyPatch, jobs: str, ending: bool
) -> None:
    monkeypatch.setattr(system, "systemctl", lambda *_, **__: jobs)
    with site.machine(Role.WORKER) as cloud:
        assert leaving.is_ending(cloud) is ending
        if not ending:
            assert leaving.leave(cloud) is False
    assert ending or not site.account.calls.find("ssm:PutParameter", role=None)


def test_the_leader_never_leaves_its_own_swarm(site: Site) -> None:
    with site.machine(Role.LEADER) as cloud, pytest.raises(HubdeployError, match="would end"):
        swarm.leave(cloud)


def _said(site: Site) -> tuple[str, str]:
    said = site.get_json(site.names.parameters.phase(Role.WORKER, "i-0a"))
    return said["phase"], said["detail"]


@pytest.mark.parametrize("before", [Phase.READY, Phase.JOINING])
def test_a_worker_that_cannot_rejoin_says_why_and_is_ready_once_it_can(
    site: Site, monkeypatch: pytest.MonkeyPatch, before: Phase
) -> None:
    def refused(_: object) -> bool:
        raise swarm.SwarmError("The swarm at 10.0.0.1:2377 could not be joined: no route")

    with site.machine(Role.WORKER, "i-0a") as cloud:
        phases.put(cloud, before)
        monkeypatch.setattr(swarm, "join", refused)
        with pytest.raises(swarm.SwarmError):
            swarm.join_again(cloud)
        phase, detail = _said(site)
        assert phase == Phase.JOINING
        assert "10.0.0.1:2377 could not be joined: no route" in detail
        monkeypatch.setattr(swarm, "join", lambda _: True)
        swarm.join_again(cloud)
    assert _said(site) == (Phase.READY, "")


def test_a_rejoin_does_not_hide_that_the_machine_is_taken_away(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swarm, "join", lambda _: True)
    with site.machine(Role.WORKER, "i-0a") as cloud:
        phases.put(cloud, Phase.DRAINING, "spot: terminate at 2026-11-24T04:00:00Z")
        swarm.join_again(cloud)
    assert _said(site)[0] == Phase.DRAINING


def test_swarm_has_the_upper_half_of_dockers_addresses() -> None:
    assert swarm.upper_half("10.200.0.0/14") == "10.202.0.0/15"


def test_every_choosable_image_is_pulled_once_the_default_first(site: Site) -> None:
    hub = {"image": "a:1", "profiles": [{"image": "b:1"}, {"image": None}, {"image": "a:1"}]}
    assert images.wanted(settings_of(site.names, hub=hub)) == ["a:1", "b:1"]


@pytest.mark.parametrize(
    ("output", "counted"),
    [
        ("Infra Phase complete, 3/21 resources updated in 06 seconds", (3, 21)),
        ("Cinc Client Infra Phase complete, 0/102 resources updated in 01 minutes 2 s", (0, 102)),
        ("Running handlers:\nInfra Phase failed. 1/7 resources updated in 1 s", (1, 7)),
        ("no such thing", (0, 0)),
    ],
)
def test_the_clients_last_words_are_counted(output: str, counted: tuple[int, int]) -> None:
    assert converging.counts(output) == counted


def test_the_reason_of_a_failed_run_is_found_among_its_noise() -> None:
    output = (
        "Recipe: hub_base::docker\n[2026-11-24T04:00:00+00:00] FATAL: Stacktrace dumped\n"
        "[2026-11-24T04:00:00+00:00] FATAL: Mixlib::ShellOut::ShellCommandFailed: apt said no\n"
    )
    assert converging.reason(output) == "Mixlib::ShellOut::ShellCommandFailed: apt said no"
    assert converging.reason("") == "the client said nothing"


# ----------------------------------------------------------------------------------- doctor


def test_swarm_nodes_and_servers_are_told_in_short() -> None:
    raw: dict[str, Any] = {
        "ID": "n1",
        "Description": {"Hostname": "ip-10-42-1-1"},
        "Spec": {
            "Role": "worker",
            "Availability": "active",
            "Labels": {"hubdeploy.instance": "i-0a"},
        },
        "Status": {"State": "ready", "Addr": "10.42.1.1"},
    }
    told = doctor.node(raw)
    assert (told["instance"], told["state"], told["address"]) == ("i-0a", "ready", "10.42.1.1")
    services: list[dict[str, Any]] = [
        {"ID": "s1", "Spec": {"Name": "jupyter-ada", "Labels": {"hubdeploy.user": "ada"}}},
        {"ID": "s2", "Spec": {"Name": "other"}},
    ]
    tasks = [
        {"ServiceID": "s1", "NodeID": "n1", "Status": {"State": "pending", "Err": "no room"}},
        {"ServiceID": "gone", "NodeID": "n1", "Status": {"State": "running"}},
        {"ServiceID": "gone", "NodeID": "n1", "Status": {"State": "complete"}},
    ]
    server, other, orphans = doctor.servers(services, tasks)
    assert server["user"] == "ada"
    assert server["tasks"] == [{"state": "pending", "error": "no room", "node": "n1"}]
    # what is nobody's is told as well: the doctor has to see it
    assert (other["name"], other["user"], other["tasks"]) == ("other", "", [])
    assert (orphans["name"], [task["state"] for task in orphans["tasks"]]) == ("", ["running"])


@pytest.mark.parametrize("role", list(Role))
def test_facts_never_fail_and_name_what_could_not_be_told(site: Site, role: Role) -> None:
    with site.machine(role) as cloud:
        told = doctor.facts(cloud)
    assert told["role"] == role.value
    assert told["identity"]["instance_id"] == "i-00000000000000001"
    assert told["memory"]["total"] > told["memory"]["available"] > 0
    assert all(isinstance(reason, str) for reason in told["problems"].values())
