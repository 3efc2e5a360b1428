"""What real AWS refuses and moto does not, with AWS's own error codes."""

from hubdeploy.sandbox.cloud.strict import instances, late, network, others

TABLES = (late.hooks, network.hooks, instances.hooks, others.hooks)
