"""PyChef 0.3.0, made to import on Python 3.11 and later, over our transport.

PyChef (last release 2016) asks at import for names that Python has since dropped and loads an
unversioned ``libcrypto.so``. The names are supplied for the length of the import and taken away
again; its RSA module is replaced, because the signing is ours. What stays of it is its object
model: Node, Role, Client, Search.
"""

from __future__ import annotations

import collections
import collections.abc
import contextlib
import importlib
import json
import platform
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from packaging.version import Version

from hubdeploy.chef.failures import ChefNotFound

_lock = threading.Lock()
_loaded: types.ModuleType | None = None


class _Key:
    """In the place of PyChef's ctypes key; nothing ever signs with it."""

    def __init__(self, _pem: Any = None) -> None:
        self.key = None


def _substitute(name: str, **members: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    for key, value in members.items():
        setattr(module, key, value)
    return module


@contextlib.contextmanager
def _as_in_2016() -> Iterator[None]:
    """Names that PyChef's modules ask for while they are imported."""
    added: list[tuple[types.ModuleType, str]] = []

    def lend(module: types.ModuleType, name: str, value: Any) -> None:
        if not hasattr(module, name):
            setattr(module, name, value)
            added.append((module, name))

    for name in ("Mapping", "MutableMapping", "Sequence"):
        lend(collections, name, getattr(collections.abc, name))
    lend(platform, "linux_distribution", lambda *_args, **_kwargs: ("", "", ""))
    had = sys.modules.get("pkg_resources")
    sys.modules["pkg_resources"] = _substitute("pkg_resources", parse_version=Version)
    sys.modules["chef.rsa"] = _substitute("chef.rsa", Key=_Key, SSLError=Exception)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for module, name in added:
            delattr(module, name)
        if had is None:
            del sys.modules["pkg_resources"]
        else:
            sys.modules["pkg_resources"] = had


def load() -> types.ModuleType:
    """The ``chef`` package of PyChef."""
    global _loaded
    with _lock:
        if _loaded is None:
            with _as_in_2016():
                _loaded = importlib.import_module("chef")
            for name, module in list(sys.modules.items()):
                if name.startswith("chef.") and hasattr(module, "collections"):
                    # isinstance checks at run time ask for collections.Sequence
                    vars(module)["collections"] = collections.abc
        return _loaded


Ask = Callable[[str, str, Any], Any]
"""``(method, path, data) -> decoded JSON``; raises our own errors."""


def make_api(ask: Ask, *, url: str, client: str) -> Any:
    """An object that PyChef's classes take for a ``ChefAPI``; pass it as ``api=``.

    It never becomes PyChef's own default, which is one per thread and weakly held.
    """
    chef = load()
    exceptions: Any = importlib.import_module("chef.exceptions")
    encoder: Any = importlib.import_module("chef.utils.json")

    class Missing(ChefNotFound, exceptions.ChefServerNotFoundError):  # type: ignore[misc]
        """Both: PyChef's classes look for theirs, our callers for ours."""

        def __init__(self, error: ChefNotFound) -> None:
            ChefNotFound.__init__(
                self, error.message, hint=error.hint, status=error.status, words=error.words
            )
            self.code = error.status

    class Api(chef.ChefAPI):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:  # its own would load a key and become the default
            self.url = url
            self.client = client
            self.platform = False
            self.headers: Mapping[str, str] = {}
            self.version = "15.0.0"
            self.version_parsed = Version(self.version)

        def set_default(self) -> None:
            """Stays explicit."""

        def api_request(
            self, method: str, path: str, _headers: Any = None, data: Any = None
        ) -> Any:
            # PyChef's encoder knows its own objects; ours then sends plain data
            plain = None if data is None else json.loads(encoder.dumps(data))
            try:
                return ask(method, path, plain)
            except ChefNotFound as error:
                raise Missing(error) from error

    return Api()
