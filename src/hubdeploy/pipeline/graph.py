"""The order of steps: which can start when, forwards for ``up`` and backwards for ``down``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

Needs = Mapping[str, Iterable[str]]


def checked(needs: Needs) -> dict[str, frozenset[str]]:
    """The same graph with every need known and no cycle; ``ValueError`` names the fault."""
    graph = {name: frozenset(wants) for name, wants in needs.items()}
    for name, wants in graph.items():
        missing = sorted(wants - graph.keys())
        if missing:
            raise ValueError(f"step {name} needs {', '.join(missing)}, which is no step")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise ValueError(
            f"steps need each other in a circle: {' -> '.join(error.args[1])}"
        ) from None
    return graph


def reverse(needs: Needs) -> dict[str, frozenset[str]]:
    """The graph for tearing down: each step waits for those that need it."""
    turned: dict[str, set[str]] = {name: set() for name in needs}
    for name, wants in needs.items():
        for want in wants:
            turned[want].add(name)
    return {name: frozenset(wants) for name, wants in turned.items()}


def upto(needs: Needs, name: str) -> set[str]:
    """``name`` and all that it needs, directly or not."""
    found, waiting = set[str](), [name]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += needs[one]
    return found


def order(needs: Needs) -> list[str]:
    """One valid order, stable for the same graph."""
    return list(TopologicalSorter(checked(needs)).static_order())
