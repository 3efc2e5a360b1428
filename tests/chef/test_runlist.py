"""Run lists are expanded as Chef does it."""

from __future__ import annotations

import pytest

from hubdeploy.chef.objects import Role
from hubdeploy.chef.runlist import deep_merge, expand, parse_entry
from hubdeploy.errors import ChefError

ROLES = {
    "base": Role(
        name="base",
        run_list=["recipe[hub_base]"],
        default_attributes={"h": {"who": "base", "list": [1, 2]}},
    ),
    "leader": Role(
        name="leader",
        run_list=["role[base]", "hub_leader::swarm", "recipe[hub_base]"],
        default_attributes={"h": {"who": "leader", "list": [2, 3]}},
        override_attributes={"o": 1},
    ),
    "circle": Role(name="circle", run_list=["role[circle]", "recipe[x]"]),
}


def test_roles_give_their_recipes_once_and_in_order() -> None:
    found = expand(["recipe[a]", "role[leader]", "recipe[a]"], ROLES.__getitem__)
    assert found.recipes == ["a", "hub_base", "hub_leader::swarm"]
    assert found.roles == ["leader", "base"]


def test_a_role_wins_over_those_nested_in_it() -> None:
    found = expand(["role[leader]"], ROLES.__getitem__)
    assert found.default == {"h": {"who": "leader", "list": [1, 2, 3]}}
    assert found.override == {"o": 1}


def test_a_circle_of_roles_ends() -> None:
    assert expand(["role[circle]"], ROLES.__getitem__).recipes == ["x"]


def test_merging_leaves_its_arguments_alone() -> None:
    left = {"a": {"b": [1]}, "n": 1}
    assert deep_merge(left, {"a": {"b": [2], "c": 3}, "n": None}) == {
        "a": {"b": [1, 2], "c": 3},
        "n": 1,
    }
    assert left == {"a": {"b": [1]}, "n": 1}


def test_an_entry_with_a_version_names_the_recipe() -> None:
    assert parse_entry("recipe[a::b@1.0.0]").name == "a::b"
    for bad in ("", "recipe[]", "role x", "thing[x]"):
        with pytest.raises(ChefError):
            parse_entry(bad)
