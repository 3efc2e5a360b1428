"""moto as a WSGI application, and the few changes made to moto itself."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any


@cache
def application() -> Any:
    """moto's server application; its backends are the process's, so there is one."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    from hubdeploy.sandbox.cloud import groups

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    groups.replace_motos_launcher()
    return DomainDispatcherApplication(create_backend_app)


def forget(account: str) -> None:
    """Drop an account from every backend of moto."""
    from moto.core.base_backend import BackendDict
    from moto.s3.models import s3_backends

    for backends in list(BackendDict._instances):
        if account in dict.keys(backends):
            if backends is s3_backends:
                backends[account].reset()
                continue
            del backends[account]
