"""Where a converge takes its node, roles, cookbooks and answers from: a server, or folders."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Protocol

from hubdeploy.chef import cookbooks
from hubdeploy.chef.failures import ChefConflict, ChefNotFound
from hubdeploy.chef.metadata import read_metadata
from hubdeploy.chef.objects import Json, Node, Role
from hubdeploy.chef.server import ChefServer
from hubdeploy.errors import ChefError


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A cookbook on this machine's disk."""

    name: str
    folder: Path
    version: str
    dependencies: list[str]


class Source(Protocol):
    """What a converge asks for."""

    def node(self) -> Node: ...

    def role(self, name: str) -> Role: ...

    def cookbooks(self, recipes: Sequence[str]) -> list[Placed]: ...

    def answer(self, question: Json) -> Any:
        """To ``search`` or ``data_bag`` out of a recipe."""

    def save(self, node: Node) -> None: ...


def _part(row: Json, path: Sequence[str]) -> Any:
    """A nested value; a hash's levels are looked through in the order of their precedence."""
    for level in (row, *(row.get(name, {}) for name in ("automatic", "override", "normal"))):
        value: Any = level
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            return value
    value = row.get("default", {})
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


class ServerSource:
    """A Chef server; cookbooks are kept in ``cache``."""

    def __init__(self, server: ChefServer, *, name: str, environment: str, cache: Path) -> None:
        self.server = server
        self.name = name
        self.environment = environment
        self.cache = cache

    def node(self) -> Node:
        """The saved node, or a new one."""
        try:
            return self.server.node(self.name)
        except ChefNotFound:
            return Node(name=self.name, environment=self.environment)

    def role(self, name: str) -> Role:
        return self.server.role(name)

    def cookbooks(self, recipes: Sequence[str]) -> list[Placed]:
        manifests = cookbooks.resolve(self.server, recipes, environment=self.environment)
        cookbooks.download(self.server, manifests.values(), self.cache)
        return [
            Placed(
                name=name,
                folder=self.cache / one["cookbook_name"],
                version=one["version"],
                dependencies=sorted(one["metadata"].get("dependencies") or {}),
            )
            for name, one in manifests.items()
        ]

    def answer(self, question: Json) -> Any:
        if "search" in question:
            keys = question.get("keys") or None
            return self.server.search(question["search"], question["query"], keys=keys)
        if "item" in question:
            return self.server.data_bag_item(question["data_bag"], question["item"])
        return self.server.data_bag(question["data_bag"])

    def save(self, node: Node) -> None:
        self.server.save_node(node)


class LocalSource:
    """Folders: ``cookbooks/``, beside it ``roles/*.json``, ``data_bags/BAG/*.json``; other nodes in
    ``nodes`` (JSON files). Nothing is saved.
    """

    def __init__(self, folder: Path, *, node: Node, nodes: Path | None = None) -> None:
        self.folder = folder
        self._node = node
        self._nodes = nodes

    def node(self) -> Node:
        return self._node

    def role(self, name: str) -> Role:
        raw = self._read(self.folder.parent / "roles" / f"{name}.json", f"role '{name}'")
        return Role(
            name=name,
            run_list=raw.get("run_list", []),
            default_attributes=raw.get("default_attributes", {}),
            override_attributes=raw.get("override_attributes", {}),
        )

    def cookbooks(self, recipes: Sequence[str]) -> list[Placed]:
        """Those that the recipes need, dependencies too."""
        there = {
            placed.name: placed
            for folder in sorted(self.folder.iterdir())
            if (folder / "metadata.rb").is_file() or (folder / "metadata.json").is_file()
            for placed in [_placed(folder)]
        }
        wanted = [name.split("::")[0] for name in recipes]
        found: dict[str, Placed] = {}
        while wanted:
            name = wanted.pop()
            if name in found:
                continue
            if name not in there:
                raise ChefError(f"There is no cookbook '{name}' in {self.folder}")
            found[name] = there[name]
            wanted += there[name].dependencies
        return list(found.values())

    def answer(self, question: Json) -> Any:
        if "search" in question:
            rows = [] if question["search"] != "node" else self._known_nodes()
            hits = [row for row in rows if matches(row, question["query"])]
            keys: dict[str, list[str]] = question.get("keys") or {}
            if keys:
                return [{name: _part(row, path) for name, path in keys.items()} for row in hits]
            return hits
        bag = self.folder.parent / "data_bags" / question["data_bag"]
        if "item" in question:
            return self._read(bag / f"{question['item']}.json", f"item '{question['item']}'")
        return sorted(file.stem for file in bag.glob("*.json"))

    def save(self, node: Node) -> None:
        """A local run leaves no trace of its node."""

    def _known_nodes(self) -> list[Json]:
        files = sorted(self._nodes.glob("*.json")) if self._nodes else []
        return [json.loads(file.read_text(encoding="utf-8")) for file in files]

    def _read(self, file: Path, what: str) -> Json:
        if not file.is_file():
            raise ChefError(f"There is no {what}: {file}")
        raw: Json = json.loads(file.read_text(encoding="utf-8"))
        return raw


def _placed(folder: Path) -> Placed:
    metadata = read_metadata(folder)
    return Placed(
        name=metadata.name,
        folder=folder.resolve(),
        version=metadata.version,
        dependencies=sorted(metadata.dependencies),
    )


def matches(row: Json, query: str) -> bool:
    """The small part of Chef's query language that recipes use: terms, wildcards, AND, OR, NOT."""
    return any(
        all(_term(row, term.strip()) for term in re.split(r"\s+AND\s+", either))
        for either in re.split(r"\s+OR\s+", query.strip())
    )


def _term(row: Json, term: str) -> bool:
    if term.startswith("NOT "):
        return not _term(row, term[4:].strip())
    field, _, pattern = term.partition(":")
    if field == "*":
        return True
    plural = {"role": "roles", "recipe": "recipes"}.get(field)
    value = _part(row, [plural]) if plural else _part(row, [field])
    if value is None:
        value = _part(row, field.split("_"))
    values = value if isinstance(value, list) else [value]
    return any(fnmatchcase(str(one), pattern.strip('"')) for one in values if one is not None)


def register(server: ChefServer, name: str, *, key_file: Path) -> ChefServer:
    """Become a client by the validator's key, as Chef's client does at its first run.

    ``server`` speaks as the validator; the new private key is written to ``key_file``.

    Raises:
        ChefConflict: a left-over client of that name.
    """
    if key_file.exists():
        raise ChefConflict(f"{key_file} is there already", status=409)
    pem = server.create_client(name)
    key_file.parent.mkdir(parents=True, exist_ok=True)
    key_file.touch(mode=0o600, exist_ok=False)
    key_file.write_text(pem, encoding="ascii")
    return server.acting_as(name, pem)
