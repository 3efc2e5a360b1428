"""DNS answers of the VPC's resolver."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from hubdeploy.sandbox.machines import dns


def look_up(name: str) -> list[str] | None:
    return {"chef.demo.internal": ["10.0.0.5", "10.0.0.6"], "gone.demo.internal": []}.get(name)


def code(reply: bytes) -> int:
    return reply[3] & 0x0F


def test_own_names_are_answered_with_their_addresses() -> None:
    reply = dns.answer(dns.question("chef.demo.internal", identity=77), look_up)
    assert reply is not None
    identity, _, questions, answers = struct.unpack_from(">HHHH", reply)
    assert (identity, questions, answers, code(reply)) == (77, 1, 2, 0)
    assert reply.endswith(bytes([10, 0, 0, 6]))


def test_case_does_not_matter_in_names() -> None:
    reply = dns.answer(dns.question("CHEF.demo.Internal"), look_up)
    assert reply is not None
    assert code(reply) == 0


def test_an_own_name_that_is_not_there_does_not_exist() -> None:
    reply = dns.answer(dns.question("gone.demo.internal"), look_up)
    assert reply is not None
    assert code(reply) == 3


def test_names_of_others_are_passed_on() -> None:
    assert dns.answer(dns.question("deb.example.org"), look_up) is None


def test_an_own_name_has_no_address_of_version_six() -> None:
    query = bytearray(dns.question("chef.demo.internal"))
    query[-3] = 28
    reply = dns.answer(bytes(query), look_up)
    assert reply is not None
    assert code(reply) == 0
    assert struct.unpack_from(">H", reply, 6) == (0,)


@given(st.binary(max_size=80))
def test_no_packet_breaks_the_server(packet: bytes) -> None:
    dns.answer(packet, lambda _name: ["10.0.0.1"])
