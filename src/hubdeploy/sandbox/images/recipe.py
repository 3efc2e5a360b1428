"""What an image is made of, and the name that its contents give it."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from importlib import resources

_FORMAT = 3
"""Raised when the way of building changes, so that all is built again."""
REPOSITORY = "hubdeploy-sandbox"
"""Images are called ``hubdeploy-sandbox/NAME:DIGEST``."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """An image as a parent, files laid over it and a script run in it as root.

    The same inputs give the same tag, so that an image is built once. The script sees the build
    environment (proxy, certificates, index) but none of it stays in the image.
    """

    name: str
    parent: Recipe | None
    """None: the image is the base system itself."""
    script: str
    files: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    """Absolute path -> contents and mode; put in place before the script runs."""
    holds: tuple[Recipe, ...] = ()
    """Images to be in this one's container registry."""
    changes: tuple[str, ...] = ()
    """Dockerfile instructions for the image's configuration (``CMD``, ``ENV`` ...)."""

    @property
    def digest(self) -> str:
        """Twelve hex digits over everything that goes in, the parents included."""
        parts: dict[str, object] = {
            "parent": self.parent.digest if self.parent else "",
            "format": _FORMAT if self.parent else 1,
            "script": self.script,
            "files": {
                path: [hashlib.sha256(content).hexdigest(), mode]
                for path, (content, mode) in sorted(self.files.items())
            },
            "changes": self.changes,
        }
        if self.holds:
            parts["holds"] = [held.digest for held in self.holds]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def tag(self) -> str:
        return f"{REPOSITORY}/{self.name}:{self.digest}"

    def archive(self) -> bytes:
        """The files as a tar for the root directory, owned by root."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for path, (content, mode) in sorted(self.files.items()):
                member = tarfile.TarInfo(path.lstrip("/"))
                member.size = len(content)
                member.mode = mode
                tar.addfile(member, io.BytesIO(content))
        return buffer.getvalue()


def packaged(name: str) -> bytes:
    """Contents of a file that lies in this package's ``files`` folder."""
    return resources.files(__package__).joinpath("files", name).read_bytes()
