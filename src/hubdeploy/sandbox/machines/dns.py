"""DNS messages (RFC 1035), as far as a server of a few address records needs them."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable, Sequence

Lookup = Callable[[str], Sequence[str] | None]
"""Lower-case name without final dot -> IPv4 addresses; empty: the name does not exist; None: the
name belongs to somebody else and is asked elsewhere."""

_A, _ANY, _IN = 1, 255, 1
_NXDOMAIN = 3
TTL = 2
"""Seconds. Short, since a rebuilt machine takes its name along."""


def answer(query: bytes, lookup: Lookup) -> bytes | None:
    """The reply to a query, or None if its name is not ours (or the query is not understood)."""
    try:
        identity, flags, questions = struct.unpack_from(">HHH", query)
        name, end = _name(query, 12)
        kind, family = struct.unpack_from(">HH", query, end)
    except (struct.error, IndexError, UnicodeDecodeError):
        return None
    if questions != 1 or flags & 0xF800 or family != _IN:
        return None
    addresses = lookup(name.lower())
    if addresses is None:
        return None
    records = [_record(address) for address in addresses] if kind in (_A, _ANY) else []
    code = 0 if addresses else _NXDOMAIN
    # an authoritative answer; recursion is offered, and desired if the query says so
    header = struct.pack(
        ">HHHHHH", identity, 0x8480 | (flags & 0x0100) | code, 1, len(records), 0, 0
    )
    return header + query[12 : end + 4] + b"".join(records)


def question(name: str, *, identity: int = 0) -> bytes:
    """A query for the address of *name*."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack(">HHHHHH", identity, 0x0100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"


def _name(message: bytes, at: int) -> tuple[str, int]:
    labels = []
    while length := message[at]:
        if length > 63:
            raise IndexError("a question's name is not compressed")
        label = message[at + 1 : at + 1 + length]
        if len(label) != length:
            raise IndexError("cut off")
        labels.append(label.decode("ascii"))
        at += 1 + length
    return ".".join(labels), at + 1


def _record(address: str) -> bytes:
    packed = ipaddress.IPv4Address(address).packed
    # 0xC00C points back to the question's name
    return struct.pack(">HHHIH", 0xC00C, _A, _IN, TTL, len(packed)) + packed
