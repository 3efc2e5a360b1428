"""What moto lacks and hubdeploy relies on, each in its own small module."""

from hubdeploy.sandbox.cloud.overlay import autoscaling, commands, identity, instances, parameters

TABLES = (
    parameters.hooks,
    identity.hooks,
    instances.hooks,
    commands.hooks,
    autoscaling.hooks,
)
