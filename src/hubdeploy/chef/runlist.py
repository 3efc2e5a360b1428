"""Run lists: what an entry is, and the recipes and attributes that a node's roles amount to."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hubdeploy.chef.objects import Json, Role
from hubdeploy.errors import ChefError

_ENTRY = re.compile(r"(?:(recipe|role)\[([\w.:@-]+)\]|([\w.:@-]+))\Z")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry: ``kind`` is ``recipe`` or ``role``; a recipe may be ``cookbook::recipe``."""

    kind: str
    name: str


@dataclass(kw_only=True)
class Expanded:
    """Recipes and roles in the order met, each once; the roles' attributes merged."""

    recipes: list[str] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)
    default: Json = field(default_factory=dict)
    override: Json = field(default_factory=dict)


def parse_entry(text: str) -> Entry:
    """``role[x]``, ``recipe[x::y]`` or a bare recipe; an ``@version`` is dropped.

    Raises:
        ChefError: anything else.
    """
    match = _ENTRY.match(text.strip())
    if not match:
        raise ChefError(
            f"Not an entry of a run list: {text!r}", hint="recipe[COOKBOOK::RECIPE] or role[NAME]"
        )
    return Entry(kind=match[1] or "recipe", name=(match[2] or match[3]).split("@")[0])


def deep_merge(onto: Any, with_: Any) -> Any:
    """As Chef merges within one level: hashes deeply, lists joined without doubles, else replaced.

    Neither argument is changed.
    """
    if isinstance(onto, dict) and isinstance(with_, dict):
        merged = dict(onto)
        for key, value in with_.items():
            merged[key] = deep_merge(merged[key], value) if key in merged else value
        return merged
    if isinstance(onto, list) and isinstance(with_, list):
        return onto + [item for item in with_ if item not in onto]
    return onto if with_ is None else with_


def expand(run_list: Sequence[str], role: Callable[[str], Role]) -> Expanded:
    """Replace roles by their recipes, depth first; ``role`` looks one up.

    A role met a second time is passed over, which also ends circles. Where roles disagree the one
    met later wins, except that a role wins over those nested in it.
    """
    done = Expanded()
    for text in run_list:
        entry = parse_entry(text)
        if entry.kind == "recipe":
            if entry.name not in done.recipes:
                done.recipes.append(entry.name)
            continue
        _expand_role(entry.name, role, done)
    return done


def _expand_role(name: str, role: Callable[[str], Role], done: Expanded) -> None:
    if name in done.roles:
        return
    done.roles.append(name)
    found = role(name)
    for text in found.run_list:
        entry = parse_entry(text)
        if entry.kind == "role":
            _expand_role(entry.name, role, done)
        elif entry.name not in done.recipes:
            done.recipes.append(entry.name)
    done.default = deep_merge(done.default, found.default_attributes)
    done.override = deep_merge(done.override, found.override_attributes)
