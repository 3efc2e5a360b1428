"""A rehearsal of the fleet's decisions on a virtual clock: ``python -m hubdeploy.hub.simulate``.

The same ``place`` and ``decide`` that run on the leader are driven through days of traffic in
seconds, beside swarm's own spread with CPU target tracking and beside the clairvoyant bound.
"""
