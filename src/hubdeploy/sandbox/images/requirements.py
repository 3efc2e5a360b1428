"""The Python packages that machines install, so that the machine image can hold them already."""

from __future__ import annotations

import re
from importlib import metadata, resources

from packaging.requirements import Requirement


def of_extra(extra: str) -> list[str]:
    """Requirements of ``hubdeploy[extra]``, the unconditional ones included, in a stable order."""
    chosen = []
    for text in metadata.requires("hubdeploy") or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            requirement.marker = None
            chosen.append(str(requirement))
    return sorted(chosen)


def constraints() -> str:
    """The pinned versions that the project is released with, or nothing where none are shipped."""
    for anchor in (
        resources.files("hubdeploy").joinpath("_assets", "constraints.txt"),
        resources.files("hubdeploy").joinpath("..", "..", "constraints.txt"),
    ):
        if anchor.is_file():
            return anchor.read_text()
    return ""


def pinned(name: str) -> str:
    """``NAME==VERSION`` as in this installation, so that hub and notebooks speak one version."""
    for line in constraints().splitlines():
        if re.match(rf"{re.escape(name)}\s*==", line, flags=re.IGNORECASE):
            return line.split(";")[0].strip()
    try:
        return f"{name}=={metadata.version(name)}"
    except metadata.PackageNotFoundError:
        return name
