"""What users and operators do on an ordinary day."""

from __future__ import annotations

import json
import re
import signal
import threading
from collections import Counter
from typing import Any

import jsonschema
import pytest

from hubdeploy.config.names import LABEL_INSTANCE, LABEL_TYPE, LABEL_ZONE
from hubdeploy.hub.client import HubClientError
from hubdeploy.hub.fleet.admission import WORDS
from tests.cli.schemas import SCHEMAS
from tests.rehearsal.stage import Stage

END = ["Cordon", "Drain", "Unprotect", "Terminate", "ForgetSwarmNode", "ForgetChefNode"]
"""A machine's end, in this order."""

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]


def test_an_up_that_was_killed_half_way_is_finished_by_the_next(stage: Stage) -> None:
    (beginning,) = stage.beginning
    assert beginning.code == -signal.SIGKILL
    assert "leader" in beginning.instances
    now = stage.instances()
    for role, ids in beginning.instances.items():
        assert set(ids) <= set(now[role])
    assert [len(now[role]) for role in ("leader", "chef-server", "workstation")] == [1, 1, 1]
    # both together, on two cores; one alone takes about a minute
    assert beginning.seconds < 240


def test_a_users_file_is_there_on_whichever_machine_the_server_runs(stage: Stage) -> None:
    told: list[str] = []
    with stage.user("ada") as ada:
        ada.start(told=lambda message, _: told.append(message))
        assert any(told)
        assert "JupyterLab" in ada.open_lab()
        cell = ada.run("open('work.txt', 'w').write('mine'); import os; print(os.getuid())")
        assert (cell.stdout.strip(), cell.error) == ("1000", "")
        first = stage.host_of("ada")
        ada.stop()

        node = f"$(docker node ls -q --filter name={first})"
        stage.on("leader", f"docker node update --availability drain {node}")
        try:
            ada.start()
            assert stage.host_of("ada") not in ("", first)
            ada.open_lab()
            assert ada.read("work.txt") == b"mine"
        finally:
            stage.on("leader", f"docker node update --availability active {node}")
        owner = stage.on("leader", "stat -c '%u:%g %a' /efs/home/ada /efs/home/ada/work.txt")
        assert owner.splitlines() == ["1000:100 700", "1000:100 644"]
        ada.stop()

    with stage.user("bob") as bob:
        bob.start()
        bob.open_lab()
        seen = bob.run("import os; print(os.path.exists('work.txt'), os.listdir('/home'))")
        assert seen.stdout.strip() == "False ['jovyan']"
        bob.stop()


def test_a_notebook_reaches_no_instance_metadata(stage: Stage) -> None:
    with stage.user("eve") as eve:
        eve.start()
        eve.open_lab()
        cell = eve.run(
            "import urllib.request as u\n"
            "try: print(u.urlopen('http://169.254.169.254/latest/meta-data/', timeout=3).read())\n"
            "except OSError as error: print('closed')"
        )
        assert cell.stdout.strip() == "closed"
        eve.stop()


def test_a_worker_has_joined_is_labelled_and_active_with_the_notebook_image(stage: Stage) -> None:
    """It joined drained; what it is was told to swarm by the leader, as no worker may."""
    workers = {m["instance_id"]: m for m in stage.status()["machines"] if m["role"] == "worker"}
    text = stage.on(
        "leader",
        "docker node ls -q --filter role=worker | xargs docker node inspect --format '{{json .}}'",
    )
    nodes = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert len(nodes) == len(workers) == 2
    zones = {
        instance["InstanceId"]: instance["Placement"]["AvailabilityZone"]
        for each in stage.cloud("ec2").describe_instances()["Reservations"]
        for instance in each["Instances"]
    }
    for node in nodes:
        labels, machine = node["Spec"]["Labels"], workers[node["Spec"]["Labels"][LABEL_INSTANCE]]
        assert labels[LABEL_TYPE] == machine["instance_type"]
        assert labels[LABEL_ZONE] == zones[machine["instance_id"]]
        assert node["Spec"]["Availability"] == "active"
        assert node["Status"]["State"] == "ready"
        assert node["Status"]["Addr"] == machine["private_ip"]
        assert machine["phase"] == "ready"
        images = stage.on(machine["label"], "docker image ls --format '{{.Repository}}'")
        assert "notebook" in images


