"""A DNS server on loopback that answers from a table."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import dns.message
import dns.rcode
import dns.rrset

Table = Mapping[tuple[str, str], list[str]]
"""(name without its last dot, ``A`` or ``NS``) -> values."""


@contextmanager
def nameserver(table: Table) -> Iterator[tuple[str, int]]:
    """Its address and port; names that are not in the table do not exist."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=_serve, args=(server, table), daemon=True)
        thread.start()
        host, port = server.getsockname()
        try:
            yield host, port
        finally:
            # an empty datagram is the end
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", (host, port))
            thread.join(10)


def _serve(server: socket.socket, table: Table) -> None:
    while True:
        data, client = server.recvfrom(4096)
        if not data:
            return
        asked = dns.message.from_wire(data)
        question = asked.question[0]
        kind = dns.rdatatype.to_text(question.rdtype)
        values = table.get((question.name.to_text(omit_final_dot=True), kind))
        answer = dns.message.make_response(asked)
        if values is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        else:
            answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *values))
        server.sendto(answer.to_wire(), client)
