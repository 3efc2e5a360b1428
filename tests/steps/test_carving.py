"""Zones and addresses of the subnets."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubdeploy.errors import ConfigError
from hubdeploy.steps.carving import carve, choose_zones

ZONES = [f"eu-central-1{letter}" for letter in "abcdef"]
BLOCKS = st.builds(
    lambda prefix, second: f"10.{second}.0.0/{prefix}", st.integers(16, 20), st.integers(0, 255)
)


@given(BLOCKS, st.integers(2, 6), st.booleans())
def test_subnets_lie_in_the_vpc_apart_and_big_enough_for_aws(
    cidr: str, count: int, private: bool
) -> None:
    found = carve(cidr, ZONES[:count], private=private)
    nets = [IPv4Network(subnet.cidr) for subnet in found]
    assert all(net.subnet_of(IPv4Network(cidr)) for net in nets)
    assert not any(a.overlaps(b) for i, a in enumerate(nets) for b in nets[:i])
    assert all(net.prefixlen <= 28 for net in nets)
    assert len(found) == count * (2 if private else 1)
    assert len({subnet.resource for subnet in found}) == len(found)


@given(BLOCKS, st.integers(2, 5))
def test_another_zone_moves_nobodys_addresses(cidr: str, count: int) -> None:
    few = carve(cidr, ZONES[:count], private=True)
    more = carve(cidr, ZONES[: count + 1], private=True)
    assert set(few) < set(more)


def test_the_first_zones_are_taken_or_those_named() -> None:
    assert choose_zones(2, reversed(ZONES[:3])) == ZONES[:2]  # type: ignore[arg-type]
    assert choose_zones([ZONES[2], ZONES[0]], ZONES) == [ZONES[0], ZONES[2]]


def test_zones_that_are_not_there_are_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match="3 zones wanted, 2 can be had") as failed:
        choose_zones(3, ZONES[:2])
    assert failed.value.hint
    with pytest.raises(ConfigError, match="eu-central-1z is no zone") as failed:
        choose_zones([ZONES[0], "eu-central-1z"], ZONES[:2])
    assert ZONES[0] in failed.value.hint
