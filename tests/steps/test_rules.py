"""Who may talk to whom."""

from __future__ import annotations

from typing import Any

import pytest

from hubdeploy.config.names import Port, Role
from hubdeploy.steps import rules
from hubdeploy.steps.rules import FILES, Rule, wanted
from tests.steps.rig import config


def between(server: str, client: str, **tables: Any) -> set[tuple[str, int, int]]:
    """(protocol, first, last) that a client may reach on a server: both ends must allow it."""
    found = wanted(config(**tables))
    admitted = {
        (r.protocol, r.first, r.last)
        for r in found[server]
        if r.direction == "in" and r.peer == client
    }
    web = {Port.HTTP, Port.HTTPS}
    for protocol, first, last in admitted:
        assert first in web or any(
            (r.protocol, r.first, r.last, r.peer) == (protocol, first, last, client_end)
            for r in found[client]
            if r.direction == "out"
            for client_end in (server,)
        ), f"{client} may not go out to {server} {first}"
    return admitted


def test_each_kind_of_machine_reaches_what_it_needs_and_no_more() -> None:
    tcp = {
        (server, client): between(server, client)
        for server in rules.GROUPS
        for client in rules.GROUPS
    }
    gossip = {("tcp", 7946, 7946), ("udp", 7946, 7946)}
    assert {pair: ports for pair, ports in tcp.items() if ports} == {
        (Role.CHEF, Role.WORKSTATION): {("tcp", 443, 443)},
        (Role.CHEF, Role.LEADER): {("tcp", 443, 443)},
        (Role.CHEF, Role.WORKER): {("tcp", 443, 443)},
        (Role.LEADER, Role.WORKER): gossip | {("tcp", 2377, 2377), ("tcp", 8081, 8081)},
        (Role.WORKER, Role.LEADER): gossip | {("tcp", 30000, 32767)},
        (Role.WORKER, Role.WORKER): gossip,
        (FILES, Role.LEADER): {("tcp", 2049, 2049)},
        (FILES, Role.WORKER): {("tcp", 2049, 2049)},
    }


def test_nothing_is_open_to_everything_in_the_vpc() -> None:
    settings = config()
    for found in wanted(settings).values():
        for rule in found:
            assert rule.peer != settings.network.cidr
            assert rule.protocol != "-1"


def test_only_the_web_is_open_to_the_world() -> None:
    for group, found in wanted(config()).items():
        open_ports = {r.first for r in found if r.direction == "in" and r.peer == rules.ANYWHERE}
        assert open_ports == ({Port.HTTP, Port.HTTPS} if group == Role.LEADER else set())


def test_ssh_is_closed_until_somebody_is_named() -> None:
    def admitted(**tables: Any) -> set[str]:
        return {
            rule.peer
            for found in wanted(config(**tables)).values()
            for rule in found
            if rule.direction == "in" and rule.first == Port.SSH
        }

    assert admitted() == set()
    assert admitted(access={"operator_cidrs": ["203.0.113.7/32"]}) == {"203.0.113.7/32"}


def test_a_mount_target_starts_no_connection() -> None:
    assert {rule.direction for rule in wanted(config())[FILES]} == {"in"}


@pytest.mark.parametrize("peer", ["sg-1", "pl-1", "203.0.113.0/24", "2001:db8::/32"])
def test_a_rule_reads_back_as_it_was_written(peer: str) -> None:
    rule = Rule(direction="in", protocol="tcp", first=1, last=2, peer=peer)
    assert rules.read({"IpPermissions": [rules.permission(rule)]}) == {rule}
