"""The wheel of this very hubdeploy, which the machines install.

It is packed from the package's own files and its installed metadata, the same way from a checkout
(``pip install -e``) and from an installed wheel: no build tool, no network, and the same files give
the same bytes on every machine, so that the digest only changes with the content.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import hubdeploy
from hubdeploy.config.assets import cookbooks_dir, userdata_dir
from hubdeploy.errors import HubdeployError

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest date that a zip file can hold."""
_METADATA = ("METADATA", "entry_points.txt")
_IGNORED_FOLDERS = {"__pycache__", "_assets", ".pytest_cache", ".mypy_cache", ".ruff_cache"}


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """``data`` is the file's content, ``sha256`` its digest (hex)."""

    file_name: str
    data: bytes
    sha256: str


def _tree(folder: Path, prefix: str) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        if path.is_file() and path.suffix != ".pyc" and not _IGNORED_FOLDERS & set(inner.parts):
            yield f"{prefix}/{inner.as_posix()}", path.read_bytes()


def _installed_metadata() -> tuple[str, dict[str, bytes]]:
    """Version, and the files of the ``dist-info`` folder that describe the package."""
    try:
        found = metadata.distribution("hubdeploy")
    except metadata.PackageNotFoundError:
        raise HubdeployError(
            "hubdeploy is not installed, so no wheel can be made of it for the machines",
            hint="pip install -e . in the checkout",
        ) from None
    files = {}
    for name in _METADATA:
        text = found.read_text(name)
        if text is not None:
            files[name] = text.encode()
    return found.version, files


def build() -> Wheel:
    """Pack the wheel; about a tenth of a second.

    Raises:
        HubdeployError: the package is not installed, not even as an editable one.
    """
    version, described = _installed_metadata()
    info = f"hubdeploy-{version}.dist-info"
    described["WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: hubdeploy\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    contents = dict(_tree(Path(hubdeploy.__file__).resolve().parent, "hubdeploy"))
    contents |= dict(_tree(cookbooks_dir(), "hubdeploy/_assets/cookbooks"))
    contents |= dict(_tree(userdata_dir(), "hubdeploy/_assets/userdata"))
    contents |= {f"{info}/{name}": data for name, data in described.items()}
    record = "".join(
        f"{name},sha256={_record_digest(data)},{len(data)}\n"
        for name, data in sorted(contents.items())
    )
    contents[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()

    target = io.BytesIO()
    # stored, not deflated: zlib's output differs from one version to the next
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, data in contents.items():
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, data)
    data = target.getvalue()
    return Wheel(
        file_name=f"hubdeploy-{version}-py3-none-any.whl",
        data=data,
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _record_digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
