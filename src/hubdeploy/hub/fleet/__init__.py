"""The fleet: observe the workers, decide, act; a page and metrics about it.

``model``, ``capacity``, ``retire``, ``decide`` and ``admission`` are pure; ``observe`` and ``act``
touch AWS, Docker and the hub; ``service`` is the process on the leader.
"""
