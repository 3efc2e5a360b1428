"""Who may talk to whom, and on which port: pure data, from which security groups are made.

There is no rule for 'everything inside the VPC'. Way out is web, time and, for users' git, SSH;
everything between machines is named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from hubdeploy.config.model import Config
from hubdeploy.config.names import Port, Role

ANYWHERE = "0.0.0.0/0"
NTP = 123
FILES = "files"
"""The group of the file system's mount targets."""

GROUPS: dict[str, str] = {
    Role.CHEF: "Chef server",
    Role.WORKSTATION: "workstation",
    Role.LEADER: "hub leader",
    Role.WORKER: "workers",
    FILES: "file system",
}
"""Group -> description."""


@dataclass(frozen=True, kw_only=True, order=True)
class Rule:
    """``direction`` is ``in`` or ``out``; ``peer`` a group's name or id, or a CIDR."""

    direction: str
    protocol: str
    first: int
    last: int
    peer: str

    def __str__(self) -> str:
        ports = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        way = "from" if self.direction == "in" else "to"
        return f"{self.protocol} {ports} {way} {self.peer}"


def _tcp(direction: str, port: int | tuple[int, int], peer: str) -> Rule:
    first, last = port if isinstance(port, tuple) else (port, port)
    return Rule(direction=direction, protocol="tcp", first=first, last=last, peer=peer)


def _between(server: str, port: int | tuple[int, int], client: str) -> Iterator[tuple[str, Rule]]:
    """Both ends of a connection."""
    yield server, _tcp("in", port, client)
    yield client, _tcp("out", port, server)


def _gossip(one: str, other: str) -> Iterator[tuple[str, Rule]]:
    """Swarm's nodes tell each other who is there, each to each, by TCP and UDP."""
    for protocol in ("tcp", "udp"):
        for me, you in {(one, other), (other, one)}:
            for direction in ("in", "out"):
                rule = Rule(
                    direction=direction,
                    protocol=protocol,
                    first=Port.GOSSIP,
                    last=Port.GOSSIP,
                    peer=you,
                )
                yield me, rule


def wanted(config: Config) -> dict[str, set[Rule]]:
    """Rules by group; peers that are groups are given by name."""
    found: dict[str, set[Rule]] = {group: set() for group in GROUPS}

    def add(pairs: Iterator[tuple[str, Rule]]) -> None:
        for group, rule in pairs:
            found[group].add(rule)

    for client in (Role.WORKSTATION, Role.LEADER, Role.WORKER):
        found[Role.CHEF].add(_tcp("in", Port.HTTPS, client))
    for cidr in config.access.web_cidrs:
        found[Role.LEADER] |= {_tcp("in", port, cidr) for port in (Port.HTTP, Port.HTTPS)}
    add(_between(Role.LEADER, Port.SWARM, Role.WORKER))
    add(_between(Role.LEADER, Port.HUB_API, Role.WORKER))
    add(_between(Role.WORKER, Port.NOTEBOOKS, Role.LEADER))
    add(_gossip(Role.LEADER, Role.WORKER))
    add(_gossip(Role.WORKER, Role.WORKER))
    for client in (Role.LEADER, Role.WORKER):
        add(_between(FILES, Port.NFS, client))
    for role in Role:
        for cidr in config.access.operator_cidrs:
            found[role].add(_tcp("in", Port.SSH, cidr))
        found[role] |= {_tcp("out", port, ANYWHERE) for port in (Port.HTTP, Port.HTTPS)}
        found[role].add(Rule(direction="out", protocol="udp", first=NTP, last=NTP, peer=ANYWHERE))
    found[Role.WORKER].add(_tcp("out", Port.SSH, ANYWHERE))
    # a mount target only answers
    found[FILES] = {rule for rule in found[FILES] if rule.direction == "in"}
    return found


def resolved(rules: set[Rule], ids: dict[str, str]) -> set[Rule]:
    """The same with groups' names replaced by their ids."""
    return {replace(rule, peer=ids.get(rule.peer, rule.peer)) for rule in rules}


def read(group: dict[str, Any]) -> set[Rule]:
    """The rules of a security group as EC2 describes it."""
    found = set()
    for direction, key in (("in", "IpPermissions"), ("out", "IpPermissionsEgress")):
        for permission in group.get(key, []):
            peers = [
                *(item["GroupId"] for item in permission.get("UserIdGroupPairs", [])),
                *(item["CidrIp"] for item in permission.get("IpRanges", [])),
                *(item["CidrIpv6"] for item in permission.get("Ipv6Ranges", [])),
                *(item["PrefixListId"] for item in permission.get("PrefixListIds", [])),
            ]
            for peer in peers:
                found.add(
                    Rule(
                        direction=direction,
                        protocol=str(permission.get("IpProtocol", "-1")),
                        first=int(permission.get("FromPort", -1)),
                        last=int(permission.get("ToPort", -1)),
                        peer=peer,
                    )
                )
    return found


def permission(rule: Rule) -> dict[str, Any]:
    """A rule as EC2 takes it."""
    made: dict[str, Any] = {"IpProtocol": rule.protocol}
    if rule.protocol != "-1":
        made |= {"FromPort": rule.first, "ToPort": rule.last}
    if rule.peer.startswith("sg-"):
        made["UserIdGroupPairs"] = [{"GroupId": rule.peer}]
    elif rule.peer.startswith("pl-"):
        made["PrefixListIds"] = [{"PrefixListId": rule.peer}]
    elif ":" in rule.peer:
        made["Ipv6Ranges"] = [{"CidrIpv6": rule.peer}]
    else:
        made["IpRanges"] = [{"CidrIp": rule.peer}]
    return made
