"""Every command that the documentation shows is run, as it is shown or, where it says why, nearly.

Shown are: whatever follows ``hubdeploy`` in a block, and inline code in running text and tables.
"""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.terminal import HUBDEPLOY, Terminal

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
pytestmark = pytest.mark.timeout(300)

BLOCK = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
IN_A_BLOCK = re.compile(r"\bhubdeploy ([a-z][^\n,]*?)(?=,|  |\s#|\s>|$)", re.MULTILINE)
"""A command in a block ends where its explanation begins."""

INSTEAD = {
    # the name of the command, without what it is to do
    "scale": "scale --headroom 1",
    "scale --min-nodes": "scale --min-nodes 1",
    "secret set": "secret set hub/shared-password",
    # without an end of its own
    "status --watch": "status --watch --times 1",
    # no machine of a simulated rehearsal has a Docker engine: the way there is the same
    "run --on leader 'docker service rm NAME'": "run --on leader 'docker service ls'",
    "run --on worker/N 'docker image prune -f'": "run --on worker/1 'docker ps'",
}
"""What is run in place of a command, without ``hubdeploy``; ``/N`` stands for a number anyway."""
NOTHING_THERE = {
    "logs user/ada": "leader: ",
    "logs hub --from cloudwatch --since 1d": "nothing of hub was found",
}
"""What a simulated machine has none of, and how it is said."""
ONLY_EXPLAINED = {
    "ssh leader": "a shell for a person; its arguments and the way there are tested by themselves",
    "chef status": "asks a Chef server, which runs where machines are containers (the rehearsal)",
}
"""Commands whose ``--help`` alone is run here, and why."""
FINDINGS = ("doctor",)
"""Exit with 1 where there is something to tell the reader, as here: nothing runs on machines."""


def found() -> dict[str, list[str]]:
    """Each command without ``hubdeploy``, with the pages that show it."""
    shown: dict[str, list[str]] = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        commands = [
            f"hubdeploy {words}" for b in BLOCK.findall(text) for words in IN_A_BLOCK.findall(b)
        ]
        commands += re.findall(r"`(hubdeploy [a-z][^`]*)`", BLOCK.sub("", text))
        for command in commands:
            words = " ".join(word for word in command.split()[1:] if word != "--sandbox")
            if page.name not in shown.setdefault(words, []):
                shown[words].append(page.name)
    # what ends the deployment comes last
    return dict(sorted(shown.items(), key=lambda entry: entry[0].startswith("down")))


COMMANDS = found()


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    made = Terminal(tmp_path_factory.mktemp("docs"), f"doc{os.getpid()}")
    try:
        assert made("up", "--machines", "simulated", "--yes").returncode == 0
        # the leader makes one; a simulated leader does not
        assert made("secret", "set", "hub/admin-password", stdin="made up").returncode == 0
        yield made
    finally:
        made("down", "--yes", "--delete-files", made.name)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c != "init"])
def test_a_command_of_the_documentation_works(terminal: Terminal, command: str) -> None:
    words = shlex.split(INSTEAD.get(command, command).replace("/N", "/1"))
    if command in ONLY_EXPLAINED:
        words.append("--help")
    elif words[0] in ("up", "down") and "--yes" not in words:
        words.append("--yes")
    ran = terminal(*words, stdin="made up\n")
    if command in NOTHING_THERE:
        assert (ran.returncode, ran.stdout) == (1, "")
        assert ran.stderr.startswith(NOTHING_THERE[command])
        return
    allowed = (0, 1) if words[0] in FINDINGS else (0,)
    assert ran.returncode in allowed, (COMMANDS[command], ran.stdout, ran.stderr)
    assert "Traceback" not in ran.stderr


def test_the_dialogue_of_init_writes_a_file_that_is_right(tmp_path: Path) -> None:
    assert "init" in COMMANDS
    ours, theirs = pty.openpty()
    answers = "physics\n\nexample.org\nada@example.org\nada\n"
    os.write(ours, answers.encode())
    ran = subprocess.run(
        [HUBDEPLOY, "init"],
        cwd=tmp_path,
        stdin=theirs,
        capture_output=True,
        text=True,
        check=False,
    )
    for end in (ours, theirs):
        os.close(end)
    assert ran.returncode == 0, ran.stderr
    checked = subprocess.run(
        [HUBDEPLOY, "config", "check"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "deployment physics in eu-central-1" in checked.stdout


def test_what_is_run_instead_is_still_shown_somewhere() -> None:
    gone = [
        command
        for command in (*INSTEAD, *ONLY_EXPLAINED, *NOTHING_THERE)
        if command not in COMMANDS
    ]
    assert gone == []


def test_every_make_target_that_is_mentioned_exists() -> None:
    targets = {
        target
        for page in PAGES
        for target in re.findall(r"(?:^\$ |`|^)make ([a-z][a-z-]*)", page.read_text(), re.MULTILINE)
    }
    assert {"up", "test", "down", "docs"} <= targets
    for target in sorted(targets):
        subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, check=True)


def test_every_page_is_linked_and_every_link_leads_somewhere() -> None:
    linked = set()
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text()):
            path = (page.parent / target).resolve()
            assert path.exists(), (page.name, target)
            linked.add(path)
    assert {page.resolve() for page in PAGES} - linked == {ROOT / "README.md"}
