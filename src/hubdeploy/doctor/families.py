"""Which of EC2's vCPU quotas an instance type counts for, and what a deployment asks of each.

On-demand instances and spot requests have quotas of their own, and in both each family of types
has one (EC2 user guide, "Amazon EC2 service quotas"; codes as Service Quotas lists them).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hubdeploy.config.model import Config, Workers
from hubdeploy.config.names import Role


@dataclass(frozen=True, kw_only=True)
class Family:
    """``spot`` is empty where AWS gives none on the spot market."""

    title: str
    on_demand: str
    spot: str

    def code(self, spot: bool) -> str:
        return self.spot if spot else self.on_demand


STANDARD = Family(title="standard", on_demand="L-1216C47A", spot="L-34B43A08")
_GRAPHICS = Family(title="G and VT", on_demand="L-DB2E81BA", spot="L-3819A6DF")
_FAMILIES: dict[str, Family] = {
    "g": _GRAPHICS,
    "gr": _GRAPHICS,
    "vt": _GRAPHICS,
    "p": Family(title="P", on_demand="L-417A185B", spot="L-7212CCBC"),
    "x": Family(title="X", on_demand="L-7295265B", spot="L-E3A00192"),
    "inf": Family(title="Inf", on_demand="L-1945791B", spot="L-B5D1601B"),
    "f": Family(title="F", on_demand="L-74FC7D96", spot="L-88CF9481"),
    "trn": Family(title="Trn", on_demand="L-2C3B7624", spot="L-6B0D517C"),
    "dl": Family(title="DL", on_demand="L-6E869C2A", spot="L-85EED4F7"),
    "hpc": Family(title="HPC", on_demand="L-F7808C92", spot=""),
    "u-": Family(title="High Memory", on_demand="L-43DA4232", spot=""),
}
FAMILIES = (STANDARD, *dict.fromkeys(_FAMILIES.values()))


def family(instance_type: str) -> Family:
    """By the letters before the first digit: ``g4dn.xlarge`` is of G."""
    letters = re.match(r"[a-z]+-?", instance_type)
    return _FAMILIES.get(letters[0] if letters else "", STANDARD)


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What a deployment takes of one quota at its largest.

    ``least`` is what it takes of it to work at all; ``service`` and ``code`` are Service Quotas'.
    """

    service: str
    code: str
    title: str
    most: int
    least: int


def types(config: Config) -> dict[Role, list[str]]:
    """The instance types of each kind of machine, the preferred one first."""
    return {
        Role.CHEF: [config.chef.instance_type],
        Role.WORKSTATION: [config.chef.workstation_type],
        Role.LEADER: [config.leader.instance_type],
        Role.WORKER: config.worker_types,
    }


def machines(workers: Workers) -> tuple[int, int]:
    """(on demand, spot) when all run; the groups round in favour of on demand."""
    spot = (workers.max_nodes - workers.min_nodes) * workers.spot_share // 100
    return workers.max_nodes - spot, spot


def vcpus(config: Config, sizes: Mapping[str, int]) -> Iterator[Demand]:
    """The demands on vCPU quotas; ``sizes`` are vCPUs by type, of the types that EC2 knows.

    Workers may all be of any one of their types, so each family has to hold them all. To work at
    all means the permanent machines, the least number of workers of the preferred type, and one
    worker of each further type.
    """
    workers = config.workers
    most: Counter[tuple[Family, bool]] = Counter()
    least: Counter[tuple[Family, bool]] = Counter()
    for role, (kind, *_) in types(config).items():
        if role is Role.WORKER:
            continue
        for table in (most, least):
            table[family(kind), False] += sizes.get(kind, 0)
    for spot, count in zip((False, True), machines(workers), strict=True):
        largest: Counter[Family] = Counter()
        begin: Counter[Family] = Counter()
        for number, kind in enumerate(config.worker_types if count else ()):
            size, own = sizes.get(kind, 0), family(kind)
            first = workers.min_nodes if number == 0 and not spot else 1
            largest[own] = max(largest[own], size)
            begin[own] = max(begin[own], size * max(first, 1))
        for own, size in largest.items():
            most[own, spot] += size * count
            least[own, spot] += begin[own]
    for (own, spot), amount in most.items():
        if amount and own.code(spot):
            yield Demand(
                service="ec2",
                code=own.code(spot),
                title=f"{'spot ' if spot else ''}vCPUs of {own.title} instances",
                most=amount,
                least=least[own, spot],
            )
