"""The kinds of text and number that settings are, each with what errors call it."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Annotated

from pydantic import AfterValidator, PlainValidator

from hubdeploy.config.fields import Expected, Matching, wrong

User = Annotated[
    str,
    Matching(
        words="a user name of 1 to 64 letters, digits and ._@+-", pattern=r"[a-zA-Z0-9._@+-]{1,64}"
    ),
]
Slug = Annotated[
    str,
    Matching(
        words="a short name of lower-case letters, digits and hyphens, at most 40",
        pattern=r"[a-z0-9][a-z0-9-]{0,39}",
    ),
]
InstanceType = Annotated[
    str,
    Matching(
        words='an instance type such as "m6i.xlarge"',
        pattern=r"[a-z][a-z0-9-]{0,30}\.[a-z0-9-]{1,30}",
    ),
]
Image = Annotated[
    str,
    Matching(
        words='an image such as "quay.io/jupyter/base-notebook:2025-03-14"',
        pattern=r"[a-zA-Z0-9][\w.:/@-]*",
    ),
]
_ADDRESS = 'an address such as "https://example.org/path"'
Url = Annotated[str, Matching(words=_ADDRESS, pattern=r"https://\S+")]
Endpoint = Annotated[
    str,
    Matching(words=_ADDRESS, pattern=r"https://\S+|http://(localhost|127\.0\.0\.1)(:\d+)?(/\S*)?"),
]
"""Of a login provider; one on the hub's own machine may go without TLS."""
Variable = Annotated[
    str, Matching(words="a variable's name of letters, digits and _", pattern=r"[A-Za-z_]\w*")
]
Name = Annotated[
    str,
    Matching(
        words="a name of 2 to 24 lower-case letters, digits and hyphens that begins with a letter",
        pattern=r"[a-z][a-z0-9-]{0,22}[a-z0-9]",
    ),
]
Region = Annotated[
    str, Matching(words='a region such as "eu-central-1"', pattern=r"[a-z]{2,4}(-[a-z]+)+-\d")
]
Domain = Annotated[
    str,
    Matching(
        words='a domain in lower case such as "lab.example.org"',
        pattern=r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}",
        longest=180,
    ),
]
Version = Annotated[str, Matching(words='a version such as "18.8.54"', pattern=r"[0-9][\w.+~-]*")]
Sha256 = Annotated[
    str, Matching(words="a SHA-256 of 64 hexadecimal digits in lower case", pattern=r"[0-9a-f]{64}")
]
Ami = Annotated[
    str,
    Matching(words='an image id such as "ami-0123456789abcdef0"', pattern=r"ami-[0-9a-f]{8,17}"),
]
FileSystemId = Annotated[
    str,
    Matching(words='a file system id such as "fs-0123456789abcdef0"', pattern=r"fs-[0-9a-f]{8,17}"),
]
PolicyArn = Annotated[
    str,
    Matching(
        words='the ARN of a policy such as "arn:aws:iam::123456789012:policy/bound"',
        pattern=r"arn:aws[a-z-]*:iam::(\d{12}|aws):policy/\S+",
    ),
]
Email = Annotated[
    str,
    Matching(
        words='an e-mail address such as "ada@example.org"',
        pattern=r"[^@\s\"]+@[^@\s\"]+\.[^@\s\".]+",
    ),
]
Filled = Annotated[str, Matching(words="text in quotes, not empty", pattern=r"\S(.*\S)?")]
TagKey = Annotated[
    str,
    Matching(
        words="a tag's name of 1 to 128 letters, digits, spaces and _.:/=+-@",
        pattern=r"[\w .:/=+@-]{1,128}",
    ),
]
TagValue = Annotated[
    str,
    Matching(
        words="a tag's text of at most 256 letters, digits, spaces and _.:/=+-@",
        pattern=r"[\w .:/=+@-]{0,256}",
    ),
]

PRIVATE = tuple(IPv4Network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
RESERVED = ("hubdeploy:", "aws:")
"""What tags of the operator's must not begin with."""


def _network(value: str) -> str:
    net = IPv4Network(value, strict=False) if "/" in value else None
    if net is None:
        raise ValueError("no network")
    if str(net) != value:
        raise wrong("", f'expected the first address of the network, "{net}", got "{value}"')
    return value


Cidr = Annotated[str, AfterValidator(_network), Expected('an IPv4 network such as "10.42.0.0/16"')]


FEWEST, MOST_ZONES = 2, 6
"""Availability zones: EFS and the groups want two; the VPC is cut for six."""


def _zones(value: object) -> int | list[str]:
    if isinstance(value, int) and not isinstance(value, bool) and FEWEST <= value <= MOST_ZONES:
        return value
    if isinstance(value, list) and FEWEST <= len(value) <= MOST_ZONES:
        zones = [zone for zone in value if isinstance(zone, str) and zone]
        if len(set(zones)) == len(value):
            return zones
    raise ValueError("no zones")


Zones = Annotated[
    int | list[str],
    PlainValidator(_zones, json_schema_input_type=int | list[str]),
    Expected(f"a number of zones, {FEWEST} to {MOST_ZONES}, or a list of so many zones' names"),
]
SMALLEST_ROOT = 8 << 30
"""What Debian's image itself takes."""
SMALLEST_WORKER = 20 << 30
"""A root disk with Docker and a notebook image of some gigabytes besides."""
MOST_TAGS = 35
"""Of the operator's own: AWS takes 50 on a resource, and some are ours."""
LARGEST_DISK = 16 << 40
"""EBS's, for gp3."""
Path = Annotated[
    str,
    Matching(words='an absolute path such as "/home/jovyan/shared"', pattern=r"/[A-Za-z0-9._/-]+"),
]
