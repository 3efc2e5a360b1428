"""What is there: bulk reads of everything that carries the deployment's tag, once per run.

A read is made when first asked for and kept, also when several steps ask at the same time, so
that the number of calls does not grow with the number of steps or machines.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

from hubdeploy.aws.session import Aws
from hubdeploy.config.names import TAG_DEPLOYMENT, TAG_RESOURCE, Names

T = TypeVar("T")


def tags_of(resource: dict[str, Any]) -> dict[str, str]:
    """Tags as a dict, from any of AWS's spellings."""
    for name in ("Tags", "TagSet", "TagList", "tags"):
        found = resource.get(name)
        if isinstance(found, dict):
            return dict(found)
        if found:
            return {
                str(tag.get("Key", tag.get("key"))): str(tag.get("Value", tag.get("value", "")))
                for tag in found
            }
    return {}


class Inventory:
    """Cached reads for one run; make a new one to see changes made by others."""

    def __init__(self, *, aws: Aws, names: Names) -> None:
        self.aws = aws
        self.names = names
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._kept: dict[str, Any] = {}

    def once(self, key: str, read: Callable[[], T]) -> T:
        """The result of ``read``, made by whoever asks first for ``key``."""
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._kept:
                self._kept[key] = read()
            return cast(T, self._kept[key])

    def forget(self, key: str) -> None:
        """Read again next time: something of this kind was just changed."""
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            self._kept.pop(key, None)

    def ec2(self, operation: str, key: str) -> list[dict[str, Any]]:
        """All items of an EC2 ``describe_…`` that carry the deployment's tag.

        Looked at again here: what this yields may be deleted, so a filter that an endpoint does not
        heed must not let another deployment's resources in.
        """
        return self.once(
            operation,
            lambda: [
                item
                for item in self.aws.pages(
                    "ec2",
                    operation,
                    key,
                    Filters=[{"Name": f"tag:{TAG_DEPLOYMENT}", "Values": [self.names.deployment]}],
                )
                if any(self._ours(part) for part in item.get("Instances", [item]))
            ],
        )

    def _ours(self, item: dict[str, Any]) -> bool:
        return tags_of(item).get(TAG_DEPLOYMENT) == self.names.deployment

    def by_resource(self, operation: str, key: str) -> dict[str, dict[str, Any]]:
        """The same by logical name (tag ``hubdeploy:resource``)."""
        return {
            tags_of(item)[TAG_RESOURCE]: item
            for item in self.ec2(operation, key)
            if TAG_RESOURCE in tags_of(item)
        }