def test_a_full_cluster_grows_for_who_waits_and_shrinks_when_they_leave(stage: Stage) -> None:
    before = stage.workers().keys()
    users = [stage.user(f"full{number}") for number in range(9)]
    told: dict[str, list[str]] = {user.user: [] for user in users}
    failed: list[str] = []

    def begin(number: int) -> None:
        user = users[number]
        try:
            user.start(
                options={"profile": "big"},
                told=lambda message, _: told[user.user].append(message),
                seconds=400,
            )
        except HubClientError as error:
            failed.append(error.message)

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(len(users))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(500)
    assert not failed

    # somebody waited for a machine and was told so
    words = [message for messages in told.values() for message in messages]
    assert any(message.startswith("Starting a machine") for message in words), set(words)
    grown = stage.workers().keys()
    (new,) = grown - before
    assert new in stage.on("workstation", "hubdeploy-node workstation nodes")

    # beyond the limits the answer is clear, and no machine comes: all three are full
    assert sorted(Counter(stage.homes().values()).values()) == [3, 3, 3]
    with stage.user("tenth") as tenth, stage.user("eleventh") as eleventh:
        with pytest.raises(HubClientError) as refused:
            tenth.start(options={"profile": "big"})
        assert WORDS["max_nodes"] in refused.value.message
        tenth.start(options={"profile": "small"}, seconds=200)
        with pytest.raises(HubClientError) as refused:
            eleventh.start()
        # by the fleet's words, or by the hub's own bound, which follows the same limit
        assert refused.value.status == 429
        assert re.search("places are taken|user limit exceeded", refused.value.message)
        tenth.stop()
    assert stage.workers().keys() == grown

    # all leave but one, whose server runs on where it is while an empty machine ends
    stays = users[0]
    stays.open_lab()
    stays.run("open('began', 'w').write(str(__import__('os').getppid()))")
    home = stage.homes()[stays.user]
    for user in users[1:]:
        user.stop()
    stage.wait(lambda: len(stage.workers()) == 2, what="a machine is ended", seconds=240)
    (ended,) = grown - stage.workers().keys()
    assert ended != home
    stage.wait(lambda: len(stage.nodes()) == 2, what="swarm has forgotten it", seconds=60)
    stage.wait(
        lambda: ended not in stage.on("workstation", "hubdeploy-node workstation nodes"),
        what="Chef has forgotten it",
        seconds=150,
    )
    group = stage.status()["group"]
    assert (group["desired"], group["in_service"]) == (2, 2)
    assert stage.homes()[stays.user] == home
    same = stays.run("print(open('began').read() == str(__import__('os').getppid()))")
    assert same.stdout.strip() == "True"
    stays.stop()

    steps = [d.kind for d in stage.decisions(ended) if d.ok]
    assert steps[-len(END) :] == END
    assert not {"Cordon", "Drain", "Terminate"} & {
        d.kind for d in stage.decisions(home) if d.reason.startswith("empty")
    }


def test_a_profile_of_a_type_starts_such_a_machine_and_nobody_else_is_put_there(
    stage: Stage,
) -> None:
    def special() -> list[dict[str, Any]]:
        found = stage.status()["machines"]
        return [m for m in found if m["role"] == "worker" and m["instance_type"] != "t3.medium"]

    assert special() == []
    with stage.user("gina") as gina, stage.user("hugo") as hugo:
        gina.start(options={"profile": "special"}, seconds=400)
        (machine,) = special()
        assert machine["private_ip"].replace(".", "-") in stage.host_of("gina")
        groups = {g["instance_type"]: g for g in stage.status()["groups"]}
        assert groups[machine["instance_type"]]["preference"] == "profiles"
        hugo.start(options={"profile": "small"}, seconds=200)
        assert stage.host_of("hugo") != stage.host_of("gina")
        gina.stop()
        hugo.stop()
    stage.wait(lambda: not special(), what="the machine of its own kind is ended", seconds=240)


def test_the_chef_servers_nodes_are_seen_through_a_tunnel(stage: Stage) -> None:
    found = json.loads(stage.run("chef", "status", "--json").stdout)
    jsonschema.validate(found, SCHEMAS["chef"])
    nodes = {node["machine"]: node for node in found["nodes"] if node["machine"]}
    assert {"leader", "worker/1", "worker/2"} <= set(nodes)
    assert nodes["leader"]["run_list"] == ["role[leader]"]
    assert nodes["worker/1"]["converged"]
    assert {role["name"] for role in found["roles"]} == {"leader", "worker"}
    assert {"hub_base", "hub_leader", "hub_worker"} <= set(found["cookbooks"])


def test_up_again_changes_nothing(stage: Stage) -> None:
    again = stage.up()
    assert again["changed"] is False
    assert stage.run("plan", "--detailed-exitcode", check=False).returncode == 0


def test_the_doctor_finds_nothing_wrong(stage: Stage) -> None:
    ran = stage.run("doctor", "--spawn", "--json", check=False)
    found = json.loads(ran.stdout)
    wrong = [c for c in found["checks"] if c["severity"] == "error" and c["name"] != "config.login"]
    assert not wrong
    (spawn,) = [c for c in found["checks"] if c["name"] == "spawn"]
    steps = [step.split()[0] for step in spawn["findings"][0]["message"].split(", ")]
    assert steps == ["hub", "start", "lab", "cell", "file", "stop"]


def test_logs_and_commands_reach_every_machine(stage: Stage) -> None:
    assert stage.on("all", "echo here").count("here") >= 5
    assert "JupyterHub" in stage.run("logs", "hub").stdout
    assert "Cloud-init" in stage.run("logs", "cloud-init", "--on", "worker/1").stdout
    # the other way there, and what was sent away
    by_ssh = stage.run("run", "--via", "ssh", 'echo "by $SUDO_USER"').stdout
    assert by_ssh.count(": by ") >= 5
    assert "JupyterHub" in stage.run("logs", "hub", "--via", "ssh").stdout
    assert "JupyterHub" in stage.run("logs", "hub", "--from", "cloudwatch").stdout


def test_the_watch_tells_what_the_fleet_has_and_did(stage: Stage) -> None:
    with stage.user("iris") as iris:
        iris.start(options={"profile": "small"}, seconds=200)
        look = json.loads(stage.run("status", "--watch", "--times", "1", "--json").stdout)
        iris.stop()
    jsonschema.validate(look, SCHEMAS["watch"])
    seen = look["fleet"]
    assert seen["problems"] == []
    assert seen["users"] == 1
    assert 0 < seen["reserved"] < seen["memory"]
    assert "Activate" in {decided["kind"] for decided in seen["decisions"]}
    assert {limit["name"] for limit in look["limits"]} == {"machines", "memory", "users", "disk"}
