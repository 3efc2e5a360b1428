"""Whether a server may start: the fleet's word, and the limits when the fleet is silent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hubdeploy.config.limits import Limits
from hubdeploy.hub.admission import ask_fleet, ask_limits, local_answer, read_answer
from hubdeploy.hub.placement import NodeView, Request
from tests.plugins.fleetstub import Fleet

GIB = 1 << 30
REQUEST = Request(memory=2 * GIB, cpu=5 * 10**8)


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    with Fleet() as running:
        yield running


def test_the_fleet_is_asked_with_the_servers_size_and_the_shared_token(
    fleet: Fleet, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("abc\n")
    fleet.answer = {
        "allowed": True,
        "reason": "full",
        "waiting_for": "machine",
        "eta": 150,
    }
    answer = ask_fleet("a b", REQUEST, url=fleet.url, token_file=token)
    assert answer is not None
    assert (answer.allowed, answer.waiting_for, answer.eta) == (True, "machine", 150.0)
    path, authorization = fleet.asked[0]
    assert path.endswith(f"/api/admission?user=a+b&memory={2 * GIB}&cpu=0.5&type=")
    assert authorization == "token abc"


@pytest.mark.parametrize("answer", ["not json", [], {"allowed": "yes"}, {}])
def test_an_answer_that_makes_no_sense_is_none(fleet: Fleet, answer: Any) -> None:
    fleet.answer = answer
    assert ask_fleet("a", REQUEST, url=fleet.url) is None


def test_a_fleet_that_fails_or_is_not_there_gives_no_answer(fleet: Fleet, tmp_path: Path) -> None:
    fleet.status = 500
    assert ask_fleet("a", REQUEST, url=fleet.url) is None
    assert ask_fleet("a", REQUEST, url="http://127.0.0.1:9/x", timeout=1) is None
    assert ask_fleet("a", REQUEST, url=fleet.url, token_file=tmp_path / "missing") is None
    assert ask_limits(url=fleet.url) is None


def test_the_live_limits_are_read(fleet: Fleet) -> None:
    fleet.answer = json.loads(Limits(max_concurrent_users=7).to_json())
    found = ask_limits(url=fleet.url)
    assert found is not None
    assert found.max_concurrent_users == 7


def test_read_answer_leaves_odd_estimates_out() -> None:
    assert read_answer('{"allowed": false, "eta": true}').eta is None


def node(reserved: int) -> NodeView:
    return NodeView(id="n", memory=16 * GIB, cpu=4 * 10**9, memory_reserved=reserved)


def local(limits: Limits, *, users: set[str], reserved: int = 0) -> bool:
    return local_answer(
        "ann", REQUEST, limits=limits, active_users=users, nodes=[node(reserved)]
    ).allowed


def test_without_the_fleet_the_limit_of_users_holds() -> None:
    limits = Limits(max_concurrent_users=2)
    assert local(limits, users={"bob"})
    assert not local(limits, users={"bob", "eve"})
    # a second server of somebody who has one takes no further place
    assert local(limits, users={"ann", "bob"})


def test_without_the_fleet_the_limit_of_memory_holds() -> None:
    limits = Limits(max_cluster_memory=8 * GIB)
    assert local(limits, users=set(), reserved=6 * GIB)
    assert not local(limits, users=set(), reserved=6 * GIB + 1)


def test_no_limit_is_no_limit() -> None:
    assert local(Limits(), users={str(n) for n in range(999)}, reserved=16 * GIB)
