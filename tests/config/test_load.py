"""hubdeploy.toml: what is refused, and how that is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from hubdeploy.config.load import line_of, load, parse
from hubdeploy.errors import ConfigError

GOOD = 'name = "demo"\nregion = "eu-central-1"\n'


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert caught.value.exit_code == 2
    return caught.value.message


def test_two_lines_make_a_valid_configuration() -> None:
    assert parse(GOOD).workers.max_nodes == 10


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            GOOD + "[workers]\nmax_nodez = 3\n",
            "hubdeploy.toml:4: workers.max_nodez: unknown setting; did you mean workers.max_nodes?",
        ),
        (
            GOOD + "[workers]\n\nmax_nodes = 'ten'\n",
            'hubdeploy.toml:5: workers.max_nodes: expected a whole number, 1 to 500, got "ten"',
        ),
        (GOOD + "max_nodes = 3\n", "hubdeploy.toml:3: max_nodes: unknown setting; did you mean "),
        (
            GOOD + "[hub]\nmemory = '2X'\n",
            "hubdeploy.toml:4: hub.memory: expected a size with K, M",
        ),
        (
            GOOD + "[[hub.profiles]]\nname = 'a'\ntitle = 'A'\n[[hub.profiles]]\nname = 'B B'\n",
            "hubdeploy.toml:7: hub.profiles[1].name: ",
        ),
        (
            GOOD + "[workers]\nmin_nodes = 5\nmax_nodes = 4\n",
            "hubdeploy.toml:4: workers.min_nodes: min_nodes 5 is above max_nodes 4",
        ),
        (GOOD + "[network]\ncidr = '8.8.0.0/16'\n", "expected private address space"),
        (
            GOOD + "[network]\ncidr = '10.200.0.0/16'\n",
            "docker_pool 10.200.0.0/14 overlaps cidr 10.200.0.0/16",
        ),
        (GOOD + "[chef]\ndistribution = 'chef'\n", "needs licence_id"),
        (GOOD + "[hub.authenticator]\nkind = 'github'\n", "needs client_id"),
        ("region = 'eu-central-1'\n", "hubdeploy.toml: name: missing; expected a name of 2 to 24 "),
        ('name = "demo\n', "hubdeploy.toml:1: not valid TOML"),
        (GOOD + "tags = { 'hubdeploy:x' = 'y' }\n", "'hubdeploy:x' is reserved"),
    ],
)
def test_a_fault_is_said_with_its_line_and_what_to_write(text: str, said: str) -> None:
    assert said in refusal(text)


def test_every_fault_has_a_line_of_its_own() -> None:
    message = refusal(GOOD + "[workers]\nmax_nodez = 3\n[hub]\nmemory = 'x'\n")
    assert len(message.splitlines()) == 2


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "none.toml")
    assert "hubdeploy init" in caught.value.hint


def test_lines_are_found_in_tables_dotted_keys_and_lists_of_tables() -> None:
    text = "a = 1\nb.c = 2\n[t]\nx = 1\n[[l]]\nx = 1\n[[l]]\nx = 2\n"
    assert line_of(text, ("a",)) == 1
    assert line_of(text, ("b", "c")) == 2
    assert line_of(text, ("t", "x")) == 4
    assert line_of(text, ("l", 1, "x")) == 8
    assert line_of(text, ("t", "missing")) == 3
    assert line_of(text, ("nowhere",)) is None
