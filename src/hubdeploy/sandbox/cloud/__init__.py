"""The embedded AWS: moto's server and what is layered on it.

:class:`hubdeploy.sandbox.cloud.server.Cloud` is the way in. A request passes, in this order: the
log, latency and injected faults, the rights of whoever signed it, the checks that real AWS makes
and moto does not, the operations that are taken over, moto itself, and what is put right in its
answer.
"""
