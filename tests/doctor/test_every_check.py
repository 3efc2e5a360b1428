"""Each check is tested where it finds something, and explained to people."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import hubdeploy.doctor
from hubdeploy.doctor import all_checks
from hubdeploy.doctor.check import Check

HERE = Path(__file__).parent
GUIDE = HERE.parents[1] / "docs" / "operations.md"
CHECKS = {check.name: check for check in all_checks()}
ALL_WELL = ("all_is_well", "healthy", "its_own")
"""In the names of tests that show only that a check stays silent."""


def finding_tests() -> dict[str, set[str]]:
    """Check -> the tests that name it, with their parameters, and may see it find something."""
    found: dict[str, set[str]] = {name: set() for name in CHECKS}
    for file in HERE.glob("test_*.py"):
        if file == Path(__file__):
            continue
        tree = ast.parse(file.read_text())
        constants = {
            target.id: str(node.value.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for test in tree.body:
            if not isinstance(test, ast.FunctionDef) or any(w in test.name for w in ALL_WELL):
                continue
            for node in ast.walk(test):
                text = constants.get(node.id) if isinstance(node, ast.Name) else None
                if isinstance(node, ast.Constant):
                    text = node.value if isinstance(node.value, str) else None
                if text in found:
                    found[text].add(f"{file.name}::{test.name}")
    return found


@pytest.mark.parametrize("name", CHECKS)
def test_a_test_breaks_what_the_check_looks_at(name: str) -> None:
    assert finding_tests()[name], f"no test sees {name} find anything"


def test_every_repair_has_a_test_that_mends() -> None:
    source = (HERE / "test_mending.py").read_text()
    mending = {name for name, check in CHECKS.items() if check.repair is not Check.repair}
    assert mending
    assert {name for name in mending if f'"{name}", fix=True' not in source} == set()


def rows() -> list[list[str]]:
    """The guide's tables of what the doctor says: check, words, what to do."""
    text = GUIDE.read_text()
    section = text[text.index("## What to do when") :]
    section = section[: section.index("\n## ", 1)]
    found = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines()]
    return [row for row in found if len(row) == 3 and row[0] not in ("check", "---")]


def test_the_guide_says_of_every_check_what_it_says_and_what_to_do() -> None:
    assert [row[0].strip("`") for row in rows() if row[0]] == list(CHECKS)
    assert all(words and act for _, words, act in rows())


def test_the_guide_says_which_checks_mend() -> None:
    told = {row[0].strip("`") for row in rows() if "`--fix`" in row[2]}
    assert told == {name for name, check in CHECKS.items() if check.repair is not Check.repair}


def test_the_guides_words_are_the_doctors() -> None:
    package = Path(hubdeploy.doctor.__file__).parent
    sources = [*package.glob("*.py"), package.parent / "aws/errors.py"]
    sources.append(package.parent / "steps/images.py")
    source = "\n".join(file.read_text() for file in sources)
    # strings that go on in the next line are one
    source = re.sub(r'"\s*\n\s*f?"', "", source)
    for _, words, _ in rows():
        for phrase in re.findall(r"`([^`]+)`", words):
            for part in phrase.split("…"):
                assert part.strip() in source or len(part.strip()) < 5, phrase
