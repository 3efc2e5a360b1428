"""The node agent: what the machines of a deployment do for themselves.

``hubdeploy-node`` is installed by user data and called by systemd units and Chef recipes. Nothing
here knows the operator's command line; it talks to the rest through SSM parameters, the bucket,
Cloud Map and the Chef server.
"""
