"""The whole life of a deployment by commands, each a process of its own, machines simulated."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import tarfile
from collections.abc import Iterator

import jsonschema
import pytest
from tests.cli.schemas import SCHEMAS
from tests.cli.terminal import HUBDEPLOY, Terminal

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    folder = tmp_path_factory.mktemp("terminal")
    made = Terminal(folder, f"sim{os.getpid()}")
    ran = made("up", "--machines", "simulated", "--yes")
    try:
        assert ran.returncode == 0, ran.stdout + ran.stderr
        yield made
    finally:
        made("down", "--yes", "--delete-files", made.name)


def test_up_ends_with_the_machines_and_the_next_steps(terminal: Terminal) -> None:
    again = terminal("up", "--yes")
    assert again.returncode == 0
    assert "Nothing to change" in again.stdout
    assert "worker/1" in again.stdout
    assert "hubdeploy scale --sandbox" in again.stdout
    assert "simulated" in again.stdout
    assert max(len(line) for line in again.stdout.splitlines()) <= 160


def test_every_json_output_is_as_its_schema_says(terminal: Terminal) -> None:
    assert terminal.json("up", "up", "--yes")["changed"] is False
    assert terminal.json("status", "status")["exists"] is True
    assert terminal.json("plan", "plan")["changes"] == []
    assert terminal.json("doctor", "doctor")["checks"]
    assert terminal.json("run", "run", "echo hi")["results"]
    assert "hub/admin-password" in terminal.json("secrets", "secret", "list")["known"]


def test_nothing_to_change_is_exit_code_0_and_something_2(terminal: Terminal) -> None:
    assert terminal("plan", "--detailed-exitcode").returncode == 0
    text = terminal.config.read_text()
    try:
        terminal.config.write_text(text.replace("max_nodes = 6", "max_nodes = 7"))
        ran = terminal("plan", "--detailed-exitcode")
        assert ran.returncode == 2
        assert "6 -> 7" in ran.stdout
        terminal.config.write_text(text + "[wrokers]\n")
        assert terminal("plan", "--detailed-exitcode").returncode == 1, "2 means changes"
        assert terminal("plan").returncode == 2
    finally:
        terminal.config.write_text(text)


def test_scale_holds_at_once_and_in_the_file_with_its_comments(terminal: Terminal) -> None:
    text = terminal.config.read_text()
    done = terminal.json("scale", "scale", "--max-nodes", "9", "--min-nodes", "2")
    assert (done["before"]["max_nodes"], done["after"]["max_nodes"]) == (6, 9)
    assert terminal.config.read_text() == text.replace("max_nodes = 6", "max_nodes = 9").replace(
        "min_nodes = 1 # enough", "min_nodes = 2 # enough"
    )
    group = terminal.json("status", "status")["group"]
    assert (group["minimum"], group["maximum"]) == (2, 9)
    refused = terminal("scale", "--min-nodes", "20")
    assert refused.returncode != 0
    assert "error:" in refused.stderr
    terminal("scale", "--max-nodes", "6", "--min-nodes", "1")
    assert terminal.config.read_text() == text


def test_after_scale_there_is_nothing_to_change_and_up_does_not_take_it_back(
    terminal: Terminal,
) -> None:
    text = terminal.config.read_text()
    # more than a rehearsal begins with: it holds all the same, as it was asked for by name
    asked = {"max_nodes": 7, "min_nodes": 3, "headroom": 4}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in asked.items()]
    try:
        done = terminal.json("scale", "scale", *words)
        assert asked.items() <= done["after"].items()
        ran = terminal("plan", "--detailed-exitcode")
        assert ran.returncode == 0, ran.stdout
        assert terminal.json("up", "up", "--yes")["changed"] is False
        assert asked.items() <= terminal.json("status", "status")["limits"].items()
        drift = [c for c in terminal.json("doctor", "doctor")["checks"] if c["name"] == "drift"]
        assert not any(check["findings"] for check in drift)
    finally:
        terminal("scale", "--max-nodes", "6", "--min-nodes", "1", "--headroom", "2")
        terminal.config.write_text(text)
    assert terminal("plan", "--detailed-exitcode").returncode == 0


def test_more_workers_than_the_limits_ever_allow_are_refused_with_their_line(
    terminal: Terminal,
) -> None:
    text = terminal.config.read_text()
    refused = terminal("scale", "--max-nodes", "40")
    assert refused.returncode == 2
    assert "hubdeploy.toml:8: workers.max_nodes: 40 x m6i.xlarge would have 640G" in refused.stderr
    assert terminal.config.read_text() == text
    try:
        terminal.config.write_text(text + '[limits]\nmax_cluster_memory = "8G"\n')
        for words in (("plan",), ("up", "--yes")):
            ran = terminal(*words)
            assert ran.returncode == 2
            assert "hubdeploy.toml:7: workers.min_nodes: 1 x m6i.xlarge have 16G" in ran.stderr
    finally:
        terminal.config.write_text(text)


def test_a_secret_goes_in_by_stdin_and_comes_out_alone(terminal: Terminal) -> None:
    stored = terminal("secret", "set", "hub/shared-password", stdin="open sesame\n")
    assert stored.returncode == 0
    assert "sesame" not in stored.stdout + stored.stderr
    assert terminal("secret", "show", "hub/shared-password").stdout == "open sesame\n"


def test_a_machine_means_all_of_its_logs_and_what_cannot_be_read_is_an_error(
    terminal: Terminal,
) -> None:
    whole = terminal("logs", "leader")
    assert whole.returncode == 0, whole.stderr
    assert "leader boot: " in whole.stdout
    assert "not a command" not in whole.stdout + whole.stderr
    nobody = terminal("logs", "user/ada")
    assert (nobody.returncode, nobody.stdout) == (1, "")
    assert nobody.stderr.startswith("leader: ")
    unknown = terminal("logs", "laeder")
    assert unknown.returncode == 2
    assert re.search("no log is called 'laeder'\n.*worker/1", unknown.stderr)


def test_a_stand_in_on_this_machine_is_not_taken_for_aws(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(terminal.folder / "state"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    ran = subprocess.run(
        [HUBDEPLOY, "plan"], cwd=terminal.folder, capture_output=True, text=True, check=False
    )
    assert ran.returncode in (1, 2)
    assert "http://127.0.0.1:1, which is no AWS" in ran.stderr
    assert "--sandbox" in ran.stderr


def test_the_question_of_up_shows_what_the_change_costs_and_ctrl_c_leaves_all_as_it_was(
    terminal: Terminal,
) -> None:
    text = terminal.config.read_text()
    try:
        terminal.config.write_text(text.replace("min_nodes = 1", "min_nodes = 2"))
        no = terminal.asked("up", answer="n")
        assert no.returncode == 1
        assert "1 -> 2" in no.stderr
        cost = next(line for line in no.stderr.splitlines() if line.startswith("This change: "))
        assert re.search(r"\+\$0\.\d+ an hour idle \(about \+\$\d+ a month\)", cost)
        question = next(line for line in no.stderr.splitlines() if "[y/N]" in line)
        assert no.stderr.index(cost) < no.stderr.index(question)
        assert "nothing was changed" in no.stderr
        broken = terminal.asked("up", answer=None)
        assert broken.returncode == 130
        assert "error: interrupted at the question: nothing was done" in broken.stderr
        assert "Aborted" not in broken.stderr
    finally:
        terminal.config.write_text(text)
    assert terminal.json("plan", "plan")["changes"] == []


def test_status_estimates_the_cost_with_its_date(terminal: Terminal) -> None:
    lines = terminal("status").stdout.splitlines()
    (line,) = [line for line in lines if line.startswith("Cost (estimate, price list of ")]
    assert re.search(r"price list of \d{4}-\d\d-\d\d\): \$\d+\.\d\d an hour idle", line)
    assert any(line.startswith("  In the sandbox: estimated for") for line in lines)


def test_quiet_is_one_line(terminal: Terminal) -> None:
    ran = terminal("up", "--yes", "--quiet")
    assert ran.stderr == ""
    assert len(ran.stdout.splitlines()) == 1
    assert "Nothing to change" in ran.stdout


def test_watching_tells_news_in_a_pipe_and_json_lines_to_programs(terminal: Terminal) -> None:
    lines = terminal("status", "--watch", "--every", "0.5", "--times", "3").stdout.splitlines()
    assert any(re.search(r"machines: \d+ of 6", line) for line in lines)
    assert sum("worker/1 " in line for line in lines) == 1, "the same is not told again"
    ran = terminal("status", "--watch", "--every", "0.5", "--times", "2", "--json")
    looks = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(looks) == 2
    for look in looks:
        jsonschema.validate(look, SCHEMAS["watch"])


def test_a_report_is_one_archive_without_secrets(terminal: Terminal) -> None:
    terminal("secret", "set", "hub/shared-password", stdin="open sesame\n")
    folder = terminal.folder / "state/hubdeploy/logs"
    logs = {log: log.read_text() for log in folder.glob("*.log")}
    for log, text in logs.items():
        log.write_text(text + "quoted: open sesame; AWS_SECRET_ACCESS_KEY=hunter2hunter2\n")
    ran = terminal("logs", "export", "--output", "report.tar.gz")
    for log, text in logs.items():
        log.write_text(text)
    assert ran.returncode == 0, ran.stderr
    assert "report.tar.gz: " in ran.stdout
    path = terminal.folder / "report.tar.gz"
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as tar:
        texts = {m.name: tar.extractfile(m).read().decode() for m in tar}  # type: ignore[union-attr]
    status = json.loads(texts["status.json"])
    assert status["deployment"] == terminal.name
    assert all(machine["private_ip"].startswith("10.42.") for machine in status["machines"])
    assert json.loads(texts["doctor.json"])["checks"]
    assert json.loads(texts["configuration.json"])["name"] == terminal.name
    versions = json.loads(texts["versions.json"])
    assert versions["hubdeploy"].startswith("hubdeploy ")
    assert versions["release"]["wheel"]["sha256"]
    assert "hubdeploy up" in texts["last-up.log"].splitlines()[0]
    assert "logs/worker/1/boot.log" in texts
    whole = "".join(texts.values())
    assert "quoted: ***" in whole
    assert "sesame" not in whole
    assert "hunter2" not in whole


def test_simulated_machines_have_no_chef_server_to_ask_and_it_says_so(terminal: Terminal) -> None:
    ran = terminal("chef", "status")
    assert ran.returncode == 1
    assert "simulated machines run no services" in ran.stderr
    assert "--machines docker" in ran.stderr


def test_the_log_of_a_run_holds_its_calls_and_no_secret(terminal: Terminal) -> None:
    terminal("secret", "set", "hub/shared-password", stdin="open sesame\n")
    terminal("secret", "show", "hub/shared-password")
    logs = sorted((terminal.folder / "state/hubdeploy/logs").glob("*.log"))
    assert logs
    assert all(path.stat().st_mode & 0o077 == 0 for path in logs)
    text = "".join(path.read_text() for path in logs)
    assert "ssm.PutParameter" in text
    assert "sesame" not in text


def test_what_cannot_be_changed_is_refused_by_name(terminal: Terminal) -> None:
    text = terminal.config.read_text()
    try:
        terminal.config.write_text(text + '[network]\ncidr = "10.60.0.0/16"\n')
        ran = terminal("plan")
        assert ran.returncode != 0
        assert "network.cidr" in ran.stderr
        assert "Traceback" not in ran.stderr
    finally:
        terminal.config.write_text(text)


def test_yes_alone_replaces_no_instance(terminal: Terminal) -> None:
    text, key = terminal.config.read_text(), "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDemo"
    before = terminal.json("status", "status")["machines"]
    try:
        # what only new instances can take
        terminal.config.write_text(f'{text}[access]\nssh_key = "{key}"\n')
        ran = terminal("up", "--yes")
        assert ran.returncode == 1
        for machine in ("workstation", "leader", "chef-server"):
            assert f"instance.{machine}: " in ran.stderr
        assert "would be replaced (access.ssh_key)" in ran.stderr
        assert "add --replace to --yes" in ran.stderr
    finally:
        terminal.config.write_text(text)
    assert terminal.json("status", "status")["machines"] == before


def test_a_rehearsal_in_another_region_is_not_torn_down_from_here(terminal: Terminal) -> None:
    text = terminal.config.read_text()
    try:
        terminal.config.write_text(text.replace("eu-central-1", "us-east-1"))
        for words in (("up", "--yes"), ("down", "--yes")):
            ran = terminal(*words)
            assert ran.returncode == 2
            assert "in eu-central-1, not in us-east-1" in ran.stderr
    finally:
        terminal.config.write_text(text)
    assert terminal.json("status", "status")["exists"] is True


def test_without_a_terminal_nobody_is_taken_to_agree(terminal: Terminal) -> None:
    ran = terminal("down")
    assert ran.returncode == 2
    assert "--yes" in ran.stderr
    assert terminal.json("status", "status")["exists"] is True


def test_down_leaves_the_files_and_the_next_up_finds_them(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    own = Terminal(tmp_path_factory.mktemp("own"), f"own{os.getpid()}")
    try:
        assert own("up", "--machines", "simulated", "--yes").returncode == 0
        gone = own.json("down", "down", "--yes")
        assert gone["left"] == []
        (kept,) = [c for c in gone["changes"] if c["action"] == "keep"]
        assert not list(own.folder.rglob("*.ed25519")), "the key of machines that are gone"
        assert own("status").returncode != 0
        own.config.write_text(own.config.read_text() + '[storage]\nkeep = "files-and-hub"\n')
        again = own.json("up", "up", "--machines", "simulated", "--yes")
        made = [c["resource"] for c in again["changes"] if c["action"] == "create"]
        assert kept["resource"] not in made

        own("secret", "set", "hub/shared-password", stdin="open sesame\n")
        gone = own.json("down", "down", "--yes")
        assert {c["resource"] for c in gone["changes"] if c["action"] == "keep"} == {
            "files",
            "volume.leader",
            "parameters.secrets",
        }
        own.json("up", "up", "--machines", "simulated", "--yes")
        assert own("secret", "show", "hub/shared-password").stdout == "open sesame\n"
        assert own("down", "--yes", "--delete-files", "another").returncode == 2
    finally:
        own("down", "--yes", "--delete-files", own.name)
    assert "No sandbox is running" in own("down", "--yes").stdout
    assert own.json("down", "down", "--yes")["swept"] == []
