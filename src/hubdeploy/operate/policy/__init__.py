"""The rights that the operator needs, as one list, which makes ``hubdeploy policy``.

Reads that AWS cannot scope are allowed on everything; whatever changes something is bound to the
deployment: by ARN where its name is ours to choose, by the tag ``hubdeploy:deployment`` elsewhere.
Creating EC2 objects is allowed in the region: a subnet's creation touches its VPC and routes as
well, and tags are demanded when they are made, which later calls are bound to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hubdeploy.config.names import Names
from hubdeploy.operate.policy import parts
from hubdeploy.operate.policy.grant import Grant
from hubdeploy.operate.policy.machines import machines, roles
from hubdeploy.operate.policy.network import network
from hubdeploy.operate.policy.reading import reading
from hubdeploy.operate.policy.storage import services, storage

__all__ = ["Grant", "actions", "document", "documents", "grants"]


def document(names: Names, *, boundary: str | None = None, files: bool = True) -> dict[str, Any]:
    """The whole policy, longer than one managed policy may be: see :func:`documents`.

    ``boundary``: roles may only be made with this permissions boundary; ``files`` false: without
    the right to delete the file system.
    """
    return parts.document(grants(names, boundary=boundary, files=files))


def documents(
    names: Names, *, boundary: str | None = None, files: bool = True
) -> list[dict[str, Any]]:
    """The same as managed policies that IAM takes, which have to be attached all."""
    whole = grants(names, boundary=boundary, files=files)
    return [parts.document(part) for part in parts.split(whole)]


def grants(names: Names, *, boundary: str | None, files: bool) -> Iterator[Grant]:
    """All statements, in a stable order."""
    yield from reading()
    yield from network(names)
    yield from machines(names)
    yield from roles(names, boundary)
    yield from storage(names, files)
    yield from services(names)


def actions(names: Names) -> list[str]:
    """Every action by name; some are patterns."""
    return sorted({a for g in grants(names, boundary=None, files=True) for a in g.actions})
