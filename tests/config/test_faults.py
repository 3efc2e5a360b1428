"""Any wrong value of any setting is one line: where, which key, what was expected, what stands."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubdeploy.config import expected
from hubdeploy.config.load import key_paths, parse
from hubdeploy.config.model import Config
from hubdeploy.errors import ConfigError

TOP = {"name": '"demo"', "region": '"eu-central-1"'}
PATHS = key_paths(Config)
REQUIRED = {
    "hub.profiles[]": {"name": '"big"', "title": '"Big"'},
    "hub.shared_folders[]": {"name": '"data"', "mount": '"/data"'},
}
"""What a table in a list has to have besides the key that is looked at."""

texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=80)
scalars = st.one_of(
    st.booleans(),
    st.integers(-(2**62), 2**62),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
    st.sampled_from(["", "1K", "-1", "999.1.1.1/16", "10.1.2.3/16", "0s", "x.y", "a@b"]),
)
values = st.one_of(
    scalars,
    st.lists(scalars, max_size=4),
    st.dictionaries(st.sampled_from(["a", "name", "x-y"]), scalars, max_size=2),
)


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(toml(v) for v in value) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def file_with(path: str, key: str, value: str) -> tuple[str, int]:
    """A file in which all is right but ``key`` in the table of ``path``, and that key's line."""
    parent, _, _ = path.rpartition(".")
    top = {name: text for name, text in TOP.items() if parent or name != key}
    lines = ["# a comment", *(f"{name} = {text}" for name, text in top.items())]
    if parent:
        lines.append(f"[[{parent[:-2]}]]" if parent.endswith("[]") else f"[{parent}]")
        lines += [f"{k} = {v}" for k, v in REQUIRED.get(parent, {}).items() if k != key]
    if not parent:
        lines.insert(1, f"{key} = {value}")
        return "\n".join(lines) + "\n", 2
    lines.append(f"{key} = {value}")
    return "\n".join(lines) + "\n", len(lines)


@given(st.sampled_from(PATHS), values)
def test_a_wrong_value_is_one_line_with_place_key_and_what_was_expected(
    path: str, value: Any
) -> None:
    text, number = file_with(path, path.rpartition(".")[2], toml(value))
    try:
        parse(text)
    except ConfigError as error:
        message = error.message
    else:
        return
    assert all(re.match(r"hubdeploy\.toml:\d+: \w[^:]*: \S", line) for line in message.splitlines())
    own = [line for line in message.splitlines() if line.startswith(f"hubdeploy.toml:{number}: ")]
    for line in own:
        said = line.partition(", got ")[0]
        assert "nput should" not in said
        assert not re.search(r"\^|\\|\{\d|\[a-z", said), "a pattern is shown"
        assert path.partition("[")[0].partition(".")[0] in said
    assert own or len(message.splitlines()) == 1, "a rule shows the setting that it names"


@pytest.mark.parametrize("path", PATHS)
def test_every_setting_says_what_is_expected_and_refuses_a_table_or_a_text(path: str) -> None:
    key = path.rpartition(".")[2]
    keys: list[int | str] = []
    for part in path.split("."):
        keys += [part[:-2], 0] if part.endswith("[]") else [part]
    typed = expected.find(Config, keys)
    assert typed is not None
    words = expected.words(typed)
    free = words.startswith("a table")
    text, number = file_with(path, key, '"%"' if free else '{ "§" = 1 }')
    with pytest.raises(ConfigError) as caught:
        parse(text)
    got = '"%"' if free else "a table"
    place = f"hubdeploy.toml:{number}: {path.replace('[]', '[0]')}"
    told = "" if key == "licence_id" else f", got {got}"
    assert caught.value.message == f"{place}: expected {words}{told}"


@pytest.mark.parametrize("path", PATHS)
def test_a_key_with_a_slip_in_it_leads_to_the_right_one(path: str) -> None:
    parent, _, key = path.rpartition(".")
    slip = f"{key}x"
    text, number = file_with(path, slip, "1")
    with pytest.raises(ConfigError) as caught:
        parse(text)
    where = f"{parent.replace('[]', '[0]')}." if parent else ""
    assert (
        f"hubdeploy.toml:{number}: {where}{slip}: unknown setting; did you mean {path}?"
        in caught.value.message.splitlines()
    )


