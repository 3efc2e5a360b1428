"""moto as a WSGI application, and the few changes made to moto itself."""

from __future__ import annotations

import itertools
import logging
import os
from functools import cache
from typing import Any


@cache
def application() -> Any:
    """moto's server application; its backends are the process's, so there is one."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    _list_its_services_once()
    return DomainDispatcherApplication(create_backend_app)


def _list_its_services_once() -> None:
    """It reads its own directory at every request."""
    from moto import backends

    names = tuple(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: names


_CHANGED = frozenset({"ec2", "autoscaling"})


def prepare(service: str) -> None:
    """Change moto before the first use of a service; importing EC2 takes most of a second."""
    if service in _CHANGED:
        _change()


@cache
def _change() -> None:
    from hubdeploy.sandbox.cloud import groups

    groups.replace_motos_launcher()
    _keep_addresses_here()


def _keep_addresses_here() -> None:
    """Public addresses out of loopback: moto's inventions belong to strangers.

    A connection to one stays on this machine whatever happens. The block is this process's own,
    so that two rehearsals on one machine have doors of their own.
    """
    from moto.ec2.models import elastic_ip_addresses, elastic_network_interfaces

    given = itertools.count(1)
    block = 64 + os.getpid() % 190

    def address() -> str:
        number = next(given) % 65534 + 1
        return f"127.{block}.{number // 256}.{number % 256}"

    elastic_ip_addresses.random_ip = address
    elastic_network_interfaces.random_public_ip = address


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
