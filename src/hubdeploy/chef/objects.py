"""What the Chef server keeps, as plain typed values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(kw_only=True)
class Node:
    """A node: attributes by precedence level, run list unexpanded (``role[x]``, ``recipe[y]``)."""

    name: str
    run_list: list[str] = field(default_factory=list)
    environment: str = "_default"
    automatic: Json = field(default_factory=dict)
    default: Json = field(default_factory=dict)
    normal: Json = field(default_factory=dict)
    override: Json = field(default_factory=dict)


@dataclass(kw_only=True)
class Role:
    """A role; its attributes stand between the cookbooks' and the node's own."""

    name: str
    run_list: list[str] = field(default_factory=list)
    description: str = ""
    default_attributes: Json = field(default_factory=dict)
    override_attributes: Json = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Client:
    """An API client: what signs requests. ``public_key`` is PEM."""

    name: str
    public_key: str
    admin: bool = False
    validator: bool = False


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """What :meth:`ChefServer.forget` found to delete."""

    node: bool
    client: bool


@dataclass(frozen=True, kw_only=True)
class ServerInfo:
    """``flavour`` is ``goiardi`` or ``chef-server``; ``version`` is the server's own, or empty."""

    flavour: str
    version: str