@pytest.mark.parametrize(
    ("table", "meant"),
    [
        ("[worker]", "[workers]"),
        ("[limit]", "[limits]"),
        ("[hubs]", "[hub]"),
        ("[hub.authentication]", "[hub.authenticator]"),
        ("[[hub.profile]]", "[[hub.profiles]]"),
        ("[[hub.shared_folder]]", "[[hub.shared_folders]]"),
    ],
)
def test_a_table_with_a_slip_leads_to_the_right_table(table: str, meant: str) -> None:
    text, _ = file_with("name", "name", '"demo"')
    with pytest.raises(ConfigError) as caught:
        parse(f"{text}{table}\ndisk = 1\n")
    line = len(text.splitlines()) + 1
    assert caught.value.message.startswith(f"hubdeploy.toml:{line}: {table.strip('[]')}: unknown")
    assert caught.value.message.endswith(f"did you mean {meant}?")


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ('[hub.authenticator]\nalowed_users = ["ada"]', "hub.authenticator.allowed_users"),
        ("[access]\noperator_cidr = []", "access.operator_cidrs"),
        ("[hub.profile]\nname = 1", "[[hub.profiles]]"),
        ("[[worker]]\ndisk = 1", "[workers]"),
    ],
)
def test_a_list_with_a_slip_leads_to_the_setting_and_not_to_its_table(
    wrong: str, meant: str
) -> None:
    text, _ = file_with("name", "name", '"demo"')
    with pytest.raises(ConfigError) as caught:
        parse(f"{text}{wrong}\n")
    assert caught.value.message.endswith(f"did you mean {meant}?")


def refusal(rest: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse(f'name = "demo"\nregion = "eu-central-1"\n{rest}')
    return caught.value


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ('[network]\ncidr = "999.1.1.1/16"', "4: network.cidr: expected an IPv4 network such as"),
        ('[network]\ncidr = "10.1.2.3/16"', "4: network.cidr: expected the first address of the"),
        ('[network]\ncidr = "10.0.0.0/8"', "4: network.cidr: expected a network between /16 and"),
        ("[network]\nzones = 9", "4: network.zones: expected a number of zones, 2 to 6"),
        ("[network]\nzones = 1", "4: network.zones: expected a number of zones, 2 to 6"),
        (
            '[network]\nzones = ["us-east-1a", "us-east-1b"]',
            '4: network.zones: expected zones of eu-central-1 such as "eu-central-1a"',
        ),
        ('[workers]\ndisk = "1K"', '20G to 16T, got "1K"'),
        ('[leader]\ndisk = "1K"', '8G to 16T, got "1K"'),
        ('[leader]\nstate_disk = "20T"', '1G to 16T, got "20T"'),
        ('domain = "lab.example.org"', "3: domain: Let's Encrypt wants tls.email"),
        (
            'domain = "lab.example.org"\n[tls]\nstaging = true',
            "4: tls.email: Let's Encrypt wants tls.email",
        ),
        ('[tls]\nemail = "nobody"', "4: tls.email: expected an e-mail address such as"),
        ("[workers]\nmin_nodes = 5\nmax_nodes = 4", "4: workers.min_nodes: min_nodes 5 is above"),
        ("[workers]\nmax_nodes = 4\nmin_nodes = 5", "5: workers.min_nodes: min_nodes 5 is above"),
        ("[workers]\nmin_nodes = 20", "4: workers.min_nodes: min_nodes 20 is above max_nodes 10"),
        ('[hub]\nmemory = "300G"', "4: hub.memory: a server of 300G (hub.memory) is above"),
        ('[limits]\nmax_cluster_memory = "1G"', "4: limits.max_cluster_memory: a server of 2G"),
        ('[[hub.profiles]]\nname = "a"\ntitle = "A"\nmemory = "1T"', "6: hub.profiles[0].memory: "),
        ('[[hub.profiles]]\nname = "a"', "3: hub.profiles[0].title: missing; expected text in"),
        ('[chef]\nlicence_id = ""', "4: chef.licence_id: expected text in quotes, not empty"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_its_key(rest: str, said: str) -> None:
    error = refusal(rest)
    assert said in f"{error.message}\n"
    assert len(error.message.splitlines()) == 1
    assert error.message.startswith("hubdeploy.toml:")
    assert "quotes" not in error.hint


@pytest.mark.parametrize(
    ("rest", "hint"),
    [
        ("x = yes", "text needs quotes"),
        ('x = "abc', "close the text with the quotes"),
        ("x = 1\nx = 2", "every setting stands only once"),
        ("[hub]\n[hub]", "every table stands only once"),
        ("x", "key = value"),
        ("x = 1 y = 2", "one setting a line"),
        ("x = [1,", "close it with ]"),
        ("x = { a = 1", "close"),
    ],
)
def test_a_file_that_is_no_toml_is_met_with_a_hint_that_fits(rest: str, hint: str) -> None:
    error = refusal(rest)
    assert "not valid TOML" in error.message
    assert hint in error.hint
    assert re.match(r"hubdeploy\.toml:\d+: ", error.message)


def test_a_licence_is_not_repeated() -> None:
    error = refusal('[chef]\nlicence_id = " free-1234 "')
    assert "free-1234" not in error.message
