"""What moto lacks and hubdeploy relies on, each in its own small module."""

from hubdeploy.sandbox.cloud.overlay import (
    autoscaling,
    buckets,
    commands,
    files,
    gateways,
    identity,
    instances,
    namespaces,
    pages,
    parameters,
    prices,
    quotas,
    recovery,
    sessions,
    simulate,
    templates,
)

TABLES = (
    parameters.hooks,
    identity.hooks,
    gateways.hooks,
    templates.hooks,
    instances.hooks,
    commands.hooks,
    sessions.hooks,
    autoscaling.hooks,
    files.hooks,
    recovery.hooks,
    quotas.hooks,
    prices.hooks,
    simulate.hooks,
    buckets.hooks,
    namespaces.hooks,
    pages.hooks,
)
"""In this order: pages come last, so that what others only look at first is theirs."""
