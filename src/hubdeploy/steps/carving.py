"""Which addresses and zones the subnets get: always the same for the same configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

from hubdeploy.errors import ConfigError

MOST_ZONES = 6


@dataclass(frozen=True, kw_only=True)
class Subnet:
    """A subnet to be: ``resource`` is its logical name (``subnet.private.a``)."""

    resource: str
    zone: str
    cidr: str
    public: bool


def choose_zones(wanted: int | list[str], available: Sequence[str]) -> list[str]:
    """The zones to span: those named, or the first so many in alphabetical order.

    Raises :class:`ConfigError` when the region has too few or not the ones named.
    """
    known = sorted(available)
    if isinstance(wanted, int):
        if wanted > min(len(known), MOST_ZONES):
            raise ConfigError(
                f"network.zones: {wanted} zones wanted, {len(known)} can be had "
                f"({', '.join(known)})",
                hint=f"set zones to {min(len(known), MOST_ZONES)} or less, or take another region",
            )
        return known[:wanted]
    strange = sorted(set(wanted) - set(known))
    if strange:
        raise ConfigError(
            f"network.zones: {', '.join(strange)} is no zone that this account can use",
            hint=f"choose among {', '.join(known)}",
        )
    return sorted(set(wanted))


def carve(cidr: str, zones: Sequence[str], *, private: bool) -> list[Subnet]:
    """Subnets for the zones: a small public and, if ``private``, a large private one in each.

    The VPC is cut into eighths: the first is for public subnets (again cut into eighths), each of
    the others is one zone's private subnet. So adding a zone never moves another's addresses. With
    no private subnets the machines live in the public ones, which then get an eighth each.
    """
    eighths = list(IPv4Network(cidr).subnets(prefixlen_diff=3))
    small = list(eighths[0].subnets(prefixlen_diff=3))
    found = []
    for index, zone in enumerate(zones):
        letter = zone[-1] if zone[-1].isalpha() else str(index)
        public = small[index] if private else eighths[index + 1]
        found.append(
            Subnet(resource=f"subnet.public.{letter}", zone=zone, cidr=str(public), public=True)
        )
        if private:
            found.append(
                Subnet(
                    resource=f"subnet.private.{letter}",
                    zone=zone,
                    cidr=str(eighths[index + 1]),
                    public=False,
                )
            )
    return found
