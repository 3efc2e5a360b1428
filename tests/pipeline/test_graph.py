"""The order of steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubdeploy.pipeline.graph import checked, order, reverse

NAMES = st.lists(st.from_regex(r"[a-z]{1,6}", fullmatch=True), unique=True, max_size=12)


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    """Graphs without circles: each step needs some of those before it."""
    names = draw(NAMES)
    return {
        name: draw(st.lists(st.sampled_from(names[:at]), unique=True)) if at else []
        for at, name in enumerate(names)
    }


@given(graphs())
def test_every_step_comes_after_those_it_needs(needs: dict[str, list[str]]) -> None:
    found = order(needs)
    assert sorted(found) == sorted(needs)
    for name, wants in needs.items():
        assert all(found.index(want) < found.index(name) for want in wants)


@given(graphs())
def test_tearing_down_is_the_other_way_round(needs: dict[str, list[str]]) -> None:
    turned = reverse(needs)
    assert {(a, b) for a, wants in needs.items() for b in wants} == {
        (b, a) for a, wants in turned.items() for b in wants
    }
    assert reverse(turned) == checked(needs)


def test_a_need_that_is_no_step_is_named() -> None:
    with pytest.raises(ValueError, match="step a needs b, c, which is no step"):
        checked({"a": ["c", "b"]})


def test_a_circle_is_named() -> None:
    with pytest.raises(ValueError, match="in a circle: "):
        checked({"a": ["b"], "b": ["a"]})


def test_the_deployments_own_graph_is_sound() -> None:
    from hubdeploy import steps

    found = {step.name: step.needs for step in steps.all_steps(None)}  # type: ignore[arg-type]
    assert order(found)[0] == "deployment"
    # in `down` it comes last: everything else needs it, directly or not
    reached, rest = {"deployment"}, set(found)
    while more := {name for name in rest - reached if set(found[name]) & reached}:
        reached |= more
    assert reached == rest
