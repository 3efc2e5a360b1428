"""Where cookbooks and user data templates are: in a checkout, or inside the installed wheel."""

from __future__ import annotations

from pathlib import Path

from hubdeploy.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parent.parent
_CHECKOUT = _PACKAGE.parent.parent


def _folder(name: str) -> Path:
    for candidate in (_PACKAGE / "_assets" / name, _CHECKOUT / name):
        if candidate.is_dir():
            return candidate
    raise ConfigError(
        f"hubdeploy's folder {name!r} is missing from this installation",
        hint="install the wheel anew: pip install --force-reinstall hubdeploy",
    )


def cookbooks_dir() -> Path:
    """Folder with one folder per cookbook.

    Raises:
        ConfigError: the installation is incomplete.
    """
    return _folder("cookbooks")


def userdata_dir() -> Path:
    """Folder with one user data template per kind of machine.

    Raises:
        ConfigError: the installation is incomplete.
    """
    return _folder("userdata")
