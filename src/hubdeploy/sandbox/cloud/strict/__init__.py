"""What real AWS refuses and moto does not, with AWS's own error codes."""

from hubdeploy.sandbox.cloud.hooks import Hooks

TABLES: tuple[Hooks, ...] = ()
